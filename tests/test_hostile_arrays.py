"""What nobody should pass: an error in the user's words, and soon."""

import re
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from support.bits import assert_same_bits, computed_on_fma_isas
from support.calls import CALLS
from support.hostile import hostile_calls
from support.scale import scaled
from support.strategies import normal

import fastattn as fa

X = normal(2, 4, 3)
HUGE = 2**40
ATTENTION = fa.nn.MultiHeadAttention(3, 1)


def huge(*shape, dtype=np.float32):
    """One element at all places of an array that no memory has room for."""
    return np.broadcast_to(np.ones((), dtype), shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fa.attention(huge(HUGE, 4), huge(HUGE, 4), huge(HUGE, 4)),
        lambda: fa.attention(X, huge(2, HUGE, 3), huge(2, HUGE, 3)),
        lambda: fa.attention(X, X, X, key_lengths=huge(HUGE, dtype=np.uint64)),
        lambda: fa.attention(X, X, X, query_offset=huge(HUGE, dtype=np.int64)),
        lambda: fa.attention(X, X, X, alibi_slopes=huge(HUGE, dtype=np.float64)),
        lambda: fa.attention(X, X, X, distance_bias=huge(2, HUGE + 1)),
        lambda: fa.attention_varlen(X, X, X, huge(HUGE, dtype=np.uint64)),
        lambda: fa.attention_weights(X, huge(2, HUGE, 3)),
        lambda: fa.softmax(huge(HUGE)),
        lambda: fa.layer_norm(huge(HUGE, 4)),
        lambda: fa.gelu(huge(HUGE, dtype=np.int8)),
        lambda: fa.linear(huge(HUGE, 3), X[0]),
        lambda: fa.linear(X, huge(HUGE, 3)),
        lambda: fa.matmul(huge(2, HUGE), huge(HUGE, 2)),
        lambda: fa.matmul(huge(HUGE, 2, 0), huge(0, 2)),
        lambda: fa.apply_rotary(huge(HUGE, 4), X[0, :, :2], X[0, :, :2]),
        lambda: fa.sinusoidal_positions(4, HUGE),
    ],
)
def test_declared_sizes_without_memory(call):
    with pytest.raises(MemoryError):
        call()


def test_more_sequences_than_memory_can_list():
    # 2**61 times the size of a sequence is 0 modulo 2**64.
    for count in (HUGE, 2**61):
        q = np.broadcast_to(np.zeros((1, 1, 0, 1), np.float16), (count, 1, 0, 1))
        k = np.broadcast_to(np.zeros((1, 1, 1, 1), np.float16), (count, 1, 1, 1))
        assert fa.attention(q, k, k).shape == (count, 1, 0, 1)
    with pytest.raises(MemoryError):
        fa.attention(huge(HUGE, 1, 1, 3), X[None, :1], X[None, :1, :, :0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fa.rotary_positions(4, 2, offset=2**70), ValueError, "offset"),
        (lambda: fa.sinusoidal_positions(2**31, 1), ValueError, "length"),
        (lambda: fa.alibi_slopes(HUGE), ValueError, "num_heads"),
        (lambda: fa.attention(X, X, X, query_offset=2**70), ValueError, "query_offset"),
        (lambda: fa.attention(X, X, X, key_lengths=2**70), ValueError, "key_lengths"),
        (lambda: fa.attention(X, X, X, scale=10**400), ValueError, "scale"),
        (lambda: fa.attention(X, X, X, scale=1e300), ValueError, "scale"),
        (lambda: fa.attention(X, X, X, scale=np.nan), ValueError, "scale"),
        (lambda: fa.attention(X, X, X, softcap=1e-300), ValueError, "softcap"),
        (lambda: fa.attention(X, X, X, softcap=np.inf), ValueError, "softcap"),
        (lambda: fa.layer_norm(X, eps=1e300), ValueError, "eps"),
        (lambda: fa.rms_norm(X, eps=np.nan), ValueError, "eps"),
        (lambda: fa.attention(X, X, X, return_lse=np.ones(3)), TypeError, "return_lse"),
        (lambda: fa.attention(X, X, X, return_lse="no"), TypeError, "return_lse"),
        (
            lambda: fa.apply_rotary(X, X[..., :1], X[..., :1], interleaved=2),
            TypeError,
            "interleaved",
        ),
        (lambda: fa.nn.Encoder(3, 1, 4, 1)(X, causal="no"), TypeError, "causal"),
        (lambda: ATTENTION(X, causal=2), TypeError, "causal"),
        (lambda: ATTENTION(X, cache=""), TypeError, "cache must be a KeyValueCache"),
        (lambda: ATTENTION(X, return_weights=[]), TypeError, "return_weights"),
        (lambda: fa.softmax(X, out=True), TypeError, "out"),
        (lambda: fa.softmax(X, out=np.ma.ones(X.shape, "f4")), TypeError, "MaskedArray"),
    ],
)
def test_values_that_cannot_be_meant(call, error, words):
    with pytest.raises(error, match=re.escape(words)):
        call()


@pytest.mark.parametrize("strides", [(0, 4), (4, 4), (8, 4), (-8, 4), (12, 4)])
def test_out_whose_elements_overlap(strides):
    room = np.zeros(64, np.float32)[32:]
    out = np.lib.stride_tricks.as_strided(room, (4, 4), strides)
    for call in (fa.softmax, fa.gelu, fa.layer_norm):
        with pytest.raises(ValueError, match="out must not share memory"):
            call(normal(4, 4), out=out)
    assert not room.any()


def test_out_of_strides_that_do_not_overlap():
    out = np.zeros((8, 5, 4, 6), np.float32)[::2].swapaxes(0, 1)[:, ::-1]
    x = normal(*out.shape)
    for call in (fa.softmax, fa.gelu, fa.layer_norm):
        assert_same_bits(call(x, out=out), call(x))


def test_a_matrix_as_out():
    out = np.zeros((4, 3), np.float32).view(np.matrix)
    for call in (fa.softmax, fa.gelu, fa.layer_norm):
        assert call(X[0], out=out) is out
        assert_same_bits(np.asarray(out), call(X[0]))


def test_no_positions_of_many_dimensions_take_no_time():
    start = time.process_time()
    assert fa.sinusoidal_positions(0, 2**31).shape == (0, 2**31)
    assert time.process_time() - start < 5


def plain(value):
    """Copy what NumPy makes an array of to the dtype and layout that it stands for."""
    if not isinstance(value, np.ndarray | list):
        return value
    array = np.array(value, order="C")
    kinds = {"f": np.float32, "i": np.int64}
    return array.astype(kinds.get(array.dtype.kind, array.dtype))


def results(call, arguments):
    """Return the arrays that a call gives, or None where it is refused."""
    try:
        # A list of numbers beyond float32 becomes infinite, and a signalling NaN quiet,
        # with NumPy's warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            given = call.function(**arguments)
    except (TypeError, ValueError, IndexError, MemoryError) as error:
        assert str(error) or isinstance(error, MemoryError)
        return None
    return given if isinstance(given, tuple) else (given,)


@pytest.fixture
def four_gigabytes():
    """Refuse more memory: the machine may have less than what is asked for."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**32
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# Masks drawn at random look like PyTorch's now and then.
@pytest.mark.filterwarnings("ignore:padding_mask has padding:UserWarning")
@pytest.mark.filterwarnings("ignore:mask of shape:UserWarning")
@pytest.mark.usefixtures("four_gigabytes")
@pytest.mark.parametrize("name", CALLS)
def test_the_right_answer_or_an_error(name):
    @settings(max_examples=scaled(150, 7_500))
    @given(hostile_calls(name))
    def search(call):
        start = time.process_time()
        try:
            copies = {key: plain(value) for key, value in call.arguments.items()}
        except (TypeError, ValueError, MemoryError):
            copies = None
        else:
            copies.pop("out", None)
            expected = on_fma_isas(lambda: results(call, copies))
        given = results(call, call.arguments)
        if given is not None:
            assert copies is not None
            assert expected is not None
            for actual, right in zip(given, expected, strict=True):
                # Halves come back as halves, which are rounded numbers of float32.
                dtype = np.asarray(actual).dtype
                assert dtype in (np.float32, np.float16)
                rounded = right.astype(dtype).astype(np.float32)
                assert_same_bits(np.asarray(actual, np.float32), rounded)
        # Of this process alone: no other can make it slow.
        assert time.process_time() - start < 10

    search()


def on_fma_isas(compute):
    """Return what all instruction sets with FMA compute, which must be one thing."""
    first, *others = computed_on_fma_isas(compute)
    for other in others:
        assert (other is None) == (first is None)
        for actual, expected in zip(other or (), first or (), strict=True):
            assert_same_bits(actual, expected)
    return first
