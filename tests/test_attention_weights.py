"""The weights that attention gives: accurate, the same bits in any company, whole."""

import itertools
import tracemalloc

import numpy as np
import pytest
from support.attention_calls import draw
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas, using_isa
from support.criterion import assert_accurate
from support.strategies import guarded, normal

import fastattn as fa
from fastattn import _attention, reference
from fastattn._program import Program
from fastattn.scores import Scores

PARTS = 8


def weights_of(call, query, key):
    with using_isa(call.isa):
        return fa.attention_weights(
            query, key, call.mask, num_threads=call.threads, **call.keywords
        )


@pytest.mark.parametrize("part", range(PARTS))
def test_of_random_calls_are_accurate(part):
    for number in range(part, 160, PARTS):
        call = draw(1, number)
        with np.errstate(all="ignore"):
            q, k, _ = call.operands(np.float32)
            shape = call.scores(np.float32).shape
        weights = weights_of(call, q, k)
        assert weights.shape == shape
        if weights.size:
            assert_accurate(
                weights,
                lambda t, call=call: reference.attention_weights(
                    *call.operands(t)[:2], call.mask, **call.keywords
                ),
            )
        if call.query.dtype != np.float32:
            half = weights_of(call, call.query, call.key)
            assert half.dtype == call.query.dtype
            # Widened, for NumPy need not know what is NaN in a dtype that is not its own.
            expected = weights.astype(half.dtype).reshape(half.shape).astype(np.float32)
            assert_same_bits(half.astype(np.float32), expected)


KEYWORDS = [
    {},
    {"causal": True},
    {"window": (70, 3), "query_offset": 500},
    {"key_lengths": 600},
    {"mask": np.where(normal(70, 1100) > 0, normal(70, 1100), np.float32(-np.inf))},
    {"mask": np.repeat(normal(70, 11) > 0, 100, axis=1)},
    {"alibi_slopes": [0.1, 3], "softcap": 2.0},
]


@pytest.mark.parametrize("options", KEYWORDS)
def test_threads_and_instruction_sets_do_not_change_bits(isa, options):
    q, k = normal(1, 2, 70, 12), normal(1, 2, 1100, 12, seed=1)
    alone = fa.attention_weights(q, k, num_threads=1, **options)
    for threads in THREADS[1:]:
        assert_same_bits(fa.attention_weights(q, k, num_threads=threads, **options), alone)
    assert_same_on_fma_isas(lambda: fa.attention_weights(q, k, **options))


@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
@pytest.mark.parametrize("options", KEYWORDS)
def test_company_does_not_change_bits(isa, options, bad):
    q, k = normal(1, 2, 70, 12), normal(1, 2, 1100, 12, seed=1)
    if bad:
        q[0, 1, 20, 3] = bad
    whole = fa.attention_weights(q, k, **options)
    for i in (0, 19, 20, 69):
        own = dict(options)
        if "mask" in own:
            own["mask"] = own["mask"][i]
        own["query_offset"] = own.get("query_offset", 0) + i
        one = fa.attention_weights(q[:, :, i : i + 1], k, num_threads=3, **own)
        assert_same_bits(one, whole[:, :, i : i + 1])


def test_of_no_visible_key_are_zeros(isa):
    q, k = normal(3, 4), normal(5, 4, seed=1)
    mask = np.array([[True] * 5, [False] * 5, [True, False, False, False, False]])
    weights = fa.attention_weights(q, k, mask)
    assert_same_bits(weights[1], np.zeros(5, np.float32))
    assert_same_bits(weights[2], np.array([1, 0, 0, 0, 0], np.float32))


def test_of_a_bad_query_are_nan(isa):
    q, k = normal(1, 1, 70, 12), normal(1, 1, 200, 12, seed=1)
    q[0, 0, 20, 3] = np.nan
    weights = fa.attention_weights(q, k, causal=True, key_lengths=150)
    assert np.isnan(weights[0, 0, 20]).all()
    assert not np.isnan(np.delete(weights, 20, -2)).any()


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 600), (3, 65), (70, 200)])
def test_every_place_is_written_and_no_other(isa, queries, keys):
    q, k = normal(2, 2, queries, 12), normal(2, 1, keys, 12, seed=1)
    hidden = np.zeros(keys, bool)
    for lengths, mask, causal in itertools.product([0, keys // 2], [None, hidden], [0, 1]):
        options = {"key_lengths": lengths, "mask": mask, "causal": bool(causal)}
        expected = fa.attention_weights(q, k, **options)
        with guarded(2, 2, queries, keys) as out:
            assert fa.attention_weights(q, k, out=out, **options) is out
            assert_same_bits(out.copy(), expected)


def test_the_extension_writes_what_is_not_seen(isa):
    q, k = normal(1, 1, 70, 12), normal(1, 1, 200, 12, seed=1)
    out = np.full((1, 1, 70, 200), np.nan, np.float32)
    program = Program()
    _attention.attention(program, q, k, None, out, Scores(1.0, right=0))
    program.run()
    assert_same_bits(out, fa.attention_weights(q, k, scale=1.0, causal=True))
    assert not out[0, 0, 0, 1:].any()


def test_rows_add_up_to_1_far_from_zero(isa):
    q, k = np.zeros((3, 16), np.float32), np.zeros((70, 16), np.float32)
    for size in (1e30, -1e30, np.finfo(np.float32).max):
        mask = np.full(70, size, np.float32)
        weights = fa.attention_weights(q, k, mask)
        assert_same_bits(weights, fa.attention_weights(q, k))


def test_take_no_memory_but_their_own():
    q, k = normal(1, 2, 1, 8), normal(1, 2, 4096, 8, seed=1)
    tracemalloc.start()
    weights = fa.attention_weights(q, k)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * weights.nbytes
