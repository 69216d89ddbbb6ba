"""Make the fixtures of the module tests: what sentence-transformers computes in float64.

Needs torch==2.13.0, transformers==5.24.0 and sentence-transformers==6.2.0; the tests
themselves need none of them. Run as

    python tests/make_module_fixtures.py

It writes, beside itself,

data/modules.zip
    NAME/: what sentence-transformers writes for some modules behind the model in
    data/tiny_bert: modules.json, the folders of the modules, and its settings.
data/modules.npz
    The texts, and for each NAME the vectors of the texts, or those of all of their
    tokens, in float64 and, as NAME.float32, in float32.

Everything random comes from seeds; every weight is random.
"""

import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import (
    Dropout,
    LayerNorm,
    Pooling,
)
from torch import nn

DATA = Path(__file__).parent / "data"
FOLDER = DATA / "tiny_bert"
HIDDEN = 32

TEXTS = (
    "the cat",
    "a dog is under the sky, and it is red",
    "",
    "x",
    "Der Käse über dem Fluß; 狐 and Быстрая",
    "the sun: the sun",
    # Longer than the limit of 48 tokens.
    "run and jump " * 40,
)
PROMPT = "the sun: "

TOKENS = "token_embeddings"

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
ACTIVATIONS = ("Identity", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid")


def dense(inputs: int, outputs: int, activation: str = "Identity", **options) -> Dense:
    """Make a Dense."""
    return Dense(inputs, outputs, activation_function=getattr(nn, activation)(), **options)


def mean() -> Pooling:
    """Make the pooling that most chains here begin with."""
    return Pooling(HIDDEN, "mean")


def cases() -> dict[str, list[nn.Module]]:
    """Make all chains."""
    chains = {mode: [Pooling(HIDDEN, mode)] for mode in MODES}
    chains |= {
        f"{mode}_without_prompt": [Pooling(HIDDEN, mode, include_prompt=False)]
        for mode in MODES
    }
    chains |= {
        activation: [mean(), dense(HIDDEN, 19, activation)] for activation in ACTIVATIONS
    }
    return chains | {
        "all_modes": [Pooling(HIDDEN, MODES)],
        "cls_and_mean": [Pooling(HIDDEN, ["cls", "mean"]), Normalize()],
        "mean_and_cls": [Pooling(HIDDEN, ["mean", "cls"])],
        "two_dense": [
            mean(),
            dense(HIDDEN, 50, bias=False),
            dense(50, 17, bias=False),
            Normalize(),
        ],
        "residual": [mean(), dense(HIDDEN, HIDDEN, "GELU", use_residual=True)],
        "projected_residual": [mean(), dense(HIDDEN, 9, "GELU", use_residual=True)],
        "dense_behind_normalize": [mean(), Normalize(), dense(HIDDEN, 19, "ReLU")],
        "layer_norm": [mean(), LayerNorm(HIDDEN), Normalize(), Dropout(0.5)],
        "dense_of_tokens": [
            dense(HIDDEN, 21, "GELU", module_input_name=TOKENS),
            Normalize(TOKENS),
            Pooling(21, "mean"),
        ],
        "tokens": [
            mean(),
            dense(HIDDEN, 19),
            dense(HIDDEN, 13, module_input_name=TOKENS),
            Normalize(TOKENS),
        ],
    }


def randomize(chain: list[nn.Module]) -> None:
    """Draw all weights anew."""
    generator = torch.Generator().manual_seed(5)
    for module in chain:
        for weight in module.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.data = 0.3 * noise + (weight.ndim == 1)


def save(model: SentenceTransformer, archive: ZipFile, name: str) -> None:
    """Write all that does not stand in the folder of the model itself."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder, create_model_card=False)
        for path in sorted(Path(folder).rglob("*.*")):
            inside = path.relative_to(folder)
            general = "modules.json", "config_sentence_transformers.json"
            if len(inside.parts) > 1 or path.name in general:
                # With a date that is always the same, so that the bytes are.
                archive.writestr(ZipInfo(f"{name}/{inside}"), path.read_bytes())


def vectors(model: SentenceTransformer, name: str) -> np.ndarray:
    """Compute what a model makes of the texts."""
    if name != "tokens":
        return model.encode(list(TEXTS))
    return torch.cat(model.encode(list(TEXTS), output_value=TOKENS)).numpy()


def main() -> None:
    arrays = {"texts": np.array(TEXTS)}
    with ZipFile(DATA / "modules.zip", "w", ZIP_DEFLATED) as archive:
        for name, chain in cases().items():
            randomize(chain)
            model = SentenceTransformer(
                modules=[Transformer.load(str(FOLDER)), *chain],
                prompts={"query": PROMPT, "document": ""},
                default_prompt_name="query" if name.endswith("prompt") else None,
                device="cpu",
            ).eval()
            save(model, archive, name)
            arrays[f"{name}.float32"] = vectors(model, name)
            arrays[name] = vectors(model.double(), name)
            assert arrays[name].dtype == np.float64
    np.savez_compressed(DATA / "modules.npz", **arrays)


if __name__ == "__main__":
    main()
