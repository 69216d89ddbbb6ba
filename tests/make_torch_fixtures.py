"""Make tests/data/torch_*.npz: what torch computes, for test_state_dict.py.

Run it with torch==2.13.0 (a CPU build) and NumPy, from any folder:

    python tests/make_torch_fixtures.py

Weights are random numbers of 8 significant bits, so the file compresses well; torch
computes in float64, without its fused paths. Names in the files:

    <model>/state/<key>     the state dict, float32
    <model>/<run>           the output for x, float64
    <model>/weights         of attention, in the last run, float64
    x, padding, mask, <model>/source
"""

from pathlib import Path

import numpy as np
import torch

HIDDEN, HEADS, INTERMEDIATE, LAYERS, BATCH, LENGTH = 32, 4, 64, 2, 3, 7
# Of cross-attention: how many queries there are, and another size of source vectors.
QUERIES, OTHER = 5, 20


def random_weights(module: torch.nn.Module) -> torch.nn.Module:
    """Draw all parameters, norms too, as large as torch's initial weights are."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = 0.1 * torch.randn(parameter.shape)
            if "norm" in name and name.endswith("weight"):
                values += 1
            parameter.copy_(values.bfloat16())
    return module.double().eval()


def encoder_layer(**options: object) -> torch.nn.TransformerEncoderLayer:
    return torch.nn.TransformerEncoderLayer(
        HIDDEN, HEADS, INTERMEDIATE, batch_first=True, **options
    )


def encoder(norm: torch.nn.Module | None, **options: object) -> torch.nn.Module:
    return torch.nn.TransformerEncoder(
        encoder_layer(**options), LAYERS, norm, enable_nested_tensor=False
    )


def save(name: str, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(Path(__file__).parent / "data" / f"{name}.npz", **arrays)


def save_state(arrays: dict[str, np.ndarray], name: str, model: torch.nn.Module) -> None:
    for key, value in random_weights(model).state_dict().items():
        arrays[f"{name}/state/{key}"] = value.float().numpy()


def make_encoders() -> None:
    torch.manual_seed(0)
    models = {
        "post_norm_relu": encoder(None, activation="relu"),
        "pre_norm_gelu": encoder(
            torch.nn.LayerNorm(HIDDEN), activation="gelu", norm_first=True
        ),
        "without_bias": encoder_layer(activation="gelu", bias=False),
    }
    x = torch.randn(BATCH, LENGTH, HIDDEN)
    # Torch's masks say what to ignore. Padding: none, on the right, with gaps.
    ignored = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    ignored[1, 4:] = True
    ignored[2, [0, 3]] = True
    forbidden = torch.rand(LENGTH, LENGTH) < 0.4
    forbidden.fill_diagonal_(False)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    # Second and third argument of encoders and of layers: what a query may not see, and
    # padding.
    runs = {
        "plain": (None, None),
        "padding": (None, ignored),
        "causal": (causal, None),
        "mask": (forbidden, ignored),
    }
    arrays = {
        "x": x.numpy(),
        "padding": ~ignored.numpy(),
        "mask": ~forbidden.numpy(),
    }
    for name, model in models.items():
        save_state(arrays, name, model)
        for run, masks in runs.items():
            with torch.no_grad():
                arrays[f"{name}/{run}"] = model(x.double(), *masks).numpy()
    save("torch_encoder", arrays)


def make_attention() -> None:
    torch.manual_seed(1)
    models = {
        "same_size": {},
        "other_size": {"kdim": OTHER, "vdim": OTHER},
        "without_bias": {"kdim": OTHER, "vdim": OTHER, "bias": False},
    }
    x = torch.randn(BATCH, QUERIES, HIDDEN)
    ignored = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    ignored[1, 4:] = True
    ignored[2, [0, 3]] = True
    forbidden = torch.rand(QUERIES, LENGTH) < 0.4
    forbidden[:, 1] = False
    runs = {
        "plain": {},
        "padding": {"key_padding_mask": ignored},
        "causal": {"attn_mask": torch.ones_like(forbidden).triu(1)},
        "mask": {"key_padding_mask": ignored, "attn_mask": forbidden},
    }
    arrays = {
        "x": x.numpy(),
        "padding": ~ignored.numpy(),
        "mask": ~forbidden.numpy(),
    }
    for name, options in models.items():
        model = torch.nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True, **options)
        save_state(arrays, name, model)
        source = torch.randn(BATCH, LENGTH, model.kdim)
        arrays[f"{name}/source"] = source.numpy()
        for run, masks in runs.items():
            with torch.no_grad():
                inputs = (x.double(), source.double(), source.double())
                out, weights = model(*inputs, average_attn_weights=False, **masks)
            arrays[f"{name}/{run}"] = out.numpy()
        arrays[f"{name}/weights"] = weights.numpy()
    save("torch_attention", arrays)


def main() -> None:
    torch.backends.mha.set_fastpath_enabled(False)
    make_encoders()
    make_attention()


if __name__ == "__main__":
    main()
