"""Make tests/data/torch_encoder.npz: what torch computes, for test_state_dict.py.

Run it with torch==2.13.0 (a CPU build) and NumPy, from any folder:

    python tests/make_torch_fixtures.py

Weights are random numbers of 8 significant bits, so the file compresses well; torch
computes in float64, without its fused paths. Names in the file:

    <model>/state/<key>     the state dict, float32
    <model>/<run>           the output for x, float64
    x, padding, attention_mask
"""

from pathlib import Path

import numpy as np
import torch

HIDDEN, HEADS, INTERMEDIATE, LAYERS, BATCH, LENGTH = 32, 4, 64, 2, 3, 7


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


def main() -> None:
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
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
        "attention_mask": (forbidden, ignored),
    }
    arrays = {
        "x": x.numpy(),
        "padding": ~ignored.numpy(),
        "attention_mask": ~forbidden.numpy(),
    }
    for name, model in models.items():
        for key, value in random_weights(model).state_dict().items():
            arrays[f"{name}/state/{key}"] = value.float().numpy()
        for run, masks in runs.items():
            with torch.no_grad():
                arrays[f"{name}/{run}"] = model(x.double(), *masks).numpy()
    path = Path(__file__).parent / "data" / "torch_encoder.npz"
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
