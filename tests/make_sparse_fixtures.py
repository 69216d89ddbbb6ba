"""Make the fixtures of sparse encoders: what sentence-transformers computes in float64.

Needs what make_cross_fixtures.py needs; the tests themselves do not. Run as

    python tests/make_sparse_fixtures.py [NAME ...]

It writes, beside itself, for each model of the table at the end, or for those named,

data/sparse/NAME/
    A tiny random model that predicts words, as version 6.2 of sentence-transformers saves
    it, with a WordPiece tokenizer.
data/sparse/NAME.npz
    The vectors of the texts in data/cross/inputs.json, in float64 and in torch's float32;
    of the one whose queries need no encoder those of queries, too, and what compares them.
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
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import (
    SparseStaticEmbedding,
    SpladePooling,
)

FOLDER = Path(__file__).parent / "data" / "sparse"

SMALL = {"dim": 24, "n_layers": 1, "n_heads": 3, "hidden_dim": 38}

FUNCTIONS = ("dot", "cosine", "euclidean", "manhattan")

# How many weights of a text are kept for one of the arrays.
KEPT = 5

# Name of the folder -> class of the model, settings that are not those of the cross
# encoders, and how weights are pooled.
MODELS: Mapping[str, tuple[str, dict[str, object], tuple[str, str]]] = {
    "bert": ("Bert", {"hidden_act": "gelu_new"}, ("max", "relu")),
    "roberta": ("Roberta", COUNTED, ("sum", "relu")),
    "distilbert": (
        "DistilBert",
        SMALL,
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
    # Its queries need no encoder.
    "weights": ("DistilBert", SMALL, ("max", "log1p_relu")),
}


def vectors(model: SparseEncoder) -> dict[str, np.ndarray]:
    """Encode the texts: as they are, as queries, with few weights, and compare them."""
    dense = {"convert_to_sparse_tensor": False}
    found = {
        "": model.encode(TEXTS, **dense),
        "_query": model.encode_query(TEXTS, **dense),
        "_kept": model.encode(TEXTS, max_active_dims=KEPT, **dense),
    }
    for name in FUNCTIONS:
        model.similarity_fn_name = name
        found[f"_{name}"] = model.similarity(found["_query"], found[""])
    model.similarity_fn_name = None
    return {key: tensor.numpy() for key, tensor in found.items()}


def modules(plain: Path, pooling: tuple[str, str], routed: bool) -> list[torch.nn.Module]:
    """Make the modules of a model."""
    transformer = Transformer(str(plain), transformer_task="fill-mask")
    chain = [transformer, SpladePooling(*pooling)]
    if not routed:
        return chain
    size = len(transformer.tokenizer.get_vocab())
    weights = torch.randn(size, generator=torch.Generator().manual_seed(3)).relu()
    query = SparseStaticEmbedding(transformer.tokenizer, weights, frozen=True)
    return [Router.for_query_document([query], chain)]


def make(name: str) -> None:
    """Write the folder and the file of one model."""
    kind, fields, pooling = MODELS[name]
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
    routed = name == "weights"
    encoder = SparseEncoder(modules=modules(plain, pooling, routed), device="cpu")
    narrow = vectors(encoder)
    encoder.save(str(folder), create_model_card=False)
    with all_in_float64():
        wide = masked(config)
        wide.load_state_dict(model.state_dict())
        wide.tie_weights()
        first = encoder[0]
        if routed:
            weights = first.sub_modules["query"][0].weight
            weights.data = weights.data.double()
            first = first.sub_modules["document"][0]
        first.model = wide.eval()
        exact = vectors(encoder)
    assert {array.dtype for array in exact.values()} == {np.dtype(np.float64)}
    shutil.rmtree(plain)
    arrays = {f"float32{key}": array for key, array in narrow.items()}
    arrays |= {f"float64{key}": array for key, array in exact.items()}
    if not routed:
        arrays = {key: arrays[key] for key in ("float32", "float64")}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    error = np.abs(narrow[""] - exact[""]).max()
    zeros = (exact[""] == 0).mean()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{name}: {size} bytes, {zeros:.0%} zeros, torch's float32 is {error:.2g} off")


if __name__ == "__main__":
    assert torch.get_default_dtype() == torch.float32
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
