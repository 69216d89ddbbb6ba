"""Layers made from torch's modules: what is read off them, and what is refused.

Torch is not needed: the modules are objects with the same attributes, and weights and
results come from the files of tests/make_torch_fixtures.py.
"""

import types
from pathlib import Path

import numpy as np
import pytest

from fastattn import nn

DATA = Path(__file__).parent / "data"
# How far float32 may be from torch's float64, for results of about 4.
TORCH_TOLERANCE = 2e-6


def read(name):
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def below(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


# ---- Objects that look like torch's modules ------------------------------------------


def module(state, **attributes):
    return types.SimpleNamespace(state_dict=lambda: state, **attributes)


def relu():
    """Stand for torch.nn.functional.relu: only the names of the function are read."""


relu.__module__ = "torch.nn.functional"


class GELU:
    """Stands for torch.nn.GELU."""

    __module__ = "torch.nn.modules.activation"

    def __init__(self, approximate="none"):
        self.approximate = approximate


def torch_linear(state):
    rows, columns = state["weight"].shape
    return module(state, in_features=columns, out_features=rows, bias=state.get("bias"))


def torch_norm(state, eps=1e-5):
    weight, bias = state.get("weight"), state.get("bias")
    shape = (len(weight),) if weight is not None else (6,)
    return module(state, normalized_shape=shape, eps=eps, weight=weight, bias=bias)


def torch_embedding(state, max_norm=None):
    num, dim = state["weight"].shape
    return module(state, num_embeddings=num, embedding_dim=dim, max_norm=max_norm)


def torch_attention(state, num_heads=4, **changed):
    hidden_size = state["out_proj.weight"].shape[1]
    size = state.get("k_proj_weight", state["out_proj.weight"]).shape[1]
    settings = {
        "embed_dim": hidden_size,
        "num_heads": num_heads,
        "kdim": size,
        "vdim": size,
        "in_proj_bias": state.get("in_proj_bias"),
        "bias_k": None,
        "add_zero_attn": False,
        "dropout": 0.1,
        "training": False,
    }
    return module(state, **(settings | changed))


def torch_layer(state, activation=relu, norm_first=False, **changed):
    dropout = types.SimpleNamespace(p=0.1, training=False)
    parts = {
        "self_attn": torch_attention(below(state, "self_attn.")),
        "linear1": torch_linear(below(state, "linear1.")),
        "norm1": torch_norm(below(state, "norm1.")),
        "norm2": torch_norm(below(state, "norm2.")),
        "norm_first": norm_first,
        "activation": activation,
        "dropout": dropout,
        "dropout1": dropout,
        "dropout2": dropout,
    }
    return module(state, **(parts | changed))


def torch_encoder(state, norm=None, **settings):
    layers = [torch_layer(below(state, f"layers.{i}."), **settings) for i in range(2)]
    return module(state, layers=layers, norm=norm)


# ---- What torch computes -------------------------------------------------------------


@pytest.mark.parametrize("name", ["same_size", "other_size", "without_bias"])
@pytest.mark.parametrize("run", ["plain", "padding", "causal", "mask"])
def test_attention(name, run):
    file = read("torch_attention")
    state = below(file, f"{name}/state/")
    layer = nn.MultiHeadAttention.from_torch(torch_attention(state))
    masks = {
        "plain": {},
        "padding": {"padding_mask": file["padding"]},
        "causal": {"causal": True},
        "mask": {
            "padding_mask": file["padding"],
            "mask": file["mask"],
        },
    }
    result, weights = layer(
        file["x"], source=file[f"{name}/source"], return_weights=True, **masks[run]
    )
    assert np.abs(result - file[f"{name}/{run}"]).max() <= TORCH_TOLERANCE
    if run == "mask":
        assert np.abs(weights - file[f"{name}/weights"]).max() <= TORCH_TOLERANCE
    assert list(layer.state_dict()) == list(state)
    for key, weight in layer.state_dict().items():
        np.testing.assert_array_equal(weight, state[key], err_msg=key)


def encoders(file):
    """Give modules that have the settings and weights of the fixtures."""

    def state(name):
        return below(file, f"{name}/state/")

    norm = torch_norm(below(state("pre_norm_gelu"), "norm."))
    return {
        "post_norm_relu": (nn.Encoder, torch_encoder(state("post_norm_relu"))),
        "pre_norm_gelu": (
            nn.Encoder,
            torch_encoder(state("pre_norm_gelu"), norm, activation=GELU(), norm_first=True),
        ),
        "without_bias": (
            nn.EncoderLayer,
            torch_layer(state("without_bias"), activation=GELU()),
        ),
    }


@pytest.mark.parametrize("name", ["post_norm_relu", "pre_norm_gelu", "without_bias"])
def test_encoders(name):
    file = read("torch_encoder")
    cls, torchs = encoders(file)[name]
    layer = cls.from_torch(torchs)
    assert np.abs(layer(file["x"]) - file[f"{name}/plain"]).max() <= TORCH_TOLERANCE
    real = file["padding"]
    difference = np.abs(layer(file["x"], padding_mask=real) - file[f"{name}/padding"])
    assert difference[real].max() <= TORCH_TOLERANCE
    assert list(layer.state_dict()) == list(torchs.state_dict())


@pytest.mark.parametrize("bias", [True, False])
def test_row_layers(bias):
    linear = nn.Linear(4, 3, bias, rng=0)
    x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    twin = nn.Linear.from_torch(torch_linear(linear.state_dict()))
    np.testing.assert_array_equal(twin(x), linear(x))
    norm = nn.LayerNorm(4, 0.1, bias)
    twin = nn.LayerNorm.from_torch(torch_norm(norm.state_dict(), 0.1))
    np.testing.assert_array_equal(twin(x), norm(x))
    assert (twin.bias is None) != bias


def test_a_root_mean_square_norm():
    norm = nn.RMSNorm(4, 0.1)
    norm.load_state_dict({"weight": [1, 2, 3, 4]})
    twin = nn.RMSNorm.from_torch(torch_norm(norm.state_dict(), 0.1))
    x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    np.testing.assert_array_equal(twin(x), norm(x))
    plain = nn.RMSNorm.from_torch(torch_norm({}, None))
    assert (plain.dim, plain.eps) == (6, np.finfo(np.float32).eps)
    np.testing.assert_array_equal(plain.weight, np.ones(6))


def test_a_norm_without_weights_and_an_embedding():
    norm = nn.LayerNorm.from_torch(torch_norm({}, 0.1))
    assert (norm.dim, norm.eps, norm.bias) == (6, 0.1, None)
    np.testing.assert_array_equal(norm.weight, np.ones(6))
    table = nn.Embedding(7, 3, rng=0)
    twin = nn.Embedding.from_torch(torch_embedding(table.state_dict()))
    np.testing.assert_array_equal(twin.weight, table.weight)


# ---- Settings ------------------------------------------------------------------------


LAYER = nn.EncoderLayer(8, 4, 6, rng=0).state_dict()
ATTENTION = nn.MultiHeadAttention(8, 4, rng=0).state_dict()


def test_settings_are_read():
    norms = {name: torch_norm(below(LAYER, f"{name}."), 0.5) for name in ("norm1", "norm2")}
    activation = GELU(approximate="tanh")
    swish = types.SimpleNamespace(__name__="silu", __module__="torch.nn.functional")
    layer = nn.EncoderLayer.from_torch(torch_layer(LAYER, swish))
    assert layer.feed_forward.activation == "silu"
    layer = nn.EncoderLayer.from_torch(torch_layer(LAYER, activation, True, **norms))
    assert layer.feed_forward.activation == "gelu_tanh"
    assert [norms.before.eps for norms in layer.norms] == [0.5, 0.5]
    assert (layer.num_heads, layer.intermediate_size) == (4, 6)


def test_the_final_norm_has_its_own_eps():
    state = nn.Encoder(8, 4, 6, 2, final_norm=True, rng=0).state_dict()
    norm = torch_norm(below(state, "norm."), 0.25)
    encoder = nn.Encoder.from_torch(torch_encoder(state, norm))
    assert encoder.norm.eps == 0.25
    assert encoder.layers[1].norms[1].after.eps == 1e-5


def test_the_final_norm_may_be_another_kind():
    state = {"norm.weight": np.full(8, 2.0, np.float32)}
    state |= nn.Encoder(8, 4, 6, 2, rng=0).state_dict()
    kind = type("RMSNorm", (types.SimpleNamespace,), {})
    weight = state["norm.weight"]
    norm = kind(
        normalized_shape=(8,),
        eps=0.25,
        weight=weight,
        state_dict=lambda: {"weight": weight},
    )
    encoder = nn.Encoder.from_torch(torch_encoder(state, norm))
    assert isinstance(encoder.norm, nn.RMSNorm)
    assert encoder.norm.eps == 0.25


def test_layers_may_have_settings_of_their_own():
    state = nn.Encoder(8, 4, 6, 2, rng=0).state_dict()
    layers = [
        torch_layer(below(state, f"layers.{i}."), activation)
        for i, activation in enumerate((GELU(), GELU(approximate="tanh")))
    ]
    encoder = nn.Encoder.from_torch(module(state, layers=layers, norm=None))
    names = [layer.feed_forward.activation for layer in encoder.layers]
    assert names == ["gelu", "gelu_tanh"]


def test_another_order_of_the_batch_is_said():
    torchs = torch_attention(nn.MultiHeadAttention(8, 4, rng=0).state_dict())
    torchs.batch_first = False
    with pytest.warns(UserWarning, match=r"batch_first=False.*\(batch, length, dim\)"):
        nn.MultiHeadAttention.from_torch(torchs)


# ---- Refusals ------------------------------------------------------------------------


def swish():
    """Stand for a function of torch's that no layer here has."""


swish.__module__ = "torch.nn.functional"


def own_gelu():
    """Stand for a function of the user's that has a name of torch's."""


own_gelu.__name__, own_gelu.__module__ = "gelu", "__main__"

TRAINING = types.SimpleNamespace(p=0.1, training=True)
ENCODER = torch_encoder(nn.Encoder(8, 4, 6, 2, rng=0).state_dict())


@pytest.mark.parametrize(
    ("cls", "torchs", "message"),
    [
        (nn.MultiHeadAttention, torch_attention(ATTENTION, training=True), "dropout=0.1"),
        (nn.MultiHeadAttention, torch_attention(ATTENTION, bias_k=1), "add_bias_kv"),
        (
            nn.MultiHeadAttention,
            torch_attention(ATTENTION, add_zero_attn=True),
            "add_zero_attn",
        ),
        (
            nn.MultiHeadAttention,
            torch_attention(ATTENTION, kdim=5, vdim=6),
            "kdim and vdim.*5 and 6",
        ),
        (nn.EncoderLayer, torch_layer(LAYER, dropout1=TRAINING), "dropout=0.1.*eval"),
        (nn.EncoderLayer, torch_layer(LAYER, swish), "activation .*swish"),
        (nn.EncoderLayer, torch_layer(LAYER, own_gelu), "activation .*own_gelu"),
        (
            nn.EncoderLayer,
            torch_layer(LAYER, norm2=torch_norm({"weight": np.ones(8)}, 0.5)),
            "one eps, got 1e-05 and 0.5",
        ),
        (nn.Embedding, torch_embedding({"weight": np.ones((3, 2))}, 1.0), "max_norm=1.0"),
        (
            nn.LayerNorm,
            module({}, normalized_shape=(2, 3), eps=1, weight=None, bias=None),
            r"last dimension.*\(2, 3\)",
        ),
    ],
)
def test_what_cannot_be_carried_over_is_named(cls, torchs, message):
    with pytest.raises(ValueError, match=message):
        cls.from_torch(torchs)


def test_dropout_of_zero_may_train():
    quiet = torch_attention(ATTENTION, training=True, dropout=0.0)
    assert nn.MultiHeadAttention.from_torch(quiet).num_heads == 4


@pytest.mark.parametrize(
    "cls",
    [
        nn.Linear,
        nn.LayerNorm,
        nn.RMSNorm,
        nn.Embedding,
        nn.MultiHeadAttention,
        nn.EncoderLayer,
        nn.Encoder,
    ],
)
def test_something_else_is_refused(cls):
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.\w+, got dict"):
        cls.from_torch({})


@pytest.mark.parametrize("cls", [nn.Encoder, nn.EncoderLayer, nn.MultiHeadAttention])
def test_a_module_of_transformers(cls):
    bert = type("BertModel", (), {"__module__": "transformers.models.bert.modeling_bert"})
    with pytest.raises(TypeError, match=r"BertModel, .*: save_pretrained\(folder\) of"):
        cls.from_torch(bert())


def test_states_with_more_keys_are_refused_by_name():
    state = ATTENTION | {"bias_k": np.ones((1, 1, 8)), "bias_v": np.ones((1, 1, 8))}
    with pytest.raises(ValueError, match="'bias_k' is unknown; 'bias_v' is unknown"):
        nn.MultiHeadAttention(8, 4).load_state_dict(state)
