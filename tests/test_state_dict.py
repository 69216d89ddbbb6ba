"""State dicts: torch's names and numbers, both ways, all or nothing."""

import types
from pathlib import Path

import numpy as np
import pytest

from fastattn import nn

DATA = Path(__file__).parent / "data" / "torch_encoder.npz"
MODELS = {
    "post_norm_relu": lambda: nn.Encoder(32, 4, 64, 2, rng=0),
    "pre_norm_gelu": lambda: nn.Encoder(
        32, 4, 64, 2, activation="gelu", norm_first=True, final_norm=True, rng=0
    ),
    "without_bias": lambda: nn.EncoderLayer(
        32, 4, 64, activation="gelu", bias=False, rng=0
    ),
}
# How far float32 may be from torch's float64, for results of about 4.
TORCH_TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def torch_file():
    """Read what tests/make_torch_fixtures.py has written."""
    with np.load(DATA) as file:
        return dict(file)


@pytest.fixture(params=MODELS)
def model(request, torch_file):
    """A layer of ours, and the name, state dict and results of the same in torch."""
    name = request.param
    below = f"{name}/state/"
    state = {k.removeprefix(below): v for k, v in torch_file.items() if below in k}
    return types.SimpleNamespace(
        layer=MODELS[name](),
        state=state,
        results={
            run: torch_file[f"{name}/{run}"]
            for run in ("plain", "padding", "causal", "mask")
        },
        x=torch_file["x"],
        padding=torch_file["padding"],
        mask=torch_file["mask"],
    )


# ---- Torch --------------------------------------------------------------------------


def test_torchs_results(model):
    layer, x, padding = model.layer, model.x, model.padding
    layer.load_state_dict(model.state)
    everything = np.ones_like(padding)
    calls = {
        "plain": (layer(x), everything),
        "padding": (layer(x, padding_mask=padding), padding),
        "causal": (layer(x, causal=True), everything),
        "mask": (
            layer(x, padding_mask=padding, mask=model.mask),
            padding,
        ),
    }
    for run, (result, real) in calls.items():
        difference = np.abs(result - model.results[run])[real]
        assert difference.max() <= TORCH_TOLERANCE, run
        # Torch leaves garbage at padded positions; here they are zeros, after a final
        # norm too.
        assert not result[~real].any()


def test_torchs_state_dict_comes_back(model):
    model.layer.load_state_dict(model.state)
    state = model.layer.state_dict()
    assert list(state) == list(model.state)
    for key, weight in state.items():
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight, model.state[key], err_msg=key)


# ---- Values -------------------------------------------------------------------------


class Tensor:
    """What NumPy sees of a torch CPU tensor: an object that turns into an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Attached:
    """What NumPy sees of a torch tensor that requires grad."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


WEIGHT = np.array([[1.5, -2.0, 0.25], [0.0, 8.0, -0.125]])
BIAS = np.array([3.0, -4.0])


@pytest.mark.parametrize(
    "as_value",
    [
        lambda a: a,
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.float32),
        lambda a: a.astype(">f4"),
        lambda a: a.tolist(),
        lambda a: memoryview(a),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: Tensor(a),
    ],
    ids=["f8", "f2", "f4", "swapped", "list", "memory", "fortran", "strided", "tensor"],
)
def test_values_of_every_kind(as_value):
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": as_value(WEIGHT), "bias": as_value(BIAS)})
    np.testing.assert_array_equal(layer.weight, WEIGHT)
    np.testing.assert_array_equal(layer.bias, BIAS)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    np.testing.assert_array_equal(layer([1.0, 0.0, 4.0]), [5.5, -4.5])


def test_integers_are_numbers_too():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1, 2]]), "bias": [True]})
    np.testing.assert_array_equal(layer([1.0, 1.0]), [4.0])


def test_any_mapping_will_do():
    state = types.MappingProxyType({"weight": WEIGHT, "bias": BIAS})
    layer = nn.Linear(3, 2)
    layer.load_state_dict(state)
    np.testing.assert_array_equal(layer.weight, WEIGHT)


def test_layers_exchange_weights():
    first, second = (nn.Encoder(8, 2, 6, 2, rng=seed) for seed in (1, 2))
    second.load_state_dict(first.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    np.testing.assert_array_equal(first(x), second(x))


# ---- Read only ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.Linear(3, 2), ["weight", "bias"]),
        (nn.LayerNorm(3), ["weight", "bias"]),
        (nn.Embedding(3, 2), ["weight"]),
        (nn.MultiHeadAttention(4, 2), ["in_proj_weight", "in_proj_bias"]),
    ],
    ids=repr,
)
def test_weights_are_read_and_not_written(layer, names):
    for name in names:
        weight = getattr(layer, name)
        with pytest.raises(ValueError, match="read-only"):
            weight[...] = 0
        with pytest.raises(AttributeError):
            setattr(layer, name, np.zeros_like(weight))
        np.testing.assert_array_equal(layer.state_dict()[name], weight)
        assert not layer.state_dict()[name].flags.writeable


def test_what_is_not_there_is_none():
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.LayerNorm(3, bias=False).bias is None
    assert nn.MultiHeadAttention(4, 2, bias=False).in_proj_bias is None


def test_values_are_copied():
    weight, bias = WEIGHT.astype(np.float32), BIAS.astype(np.float32)
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": weight, "bias": bias})
    weight[...] = bias[...] = 0
    np.testing.assert_array_equal(layer.weight, WEIGHT)
    np.testing.assert_array_equal(layer.bias, BIAS)


# ---- Refusals -----------------------------------------------------------------------


def faulty_states():
    """Give state dicts of an encoder that do not fit, and what must be said of them."""
    good = nn.Encoder(8, 2, 6, 2, rng=1).state_dict()
    key = "layers.1.linear1.weight"
    less = {k: v for k, v in good.items() if k != key}
    renamed = {k.replace("norm2", "norm3"): v for k, v in good.items()}
    return {
        "missing": (less, ValueError, [f"'{key}' is missing"]),
        "extra": (
            good | {"norm.weight": np.ones(8)},
            ValueError,
            ["'norm.weight' is unknown", "fit this Encoder"],
        ),
        "renamed": (
            renamed,
            ValueError,
            [
                f"'layers.{layer}.{norm}"
                for layer in range(2)
                for norm in (
                    "norm2.weight' is missing",
                    "norm2.bias' is missing",
                    "norm3.weight' is unknown",
                    "norm3.bias' is unknown",
                )
            ],
        ),
        "transposed": (
            good | {key: good[key].T},
            ValueError,
            [f"'{key}' has shape (8, 6), not (6, 8)"],
        ),
        "scalar": (good | {key: 1.0}, ValueError, [f"'{key}' has shape (), not"]),
        "complex": (good | {key: good[key] + 1j}, TypeError, [key, "complex"]),
        "text": (good | {key: "weights"}, TypeError, [key, "real numbers"]),
        "none": (good | {key: None}, TypeError, [key, "real numbers"]),
        "ragged": (good | {key: [[1], [1, 2]]}, TypeError, [key, "cannot be read"]),
        "attached": (good | {key: Attached()}, TypeError, [key, "requires grad"]),
        "pairs": (list(good.items()), TypeError, ["state must map", "list"]),
    }


@pytest.mark.parametrize("fault", faulty_states())
def test_a_state_that_does_not_fit_is_named_and_changes_nothing(fault):
    state, error, messages = faulty_states()[fault]
    layer = nn.Encoder(8, 2, 6, 2, rng=2)
    before = layer.state_dict()
    with pytest.raises(error) as raised:
        layer.load_state_dict(state)
    for message in messages:
        assert message in str(raised.value)
    for key, weight in layer.state_dict().items():
        np.testing.assert_array_equal(weight, before[key])


def test_bias_belongs_to_the_layer_not_to_the_state():
    state = nn.Linear(3, 2).state_dict()
    with pytest.raises(ValueError, match="'bias' is unknown"):
        nn.Linear(3, 2, bias=False).load_state_dict(state)
    with pytest.raises(ValueError, match="'bias' is missing"):
        nn.Linear(3, 2).load_state_dict({"weight": state["weight"]})
