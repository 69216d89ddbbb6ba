"""Dense layers in int8, int16 and bfloat16: the bits of the definition, on every engine."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.processes import printed, python
from support.steps import linear
from support.strategies import matrices, normal, sum_edges, tile_edges

import fastattn as fa
from fastattn import _cpu, nn, reference
from fastattn._packed import PRECISIONS, PackedMatrix

NARROW = [precision for precision in PRECISIONS if precision != "float32"]
DEPTHS = [1, 2, 3, 4, 5, 191, 192, 193, 384, 385, 770]
ENGINES = _cpu.available_engines()


@contextlib.contextmanager
def using_engine(name):
    """Multiply with one engine inside of a with statement."""
    _cpu.set_engine(name)
    try:
        yield
    finally:
        _cpu.set_engine(ENGINES[0])


@pytest.fixture(params=ENGINES)
def engine(request):
    """Run the test with each engine that this machine has."""
    with using_engine(request.param):
        yield request.param


def hard_rows(k, precision):
    """Vectors at the ends of their integers, of ties, tiny, huge, and not finite."""
    largest = np.finfo(np.float32).max
    if precision == "bfloat16":
        largest = 1e30  # what is beyond float32 between two sums is not promised
    column, rows = np.arange(k), normal(17, k)
    rows[1], rows[2], rows[3] = 1, -1, 0
    rows[4] = np.where(column % 2, 1, -1)
    rows[5] = (column % 505 - 252) / 2  # every other one is a tie
    rows[6] = column % 127 - 0.5
    rows[7] *= 2.0**-140
    rows[8] *= 2.0**-126
    rows[9] *= 2.0**100
    rows[10, k // 2] = 1e6
    rows[11] = np.where(column % 3, largest, -largest)
    rows[12, k // 2], rows[13, 0], rows[14, -1] = np.nan, np.inf, -np.inf
    rows[15] = np.abs(rows[15])
    return rows


def hard_weight(k):
    """A matrix of which some rows are integers at their bounds, or zeros."""
    column, weight = np.arange(k), normal(37, k, seed=1)
    weight[1] = np.where(column % 2, 2, 127)
    weight[2] = np.where(column % 2, -64, -65)
    weight[3], weight[4], weight[5] = 64, -64, 0
    weight[6] = np.where(column % 2, 127, -127)
    weight[7] *= 2.0**-100
    weight[8, -1] = 1e4
    weight[9] = 2047 - column % 2
    return weight


@pytest.mark.parametrize("precision", NARROW)
class TestDefinition:
    @pytest.mark.parametrize("k", DEPTHS)
    def test_of_every_engine(self, engine, precision, k):
        x, weight, bias = hard_rows(k, precision), hard_weight(k), normal(37, seed=2)
        packed = PackedMatrix(weight, precision=precision)
        with np.errstate(all="ignore"):
            expected = reference.linear_in(precision, x, weight, bias)
        assert_same_bits(linear(x, packed, bias=bias), expected)

    @pytest.mark.parametrize("k", [5, 385])
    def test_of_every_instruction_set(self, isa, precision, k):
        x, weight, factors = (
            hard_rows(k, precision),
            hard_weight(k),
            np.exp(normal(k, seed=3)),
        )
        packed = PackedMatrix(weight, precision=precision, factors=factors)
        with np.errstate(all="ignore"):
            expected = reference.linear_in(precision, x, weight, None, factors)
        assert_same_bits(linear(x, packed), expected)

    @given(st.data())
    @settings(max_examples=15)
    def test_of_any_sizes_and_values(self, engine, precision, data):
        m, n = data.draw(tile_edges), data.draw(tile_edges)
        k = data.draw(st.one_of(st.integers(0, 9), sum_edges))
        x, weight = data.draw(matrices((m, k))), data.draw(matrices((n, k)))
        packed = PackedMatrix(weight, precision=precision)
        expected = reference.linear_in(precision, x, weight)
        assert_same_bits(linear(x, packed), expected)

    def test_of_long_sums(self, engine, precision):
        x, weight = np.float32([[1] * 33000, [-1, 1] * 16500]), hard_weight(33000)
        packed = PackedMatrix(weight, precision=precision)
        assert_same_bits(linear(x, packed), reference.linear_in(precision, x, weight))

    def test_every_height_and_width_of_a_tile(self, engine, precision):
        x, weight = normal(57, 40), normal(150, 40, seed=1)
        expected = reference.linear_in(precision, x, weight)
        for rows in (*range(1, 16), 57):
            n = 10 * rows % 149 + 1
            packed = PackedMatrix(weight[:n], precision=precision)
            assert_same_bits(linear(x[:rows], packed), expected[:rows, :n])

    def test_weights_are_what_the_definition_says(self, isa, precision):
        weight = hard_weight(97)
        factors = np.float32([1, 2, 4, 8, 16] * 20)[:97]
        packed = PackedMatrix(weight, precision=precision, factors=factors)
        if precision == "bfloat16":
            expected = reference.stored(weight, "bfloat16")
            expected[np.abs(expected) < 2.0**-54] = 0
        else:
            integers, scales = reference.quantized_weight(weight * factors, precision)
            expected = integers.astype(np.float32) * scales / factors
        assert_same_bits(packed.unpack(), expected)


@pytest.mark.parametrize("precision", NARROW)
class TestProduct:
    def test_with_an_epilogue(self, precision):
        x, weight, bias = normal(70, 130), normal(50, 130, seed=1), normal(50, seed=2)
        residual, factor = normal(70, 50, seed=3), normal(70, 50, seed=4)
        packed = PackedMatrix(weight, precision=precision)
        plain = fa.gelu(linear(x, packed, bias=bias)) * factor + residual
        epilogue = {"activation": "gelu", "factor": factor, "residual": residual}
        for threads in THREADS:
            out = linear(x, packed, bias=bias, num_threads=threads, **epilogue)
            assert_same_bits(out, plain)
        assert_same_on_fma_isas(lambda: linear(x, packed, bias=bias, **epilogue))

    def test_weights_on_top_of_each_other_are_rounded_each_by_itself(self, precision):
        weights = [normal(n, 30, seed=n) * np.float32(n) for n in (3, 20, 1)]
        apart = [PackedMatrix(w, precision=precision).unpack() for w in weights]
        together = PackedMatrix(*weights, precision=precision)
        assert_same_bits(together.unpack(), np.concatenate(apart))

    def test_pickles(self, precision):
        factors = np.arange(1, 31, dtype=np.float32)
        packed = PackedMatrix(normal(20, 30), precision=precision, factors=factors)
        again = pickle.loads(pickle.dumps(packed))
        assert (again.format, again.precision) == (precision, precision)
        assert_same_bits(again.factors, packed.factors)
        assert_same_bits(again.unpack(), packed.unpack())
        assert_same_bits(linear(normal(3, 30), again), linear(normal(3, 30), packed))

    def test_of_no_rows_columns_or_terms(self, precision):
        for m, n, k in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
            packed = PackedMatrix(np.ones((n, k), np.float32), precision=precision)
            out = linear(np.ones((m, k), np.float32), packed)
            assert_same_bits(out, np.zeros((m, n), np.float32))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
    def test_refuses_what_would_not_be_finite(self, precision, bad):
        weight = normal(20, 30)
        weight[17, 3] = bad
        with pytest.raises(ValueError, match=f"{precision} takes weights of at most"):
            PackedMatrix(weight, precision=precision)

    @pytest.mark.parametrize("bad", [[1] * 3, [1, 0], [1, -1], [1, np.inf], [1, np.nan]])
    def test_refuses_factors_that_are_none(self, precision, bad):
        with pytest.raises(ValueError, match="factors must be 2 positive, finite numbers"):
            PackedMatrix(normal(3, 2), precision=precision, factors=np.float32(bad))


class TestLayer:
    @pytest.mark.parametrize("precision", NARROW)
    def test_computes_and_says_what_it_computes_with(self, precision):
        layer, x = nn.Linear(40, 30, rng=0), normal(2, 5, 40)
        before = layer.state_dict()
        layer.compute_in(precision)
        expected = reference.linear_in(precision, x[0], before["weight"], before["bias"])
        assert_same_bits(layer(x)[0], expected)
        numbers = PackedMatrix(before["weight"], precision=precision).unpack()
        assert_same_bits(layer.state_dict()["weight"], numbers)
        layer.compute_in("float32")
        assert_same_bits(layer(x), fa.linear(x, numbers, before["bias"]))

    def test_factors_even_out_channels_and_stay_where_weights_are_replaced(self):
        layer, x = nn.Linear(40, 30, rng=0), normal(5, 40)
        x[:, 3] *= 1000
        exact, factors = layer(x), np.ones(40, np.float32)
        factors[3] = 100.3
        plain, smooth = (
            PackedMatrix(layer.weight, precision="int8", factors=f) for f in (None, factors)
        )
        layer.compute_in("int8", {"weight": factors})
        assert_same_bits(layer(x), linear(x, smooth, bias=layer.bias))
        errors = [
            np.abs(linear(x, p, bias=layer.bias) - exact).max() for p in (plain, smooth)
        ]
        assert errors[1] < errors[0] / 2
        layer.load_state_dict(nn.Linear(40, 30, rng=0).state_dict())
        assert_same_bits(layer(x), linear(x, smooth, bias=layer.bias))

    def test_all_inside_or_nothing(self):
        layer = nn.Encoder(48, 3, 80, 1, rng=0)
        state = layer.state_dict()
        layer.load_state_dict({**state, "layers.0.linear1.weight": np.full((80, 48), 3e38)})
        before = layer.state_dict()
        with pytest.raises(ValueError, match=r"'layers\.0\.linear1\.weight': int8 takes"):
            layer.compute_in("int8")
        for key, weight in layer.state_dict().items():
            assert_same_bits(weight, before[key])
        layer.load_state_dict(state)
        layer.compute_in("int8")
        x = normal(2, 7, 48)
        assert 0 < np.abs(layer(x) - nn.Encoder(48, 3, 80, 1, rng=0)(x)).max() < 0.2

    def test_refuses(self):
        layer = nn.Linear(3, 2)
        with pytest.raises(ValueError, match="precision must be one of 'float32', 'int8'"):
            layer.compute_in("int4")
        with pytest.raises(ValueError, match=r"factors name no matrix .*: \['bias', 'w'\]"):
            layer.compute_in("int8", {"w": np.ones(3), "bias": np.ones(2)})
        with pytest.raises(ValueError, match="other precisions than float32"):
            layer.compute_in("float32", {"weight": np.ones(3, np.float32)})
        with pytest.raises(ValueError, match="'weight': factors must be 3 positive"):
            layer.compute_in("int8", {"weight": np.ones(2, np.float32)})
        layer.compute_in("int8")
        with pytest.raises(ValueError, match=r"'weight' is stored in int8.*compute_in"):
            layer.store_weights_as("float16")


class TestEngines:
    def test_portable_is_always_there_and_last(self):
        assert ENGINES[-1] == "portable"
        with using_engine("portable"):
            assert set(_cpu.get_engines().values()) == {"portable"}

    def test_what_one_has_not_the_next_one_does(self, engine):
        usable = ENGINES[ENGINES.index(engine) :]
        assert set(_cpu.get_engines()) == set(NARROW)
        assert set(_cpu.get_engines().values()) <= set(usable)
        shown = [f"{name} {of}" for name, of in _cpu.get_engines().items()]
        facts = fa.show_config("dicts")
        assert facts["engines"] == shown
        by_one = {"bfloat16 avx512bf16", "bfloat16 bf16"} & set(shown)
        assert facts["bfloat16 products"].startswith("by an instruction") == bool(by_one)

    def test_an_unknown_name_is_an_error_that_lists_what_there_is(self):
        with pytest.raises(ValueError, match=", ".join(ENGINES)):
            _cpu.set_engine("mmx")
        assert "ValueError" in python("import fastattn", FASTATTN_ENGINE="mmx").stderr

    def test_the_environment_chooses(self):
        script = "from fastattn import _cpu; print(_cpu.get_engines()['int8'])"
        assert printed(script, FASTATTN_ENGINE="portable") == "portable"
