"""bfloat16 of PyTorch: NumPy cannot read it, and it goes in as float16 does."""

import types

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.strategies import normal
from support.tensors import Exported, Parameter, Tensor, bits_of, wide

import fastattn as fa
from fastattn import nn
from fastattn.arrays import as_array, as_real
from fastattn.bfloat16 import BITS

FORMS = {
    "tensor": Tensor,
    "DLPack": Exported,
    "DLPack of old": lambda bits: Exported(bits, versioned=False),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "view",
    [lambda x: x, lambda x: x.swapaxes(0, 1), lambda x: x[::2, ::-1], lambda x: x[:0]],
)
def test_is_read_without_a_copy(form, view):
    bits = view(bits_of(normal(4, 5, 6)))
    array = as_array(FORMS[form](bits), "x")
    assert array.dtype == BITS
    assert np.shares_memory(array, bits) or not bits.size
    np.testing.assert_array_equal(array.view(np.uint16), bits)


def test_every_number_is_widened():
    bits = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(as_real(Tensor(bits), "x").view(np.uint32) >> 16, bits)


@pytest.mark.parametrize("form", FORMS)
def test_attention_reads_it_as_storage(isa, form):
    bits = bits_of(normal(3, 2, 4, 70, 16))
    q, k, v = (FORMS[form](x.swapaxes(1, 2).copy().swapaxes(1, 2)) for x in bits)
    options = {"causal": True, "alibi_slopes": [0.5] * 4}
    y, lse = fa.attention(q, k, v, return_lse=True, **options)
    exact, exact_lse = fa.attention(*wide(bits), return_lse=True, **options)
    assert y.dtype == np.float32
    assert_same_bits(y, wide(bits_of(exact)))
    assert_same_bits(lse, exact_lse)
    alone = fa.attention(*(FORMS[form](x[0, 0]) for x in bits), causal=True)
    assert_same_bits(alone, wide(bits_of(fa.attention(*wide(bits[:, 0, 0]), causal=True))))


def test_functions_beside_attention():
    bits = bits_of(normal(3, 20, 2, 16))
    tensors, starts = [Tensor(x) for x in bits], [0, 7, 20]
    packed = fa.attention_varlen(*tensors, starts)
    assert_same_bits(packed, wide(bits_of(fa.attention_varlen(*wide(bits), starts))))
    weights = fa.attention_weights(*tensors[:2])
    expected = fa.attention_weights(*wide(bits[:2]))
    assert_same_bits(weights, wide(bits_of(expected)))


def test_a_result_may_have_a_place():
    bits = bits_of(normal(3, 20, 16))
    out = np.empty((20, 16), np.float32)
    assert fa.attention(*map(Tensor, bits), out=out) is out
    assert_same_bits(out, fa.attention(*map(Tensor, bits)))
    with pytest.raises(TypeError, match="out must be an array of float32, got float16"):
        fa.attention(*map(Tensor, bits), out=out.astype(np.float16))


def test_tensors_and_arrays_of_ml_dtypes_go_together():
    dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    bits = bits_of(normal(3, 20, 16))
    of_tensors = fa.attention(*map(Tensor, bits))
    q, k, v = bits.view(dtype)
    mixed = fa.attention(q, Tensor(bits[1]), v)
    assert mixed.dtype == dtype
    assert_same_bits(mixed.astype(np.float32), of_tensors)
    assert_same_bits(fa.attention(Tensor(bits[0]), k, v), of_tensors)


def test_state_dicts():
    layer = nn.EncoderLayer(8, 2, 16, rng=0)
    state = {key: bits_of(value) for key, value in layer.state_dict().items()}
    layer.load_state_dict({key: Tensor(bits) for key, bits in state.items()})
    for key, value in layer.state_dict().items():
        assert_same_bits(value, wide(state[key]))


def test_modules():
    weight, bias = Tensor(bits_of(normal(3, 4))), Tensor(bits_of(normal(3)))
    state = {"weight": weight, "bias": bias}
    module = types.SimpleNamespace(
        state_dict=lambda: state, in_features=4, out_features=3, bias=bias
    )
    assert_same_bits(nn.Linear.from_torch(module).weight, wide(weight.bits))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fa.softmax(x), r"x must be float32, got bfloat16: .* x\.float\(\)"),
        (lambda x: nn.Linear(4, 2)(x), r"x must be float32, got bfloat16: .* x\.float\(\)"),
        (lambda x: fa.attention(x, x, wide(x.bits)), "got bfloat16, bfloat16 and float32"),
        (
            lambda x: fa.attention(x, x, Parameter(x.bits)),
            r"value .*\.detach\(\)",
        ),
        (lambda x: fa.softmax(Parameter(x.bits)), r"x .*gradient.*\.detach\(\)"),
    ],
)
def test_where_it_does_not_go_in_the_cure_is_told(call, message):
    with pytest.raises(TypeError, match=message):
        call(Tensor(bits_of(normal(3, 4))))


def test_other_dtypes_that_numpy_cannot_read_are_refused():
    class Float8(Tensor):
        def __dlpack__(self, **options):
            return self.bits.__dlpack__(**options)

    with pytest.raises(TypeError, match="x cannot be read as an array: Got unsupported"):
        fa.softmax(Float8(np.zeros(3, np.uint16)))
