"""The tiny random BERT of make_bert_fixtures.py, and how tests change copies of it.

Beside it a BERT that is as small as can be, for tests that load it very often.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "tiny_bert"

Tensors = dict[str, NDArray]

# The matrices of an encoder layer.
LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


def copy_tiny(to: Path) -> Path:
    """Copy the folder of the tiny model."""
    return Path(shutil.copytree(TINY, to / "tiny"))


def change_json(path: Path, **fields) -> None:
    """Set fields of a JSON object, whose file is made where there is none."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | fields))


def drop_json(path: Path, *fields: str) -> None:
    """Take fields out of a JSON object."""
    kept = json.loads(path.read_text())
    for field in fields:
        del kept[field]
    path.write_text(json.dumps(kept))


def change_tensors(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Replace the tensors of the tiny model, in a copy of it, by `change(tensors)`."""
    save_file(change(load_file(TINY / "model.safetensors")), folder / "model.safetensors")


def memory_of(array: NDArray) -> object:
    """Find what owns the memory that an array is a view of."""
    base = array.base
    while isinstance(base, memoryview | np.ndarray):
        base = base.obj if isinstance(base, memoryview) else base.base
    return base


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_smallest(folder: Path) -> Path:
    """Write a model with every file that is read, each of few bytes; its weights are 1."""
    sizes = {
        "vocab_size": 8,
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 4,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
    }
    config = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    write_json(folder / "config.json", config | sizes)
    tokenizer = smallest_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {"model_max_length": 8})
    write_json(folder / "special_tokens_map.json", {"unk_token": "[UNK]"})
    write_json(folder / "added_tokens.json", {"a": 4})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 6})
    prompts = {"default_prompt_name": "a", "prompts": {"a": "b "}}
    write_json(folder / "config_sentence_transformers.json", prompts)
    write_smallest_modules(folder)
    save_file(smallest_tensors(), folder / "model.safetensors")
    return folder


def write_shards(folder: Path, files: dict[str, Tensors]) -> Path:
    """Write tensors into several files, and the index that lists them, whose path it is."""
    folder.mkdir(exist_ok=True)
    for name, tensors in files.items():
        save_file(tensors, folder / name)
    listed = {tensor: name for name, tensors in files.items() for tensor in tensors}
    index = folder / "model.safetensors.index.json"
    write_json(index, {"metadata": {"total_size": 0}, "weight_map": listed})
    return index


def split_weights(folder: Path) -> Path:
    """Let the weights of a folder stand in two files, and give the folder."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {
        f"model-0000{i + 1}-of-00002.safetensors": {n: tensors[n] for n in names[i::2]}
        for i in (0, 1)
    }
    write_shards(folder, files)
    return folder


def write_smallest_modules(folder: Path) -> None:
    """Write modules of every kind that follow the smallest model."""
    settings = {
        "Pooling": {"pooling_mode_mean_tokens": True},
        "Dense": {
            "in_features": 4,
            "out_features": 3,
            "activation_function": "torch.nn.modules.activation.GELU",
        },
        "LayerNorm": {"dimension": 3},
        "Normalize": {"module_input_name": "sentence_embedding"},
    }
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, (kind, fields) in enumerate(settings.items(), 1):
        path = f"{index}_{kind}"
        modules.append({"path": path, "type": f"sentence_transformers.models.{kind}"})
        write_json(folder / path / "config.json", fields)
    write_json(folder / "modules.json", modules)
    for name, shape in {"2_Dense/linear": (3, 4), "3_LayerNorm/norm": (3,)}.items():
        path, layer = name.split("/")
        tensors = {"weight": np.ones(shape, np.float32), "bias": np.ones(3, np.float32)}
        tensors = {f"{layer}.{key}": tensor for key, tensor in tensors.items()}
        save_file(tensors, folder / path / "model.safetensors")


def smallest_tokenizer() -> Tokenizer:
    """Make a WordPiece tokenizer of eight pieces."""
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b")
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(["[CLS]"])
    tokenizer.enable_truncation(6)
    tokenizer.enable_padding(length=6)
    return tokenizer


def smallest_tensors() -> Tensors:
    """Make the tensors of the smallest model, by name."""
    shapes = {f"encoder.layer.0.{name}": (4, 4) for name in LINEARS} | {
        "embeddings.word_embeddings": (8, 4),
        "embeddings.position_embeddings": (8, 4),
        "embeddings.token_type_embeddings": (2, 4),
        "embeddings.LayerNorm": (4,),
        "encoder.layer.0.attention.output.LayerNorm": (4,),
        "encoder.layer.0.output.LayerNorm": (4,),
    }
    tensors = {f"{name}.weight": np.ones(shapes[name], np.float32) for name in shapes}
    biases = {
        f"{name}.bias": np.ones(shapes[name][0], np.float32)
        for name in shapes
        if not name.endswith("_embeddings")
    }
    return tensors | biases
