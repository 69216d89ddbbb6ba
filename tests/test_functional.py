"""The public functions: what may be passed, what is refused and in which words."""

import array
import itertools
import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.steps import promised
from support.strategies import normal, seeds, sum_edges, tile_edges

import fastattn as fa
from fastattn import reference
from fastattn._rowwise import ACTIVATIONS

# Every public function on arrays: valid arguments, and which of them are such arrays.
# The values are small integers, so that every way to write them down says the same.
CALLS = {
    "matmul": (fa.matmul, {"a": (3, 4), "b": (4, 5)}),
    "linear": (fa.linear, {"x": (3, 4), "weight": (5, 4), "bias": (5,)}),
    "softmax": (fa.softmax, {"x": (3, 4)}),
    "layer_norm": (fa.layer_norm, {"x": (3, 4), "weight": (4,), "bias": (4,)}),
    "rms_norm": (fa.rms_norm, {"x": (3, 4), "weight": (4,)}),
    "gelu": (fa.gelu, {"x": (3, 4)}),
    "attention": (
        fa.attention,
        {"query": (2, 3, 4), "key": (2, 5, 4), "value": (2, 5, 6), "mask": (3, 5)},
    ),
    "attention_varlen": (
        lambda **arrays: fa.attention_varlen(**arrays, cu_seqlens_q=[0, 1, 3]),
        {"query": (3, 2, 4), "key": (3, 2, 4), "value": (3, 2, 6)},
    ),
    "attention_weights": (
        fa.attention_weights,
        {"query": (2, 3, 4), "key": (2, 5, 4), "mask": (3, 5)},
    ),
}
ARGUMENTS = [(call, name) for call, (_, shapes) in CALLS.items() for name in shapes]


def arguments(call):
    """Make valid arguments: float32 arrays of small integers."""
    _, shapes = CALLS[call]
    return {
        name: np.random.default_rng(len(name)).integers(-3, 4, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def misaligned(x):
    room = np.zeros(x.nbytes + 1, np.uint8)
    moved = room[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


def read_only(x):
    x.setflags(write=False)
    return x


class Duck:
    """What other libraries' arrays look like."""

    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return self.x


# The same numbers in other clothes.
ACCEPTED = {
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple(map(tuple, x.tolist())) if x.ndim == 2 else x.tolist(),
    "fortran order": np.asfortranarray,
    "every other row": lambda x: np.repeat(x, 2, 0)[::2],
    "every other column": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1],
    "read-only": read_only,
    "byte-swapped": lambda x: x.astype(">f4"),
    "misaligned": misaligned,
    "memoryview": memoryview,
    "subclass": lambda x: x.view(np.recarray) if x.dtype.names else x.view(np.ndarray),
    "duck": Duck,
}
INTEGERS = {name: lambda x, t=name: x.astype(t) for name in ("i1", "i4", "i8", ">i2")}
REFUSED = {
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "complex": lambda x: x.astype(np.complex64),
    "object": lambda x: x.astype(object),
    "strings": lambda x: x.astype(str),
    "bytes": lambda x: x.astype("S"),
    "dates": lambda x: x.astype("i8").astype("M8[s]"),
    "records": lambda x: x.astype([("a", "f4")]),
    "masked": lambda x: np.ma.array(x, mask=x > 0),
    "ragged lists": lambda x: [[1.0], [1.0, 2.0]],
    "a set": lambda x: {1.0, 2.0},
    "a function": lambda x: len,
    "a string": lambda x: "abc",
    "complex numbers": lambda x: [[1j]],
}


@pytest.mark.parametrize("clothes", ACCEPTED)
@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_the_same_numbers_give_the_same_bits(call, name, clothes):
    function, _ = CALLS[call]
    expected = function(**arguments(call))
    changed = arguments(call)
    changed[name] = ACCEPTED[clothes](changed[name])
    assert_same_bits(function(**changed), expected)


@pytest.mark.parametrize("clothes", INTEGERS)
@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_integers_convert_but_are_no_mask(call, name, clothes):
    function, _ = CALLS[call]
    changed = arguments(call)
    changed[name] = INTEGERS[clothes](changed[name])
    if name == "mask":
        with pytest.raises(TypeError, match=r"mask must be bool .* or floating"):
            function(**changed)
    else:
        assert_same_bits(function(**changed), function(**arguments(call)))


@pytest.mark.parametrize("clothes", REFUSED)
@pytest.mark.parametrize(("call", "name"), ARGUMENTS)
def test_what_is_no_float32_is_refused_by_name(call, name, clothes):
    function, _ = CALLS[call]
    changed = arguments(call)
    changed[name] = REFUSED[clothes](changed[name])
    with pytest.raises(TypeError, match=rf"\b{name}\b"):
        function(**changed)


WITH_OUT = [(call, name) for call, name in ARGUMENTS if call != "attention_varlen"]


@pytest.mark.parametrize(("call", "name"), WITH_OUT)
def test_out_may_not_overlap_an_input(call, name):
    function, _ = CALLS[call]
    changed = arguments(call)
    shape = function(**changed).shape
    memory = np.zeros(math.prod(shape) + changed[name].size, np.float32)
    # The input ends where out begins, but for one element that they share.
    size = changed[name].size
    changed[name] = memory[:size].reshape(changed[name].shape)
    out = memory[size - 1 :][: math.prod(shape)].reshape(shape)
    with pytest.raises(ValueError, match="out must not share memory with the inputs"):
        function(**changed, out=out)
    beside = memory[size:].reshape(shape)
    assert function(**changed, out=beside) is beside


@pytest.mark.parametrize("call", ["softmax", "layer_norm", "rms_norm", "gelu"])
def test_out_may_be_the_input_itself(call):
    x = normal(70, 33)
    expected = getattr(fa, call)(x)
    assert getattr(fa, call)(x, out=x) is x
    assert_same_bits(x, expected)


def test_float64_is_refused_with_the_cure():
    with pytest.raises(
        TypeError, match=r"got float64: convert .* x\.astype\(np\.float32\)"
    ):
        fa.gelu(np.ones(3))


def test_numbers_and_other_buffers_convert():
    assert fa.gelu(0) == 0
    assert fa.gelu(2.5).shape == ()
    assert_same_bits(fa.gelu(array.array("f", [0, 8])), np.array([0, 8], np.float32))
    assert_same_bits(fa.gelu([True, False]), fa.gelu([1, 0]))


SPECIFICATIONS = {
    "matmul": lambda a, b: a @ b,
    "linear": reference.linear,
    "softmax": reference.softmax,
    "layer_norm": reference.layer_norm,
    "rms_norm": reference.rms_norm,
    "gelu": reference.gelu,
    "attention": reference.attention,
    "attention_weights": reference.attention_weights,
}


@given(st.data())
@settings(max_examples=300)
def test_any_shapes_are_right_or_refused_by_name(data):
    call = data.draw(st.sampled_from(sorted(CALLS)))
    function, shapes = CALLS[call]
    shape = st.lists(st.integers(0, 3), max_size=4)
    drawn = {name: data.draw(shape | st.just(valid)) for name, valid in shapes.items()}
    arrays = {name: normal(*drawn[name]) for name in shapes}
    try:
        result = function(**arrays)
    except ValueError as error:
        words = str(error).replace("(", " ").replace("'s", " ").split()
        named = set(shapes) | {"cu_seqlens_q", "cu_seqlens_k", "heads"}
        assert named & {word.strip(",.:)") for word in words}, str(error)
        return
    assert result.dtype == np.float32
    check_shape(call, drawn, result.shape)
    # The specification of attention wants heads, and a head dimension for its scale.
    operands = [drawn[name] for name in ("query", "key", "value") if name in drawn]
    known = all(len(operand) > 2 and operand[-1] for operand in operands)
    if known and result.size and call in SPECIFICATIONS:
        formula = SPECIFICATIONS[call]
        assert_accurate(
            result, lambda t: formula(**{n: a.astype(t) for n, a in arrays.items()})
        )


def check_shape(call, shapes, shape):
    """Hold the shape of a result to that of its first argument and its last one."""
    first = tuple(next(iter(shapes.values())))
    if call in ("softmax", "layer_norm", "rms_norm", "gelu"):
        assert shape == first
    elif call == "matmul":
        assert shape[-2:] == (first[-2], tuple(shapes["b"])[-1])
    elif call == "linear":
        assert shape == (*first[:-1], shapes["weight"][0])
    elif call == "attention_varlen":
        assert shape == (*first[:-1], shapes["value"][-1])
    else:
        last = shapes["value"][-1] if call == "attention" else shapes["key"][-2]
        assert shape[-2:] == (first[-2], last)


class TestMatmul:
    @given(st.data())
    @settings(max_examples=40)
    def test_is_numpys(self, data):
        m, n, k = data.draw(tile_edges), data.draw(tile_edges), data.draw(sum_edges)
        leading = data.draw(
            st.sampled_from(
                [
                    ((), ()),
                    ((2,), ()),
                    ((), (3,)),
                    ((2, 1), (3,)),
                    ((0,), (1,)),
                    ((2,), (2,)),
                ]
            )
        )
        a = normal(*leading[0], m, k, seed=data.draw(seeds))
        b = normal(*leading[1], k, n, seed=data.draw(seeds))
        c = fa.matmul(a, b)
        exact = a.astype(float) @ b.astype(float)
        assert c.shape == exact.shape
        factor, block = promised(
            fa.matmul, r"below ``(\d+) \((\d+) \+ k / \d+\) u sum_p \|a b\|``"
        )
        allowed = factor * (block + k / block) * 2.0**-24
        magnitude = np.abs(a).astype(float) @ np.abs(b).astype(float)
        assert (np.abs(c - exact) <= allowed * magnitude).all()

    def test_does_not_depend_on_the_batch(self):
        a, b = normal(5, 20, 400), normal(5, 400, 30, seed=1)
        together = fa.matmul(a, b)
        for i in range(5):
            assert_same_bits(fa.matmul(a[i], b[i]), together[i])
        assert_same_bits(fa.matmul(a, b[0])[0], together[0])


class TestOptions:
    x = normal(3, 4)

    @pytest.mark.parametrize("axis", range(-3, 3))
    def test_softmax_along_any_axis(self, axis):
        x = normal(3, 4, 5)
        y = fa.softmax(x, axis=axis)
        assert_accurate(y, lambda t: reference.softmax(x.astype(t), axis))
        out = np.empty_like(x)
        assert fa.softmax(x, axis=axis, out=out) is out
        assert_same_bits(out, y)

    @pytest.mark.parametrize(("axis", "error"), [(2, ValueError), (-3, ValueError)])
    def test_softmax_axis_out_of_range(self, axis, error):
        with pytest.raises(error, match="axis must be from -2 to 1"):
            fa.softmax(self.x, axis=axis)

    @pytest.mark.parametrize("axis", [1.0, "0", None, True, (0, 1)])
    def test_softmax_axis_of_another_kind(self, axis):
        with pytest.raises(TypeError, match="axis"):
            fa.softmax(self.x, axis=axis)

    @pytest.mark.parametrize("eps", ["1", None, True, 1j, [1.0], np.ones(2)])
    def test_eps_of_another_kind(self, eps):
        with pytest.raises(TypeError, match="eps"):
            fa.layer_norm(self.x, eps=eps)

    @pytest.mark.parametrize("eps", [-1e-9, np.nan, np.inf, -1])
    def test_eps_out_of_range(self, eps):
        with pytest.raises(ValueError, match="eps"):
            fa.layer_norm(self.x, eps=eps)

    @pytest.mark.parametrize("name", ["swish", "", "ReLU", 3, ["gelu"]])
    def test_unknown_names(self, name):
        with pytest.raises((TypeError, ValueError), match="activation must be one of"):
            fa.linear(self.x, self.x, activation=name)
        with pytest.raises((TypeError, ValueError), match="approximate must be one of"):
            fa.gelu(self.x, approximate=name)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_linear_activations(self, activation):
        weight, bias = normal(5, 4, seed=1), normal(5, seed=2)
        y = fa.linear(self.x, weight, bias, activation=activation)
        formula = getattr(reference, activation)
        arrays = self.x, weight, bias
        assert_accurate(
            y, lambda t: formula(reference.linear(*(a.astype(t) for a in arrays)))
        )

    def test_linear_names_its_activations(self):
        (names,) = re.findall(r"in the cache: ([^.]*)\.", fa.linear.__doc__)
        assert re.findall(r'"(\w+)"', names) == [*ACTIVATIONS]

    @pytest.mark.parametrize("shape", [(5, 1), (5, 2, 1), (1, 1), (1, 5)])
    def test_views_of_one_column(self, shape):
        x = normal(*shape[:-1], shape[-1] + 3)[..., : shape[-1]]
        for function in (fa.gelu, fa.softmax, fa.layer_norm):
            assert_same_bits(function(x), function(x.copy()))
        out = np.empty((*shape[:-1], shape[-1] + 3), np.float32)[..., : shape[-1]]
        assert_same_bits(fa.gelu(x, out=out), fa.gelu(x.copy()))


def concurrent_calls():
    q, k, v = normal(3, 2, 3, 90, 16)
    x, weight = normal(300, 64), normal(70, 64, seed=1)
    yield lambda: fa.attention(q, k, v, causal=True, num_threads=2)
    yield lambda: fa.attention_varlen(
        *(a.swapaxes(1, 2).reshape(180, 3, 16) for a in (q, k, v)), [0, 5, 100, 180]
    )
    yield lambda: fa.attention_weights(q, k, key_lengths=[7, 90])
    yield lambda: fa.matmul(x, weight.T)
    yield lambda: fa.linear(x, weight, activation="gelu")
    yield lambda: fa.softmax(x, axis=0)
    yield lambda: fa.layer_norm(x)
    yield lambda: fa.gelu(x)
    yield lambda: fa.sinusoidal_positions(70, 65)


def test_calls_from_many_threads_at_once_give_the_bits_of_one_after_the_other():
    calls = list(concurrent_calls())
    expected = [call() for call in calls]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(call) for call in calls * 20]
        for future, result in zip(futures, itertools.cycle(expected), strict=False):
            assert_same_bits(future.result(), result)
