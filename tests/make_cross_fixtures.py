"""Make the fixtures of cross-encoders: what sentence-transformers computes in float64.

Needs what make_family_fixtures.py needs, and sentence-transformers==6.2.0; the tests
themselves need neither. Run as

    python tests/make_cross_fixtures.py [NAME ...]

It writes, beside itself, for each model of the table at the end, or for those named,

data/cross/NAME/
    A tiny random model with a head that classifies, as save_pretrained writes it, and a
    WordPiece tokenizer with the template of pairs that the family has.
data/cross/NAME.npz
    The scores of pairs and of single texts, before any activation, in float64 and in
    torch's float32.
data/cross/inputs.json
    These pairs and texts.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from make_bert_fixtures import tiny_tokenizer, write_json
from make_family_fixtures import all_in_float64, randomize
from sentence_transformers import CrossEncoder
from tokenizers import processors
from transformers import PretrainedConfig

FOLDER = Path(__file__).parent / "data" / "cross"

# Tokens of a pair that are read: an odd number beside the special ones, or an even one.
MAX_LENGTH = 24

QUERY = "is the red fox in the sky?"
TEXTS = [
    "",
    "a",
    "The small dog runs over the big green sea.",
    "Der Käse, naïve façade.",
    "狐 and сон",
    "[SEP] and [MASK] are names",
    "one two the cat and the moon " * 8,
    "狐" * 100,
]
PAIRS = [
    *((QUERY, text) for text in TEXTS),
    *((text, "the moon jumps") for text in TEXTS),
    ("the cat " * 30, "the dog " * 20),
    ("the cat " * 20, "the dog " * 30),
    ("the cat " * 6, "the dog " * 6),
    ("", ""),
]

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 38,
    "max_position_embeddings": MAX_LENGTH,
    "pad_token_id": 0,
}
# Positions are counted behind that of padding.
COUNTED = {"max_position_embeddings": MAX_LENGTH + 2, "pad_token_id": 1}
# Of its layers some share keys and values.
HEADS = {"num_key_value_heads": 1, "head_dim": 10}

# The id of the token that ends a text.
SEP = 3

# Of their defaults the tokenizer has none.
NO_TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))


def labels(*names: str) -> dict[str, object]:
    """Give the field that names labels."""
    return {"id2label": dict(enumerate(names))}


ONE = labels("LABEL_0")
THREE = labels("contradiction", "entailment", "neutral")

# Name of the folder -> class of the model, and the settings that are not those above.
MODELS: Mapping[str, tuple[str, dict[str, object]]] = {
    "bert": ("Bert", ONE),
    "roberta": ("Roberta", COUNTED | THREE),
    # Two labels without names, which no file says.
    "distilbert": (
        "DistilBert",
        {"dim": 24, "n_layers": 1, "n_heads": 3, "hidden_dim": 38},
    ),
    "mpnet": ("MPNet", COUNTED | ONE),
    "deberta": (
        "DebertaV2",
        {
            "relative_attention": True,
            "pos_att_type": "p2c|c2p",
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        }
        | THREE,
    ),
    "electra": ("Electra", {"embedding_size": 16} | ONE),
    "albert": ("Albert", {"embedding_size": 16} | THREE),
    "modernbert": (
        "ModernBert",
        {"classifier_pooling": "mean", "classifier_activation": "silu"} | ONE,
    ),
    "modernbert_biased": (
        "ModernBert",
        {"classifier_bias": True, "norm_bias": True, "norm_eps": 1e-3} | THREE,
    ),
    "nomic_bert": ("NomicBert", ONE),
    "gte": ("Gte", ONE),
    "jina_v3": ("JinaEmbeddingsV3", THREE),
    "eurobert": ("EuroBert", {"classifier_pooling": "mean"} | ONE),
    "eurobert_late": ("EuroBert", {"classifier_pooling": "late"} | THREE),
    # What ends a text is padding, too, by its id.
    "qwen3": ("Qwen3", {"pad_token_id": SEP} | HEADS | ONE),
    "gemma3": ("Gemma3Text", HEADS | THREE),
}


def settings(name: str, vocab_size: int) -> PretrainedConfig:
    """Make the settings of a model."""
    kind, fields = MODELS[name]
    fields = SIZES | fields | {"vocab_size": vocab_size}
    if kind in ("ModernBert", "EuroBert", "Qwen3", "Gemma3Text"):
        fields |= NO_TOKENS
    return getattr(transformers, f"{kind}Config")(**fields)


def write_tokenizer(folder: Path) -> int:
    """Write the tokenizer, and return its size."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if folder.name in ("roberta", "mpnet", "jina_v3"):
        ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] [SEP] $B [SEP]",
            special_tokens=ids,
        )
    if folder.name in ("qwen3", "gemma3"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A [SEP]", pair="$A $B [SEP]", special_tokens=[("[SEP]", SEP)]
        )
    # Without them, this class of tokenizer gives the model no types of tokens.
    names = ["input_ids", "token_type_ids", "attention_mask"]
    typed = {"model_input_names": names} if folder.name in ("bert", "albert") else {}
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAX_LENGTH,
            "pad_token": "[SEP]" if folder.name == "qwen3" else "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
        }
        | typed,
    )
    return tokenizer.get_vocab_size()


def scores(model: CrossEncoder) -> dict[str, np.ndarray]:
    """Score pairs and texts."""
    call = {"activation_fn": torch.nn.Identity(), "convert_to_tensor": True}
    of_pairs = model.predict([list(pair) for pair in PAIRS], **call)
    with torch.no_grad():
        of_texts = model.forward(model.preprocess(TEXTS))["scores"]
    return {
        "pairs": of_pairs.numpy().reshape(len(PAIRS), -1),
        "texts": of_texts.numpy().reshape(len(TEXTS), -1),
    }


def make(name: str) -> None:
    """Write the folder and the file of one model."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    vocab_size = write_tokenizer(folder)
    config = settings(name, vocab_size)
    kind = getattr(transformers, f"{MODELS[name][0]}ForSequenceClassification")
    model = kind(config)
    randomize(model)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    encoder = CrossEncoder(str(folder), device="cpu")
    plain = scores(encoder)
    with all_in_float64():
        wide = kind(config)
        wide.load_state_dict(model.state_dict())
        encoder[0].model = wide.eval()
        exact = scores(encoder)
    assert {array.dtype for array in exact.values()} == {np.dtype(np.float64)}
    arrays = {f"{key}_float32": plain[key] for key in plain}
    arrays |= {f"{key}_float64": exact[key] for key in exact}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    errors = ", ".join(
        f"{key} {np.abs(plain[key] - exact[key]).max():.2g}" for key in exact
    )
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size} bytes, torch's float32 is off by {errors}")


if __name__ == "__main__":
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
    inputs = {"texts": TEXTS, "pairs": PAIRS}
    (FOLDER / "inputs.json").write_text(json.dumps(inputs, ensure_ascii=False) + "\n")
