"""What goes in: other libraries' arrays, without a copy where the layout allows."""

import numpy as np
import pytest
from support.bits import assert_same_bits

import fastattn as fa
from fastattn import nn
from fastattn.arrays import as_array, as_float32, as_integers, as_real


class OfDlpack:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OfBuffer:
    """An array of a library that offers its memory without a shape, as PyArrow does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.frombuffer(self.array, np.float32).reshape(self.array.shape)


class OfNumpy:
    """An array of a library that offers NumPy a view."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def read_only(x):
    x.flags.writeable = False
    return x


def exported(x):
    """Read-only memory that speaks DLPack alone, as JAX's does."""
    return OfDlpack(read_only(x))


WRAPPERS = [OfDlpack, OfNumpy, OfBuffer, memoryview, read_only, exported, lambda x: x.T.T]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_is_read_without_a_copy(wrap):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = fa.softmax(x)
    wrapped = wrap(x)
    assert np.shares_memory(as_float32(wrapped, "x"), x)
    assert_same_bits(fa.softmax(wrapped), expected)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_goes_into_layers(wrap):
    x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    layer = fa.nn.EncoderLayer(8, 2, 16, rng=0)
    expected = layer(x, lengths=[5, 3])
    assert_same_bits(layer(wrap(x.copy()), lengths=[5, 3]), expected)
    state = {key: wrap(value.copy()) for key, value in layer.state_dict().items()}
    twin = fa.nn.EncoderLayer(8, 2, 16, rng=1)
    twin.load_state_dict(state)
    assert_same_bits(twin(x, lengths=[5, 3]), expected)


def test_is_read_from_a_read_only_memory_map(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 70, 16), np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(as_array(mapped, "x"), mapped)
    assert_same_bits(fa.attention(mapped, mapped, mapped), fa.attention(x, x, x))


def test_misaligned_integers_are_copied():
    memory = np.zeros(17, np.uint8)
    starts = memory[1:].view(np.int64)
    starts[:] = [0, 3]
    x = np.ones((3, 1, 2), np.float32)
    assert as_integers(starts, "starts").flags.aligned
    assert_same_bits(fa.attention_varlen(x, x, x, starts), x)


def test_integers_are_copied_only_where_they_must_be():
    whole = np.arange(6)
    whole.flags.writeable = False
    assert as_integers(whole, "ids") is whole
    misaligned = np.zeros(33, np.uint8)[1:].view(np.int64)
    for other in (whole[::2], whole.astype(">i8"), whole.astype(np.uint8), misaligned):
        integers = as_integers(other, "ids")
        assert integers.flags.carray
        assert integers.dtype == np.int64
        np.testing.assert_array_equal(integers, other)


class Count:
    """An integer of another library."""

    def __index__(self):
        return 1


X = np.ones((2, 2), np.float32)
INTEGERS = {
    "axis": lambda n: fa.softmax(X, axis=n),
    "window's left": lambda n: fa.attention(X, X, X, window=(n, None)),
    "window's right": lambda n: fa.attention(X, X, X, window=(None, n)),
    "num_heads": fa.alibi_slopes,
    "length": lambda n: fa.rotary_positions(n, 2),
    "dim": lambda n: fa.sinusoidal_positions(2, n),
    "offset": lambda n: fa.rotary_positions(2, 2, offset=n),
    "the number of threads": fa.num_threads,
    "a size in shape": lambda n: fa.init.xavier_uniform((2, n)),
    "in_features": lambda n: nn.Linear(n, 2),
    "num_layers": lambda n: nn.Encoder(2, 1, 2, n),
    "num_kv_heads": lambda n: nn.MultiHeadAttention(4, 2, num_kv_heads=n),
    "max_length": lambda n: nn.PositionalEncoding(2, n),
    "digits": lambda n: fa.plot.attention(X, digits=n),
    "count": lambda n: fa.plot.links(X, ["a", "b"], 0, count=n),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_is_the_same_thing_everywhere(name):
    if name in ("digits", "count"):
        pytest.importorskip("matplotlib")
    for one in (1, np.int8(1), np.array(1), Count()):
        INTEGERS[name](one)
    for other in (True, np.True_, 1.0, "1", [1], np.array([1, 1]), 1j):
        with pytest.raises(TypeError, match=rf"^{name} must be an integer, got "):
            INTEGERS[name](other)
    for beyond in (-(2**70), -3):
        with pytest.raises(ValueError, match=rf"^{name} must be .*, got {beyond}$"):
            INTEGERS[name](beyond)


CHOICES = {
    "activation": [
        lambda name: fa.linear(X, X, activation=name),
        lambda name: nn.FeedForward(2, 2, name),
    ],
    "approximate": [lambda name: fa.gelu(X, approximate=name)],
    "mode": [fa.show_config],
    "init": [lambda name: nn.Linear(2, 2, init=name)],
    "norm": [lambda name: nn.EncoderLayer(2, 1, 2, norm=name)],
    "format": [lambda name: nn.Linear(2, 2).store_weights_as(name)],
    "weights": [lambda name: fa.load("nowhere", weights=name)],
    "names": [lambda name: fa.trace(nn.Encoder(2, 1, 2, 2), X, names=[name])],
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("other", ["", "another", 0, ("gelu",)])
def test_one_of_several_is_refused_alike_everywhere(name, other):
    for call in CHOICES[name]:
        with pytest.raises(ValueError, match=rf"^{name} must be one of .*'.*', got "):
            call(other)


FLAGS = {
    "causal": lambda flag: fa.attention(X, X, X, causal=flag),
    "return_lse": lambda flag: fa.attention(X, X, X, return_lse=flag),
    "bias": lambda flag: [
        nn.Linear(2, 2, bias=flag),
        nn.LayerNorm(2, bias=flag),
        nn.FeedForward(2, 2, bias=flag),
        nn.MultiHeadAttention(2, 1, bias=flag),
        nn.EncoderLayer(2, 1, 2, bias=flag),
    ],
    "gated": lambda flag: nn.FeedForward(2, 2, gated=flag),
    "norm_first": lambda flag: nn.EncoderLayer(2, 1, 2, norm_first=flag),
    "rotary_interleaved": lambda flag: nn.MultiHeadAttention(
        2, 1, rotary=9.0, rotary_interleaved=flag
    ),
    "final_norm": lambda flag: nn.Encoder(2, 1, 2, 1, final_norm=flag),
    "interleaved": lambda flag: fa.apply_rotary(X, X[:, :1], X[:, :1], interleaved=flag),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false_everywhere(name):
    for flag in (True, False, np.True_, np.False_):
        FLAGS[name](flag)
    for other in (0, 1, "no", None, np.array(True)):
        with pytest.raises(TypeError, match=rf"^{name} must be True or False, got "):
            FLAGS[name](other)


BEYOND = {
    "x": lambda number: fa.softmax([0.0, number]),
    "weight": lambda number: fa.linear([1.0], [[number]]),
    "mask": lambda number: fa.attention(X, X, X, [[number, 0.0]]),
    "alibi_slopes": lambda number: fa.attention(
        X, X, X, alibi_slopes=np.array([number], float)
    ),
    "distance_bias": lambda number: fa.attention(X, X, X, distance_bias=[[number]]),
    "alibi": lambda number: nn.MultiHeadAttention(2, 1, alibi=[number]),
    "'weight'": lambda number: nn.Linear(2, 1, bias=False).load_state_dict(
        {"weight": np.array([[0.0, number]], np.longdouble)}
    ),
    "std": lambda number: fa.init.normal((2, 3), std=number),
    "eps": lambda number: fa.layer_norm(X, eps=number),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_number_beyond_float32_is_no_infinity(name):
    for number in (1e39, -3.5e38, 10**39):
        with pytest.raises(ValueError, match=f"^{name} (holds|must be finite)"):
            BEYOND[name](number)


def test_a_state_with_such_a_number_changes_nothing():
    layer = nn.Linear(2, 1, bias=False, rng=0)
    before = layer.weight
    with pytest.raises(ValueError, match=r"^'weight' holds 1e\+39, which is beyond"):
        layer.load_state_dict({"weight": np.array([[0.0, 1e39]])})
    assert_same_bits(layer.weight, before)


def test_what_is_as_large_as_float32_goes_in():
    largest = np.finfo(np.float32).max
    assert as_real([float(largest), 2**70], "x").tolist() == [largest, 2**70]
    assert as_real([2**70, 10**30], "x").tolist() == [np.float32(2**70), np.float32(1e30)]
    # Rounded to nearest, this is the largest; and infinity and NaN are no overflow.
    just, special = [3.4028235677e38 - 1e30], np.array([np.inf, -np.inf, np.nan])
    assert as_real(just, "x").tolist() == [largest]
    np.testing.assert_array_equal(as_real(special, "x"), special.astype(np.float32))
    with pytest.raises(ValueError, match="x holds an integer beyond float32"):
        as_real([10**400], "x")
    with pytest.raises(TypeError, match="x must be an array of real numbers, got object"):
        as_real([2**70, None], "x")


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ("a text", "got texts: encode them first"),
        (["a", "text"], "got texts: encode them first"),
        (np.array([[1.0], None, [2.0]], object), r"object: np\.stack\(x\) makes one array"),
    ],
)
def test_what_to_do_with_what_is_no_array_of_numbers(given, cure):
    """A column of a table that holds vectors is an array of objects."""
    with pytest.raises(TypeError, match=f"x must be an array of real numbers, .*{cure}"):
        as_float32(given, "x")


def test_a_batch_of_arrays_of_dlpack_keeps_its_dimensions():
    x = np.random.default_rng(0).standard_normal((3, 4, 8), np.float32)
    y = fa.attention(*[OfDlpack(x)] * 3)
    assert_same_bits(y, fa.attention(x, x, x))
