"""Make the fixtures of sparse encoders: what sentence-transformers computes in float64.

Needs what make_cross_fixtures.py needs; the tests themselves do not. Run as

    python tests/make_sparse_fixtures.py [NAME ...]

It writes, beside itself, for each model of the table at the end, or for those named,

data/sparse/NAME/
    A tiny random model that predicts words, as version 6.2 of sentence-transformers saves
    it, with a WordPiece tokenizer.
data/sparse/NAME.npz
    The vectors of the texts in data/cross/inputs.json, in float64 and in torch's float32.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from make_cross_fixtures import COUNTED, NO_TOKENS, SIZES, TEXTS, write_tokenizer
from make_family_fixtures import all_in_float64, randomize
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling

FOLDER = Path(__file__).parent / "data" / "sparse"

# Name of the folder -> class of the model, settings that are not those of the cross
# encoders, and how weights are pooled.
MODELS: Mapping[str, tuple[str, dict[str, object], tuple[str, str]]] = {
    "bert": ("Bert", {"hidden_act": "gelu_new"}, ("max", "relu")),
    "roberta": ("Roberta", COUNTED, ("sum", "relu")),
    "distilbert": (
        "DistilBert",
        {"dim": 24, "n_layers": 1, "n_heads": 3, "hidden_dim": 38},
        ("max", "log1p_relu"),
    ),
    # Words have vectors of their own here, beside those of the table.
    "bert_untied": ("Bert", {"tie_word_embeddings": False}, ("max", "relu")),
    "mpnet": ("MPNet", COUNTED, ("max", "relu")),
    "electra": ("Electra", {"embedding_size": 16}, ("max", "relu")),
    "albert": ("Albert", {"embedding_size": 16}, ("sum", "relu")),
    "modernbert": (
        "ModernBert",
        {"classifier_activation": "silu", "decoder_bias": False} | NO_TOKENS,
        ("max", "relu"),
    ),
    "gte": ("Gte", {}, ("max", "log1p_relu")),
}


def vectors(model: SparseEncoder) -> np.ndarray:
    """Encode the texts."""
    found = model.encode(TEXTS, convert_to_sparse_tensor=False, convert_to_tensor=True)
    return found.numpy()


def make(name: str) -> None:
    """Write the folder and the file of one model."""
    kind, fields, (strategy, activation) = MODELS[name]
    plain, folder = FOLDER / f".{name}", FOLDER / name
    for old in (plain, folder):
        shutil.rmtree(old, ignore_errors=True)
    fields = SIZES | fields | {"vocab_size": write_tokenizer(plain)}
    config = getattr(transformers, f"{kind}Config")(**fields)
    masked = getattr(transformers, f"{kind}ForMaskedLM")
    model = masked(config)
    randomize(model)
    model.tie_weights()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(plain)
    encoder = SparseEncoder(
        modules=[
            Transformer(str(plain), transformer_task="fill-mask"),
            SpladePooling(strategy, activation),
        ],
        device="cpu",
    )
    expected = {"float32": vectors(encoder)}
    encoder.save(str(folder), create_model_card=False)
    with all_in_float64():
        wide = masked(config)
        wide.load_state_dict(model.state_dict())
        wide.tie_weights()
        encoder[0].model = wide.eval()
        expected["float64"] = vectors(encoder)
    assert expected["float64"].dtype == np.float64
    shutil.rmtree(plain)
    np.savez_compressed(FOLDER / f"{name}.npz", **expected)
    error = np.abs(expected["float32"] - expected["float64"]).max()
    zeros = (expected["float64"] == 0).mean()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{name}: {size} bytes, {zeros:.0%} zeros, torch's float32 is {error:.2g} off")


if __name__ == "__main__":
    assert torch.get_default_dtype() == torch.float32
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
