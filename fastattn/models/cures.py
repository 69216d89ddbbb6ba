"""What to do about a folder that holds its model in another form: the words of errors."""

import shlex
from pathlib import Path

from ..errors import ModelFormatError
from .folder import Folder

WEIGHTS = "model.safetensors"

# Weights in other forms, each with why it is not read, where transformers reads it.
CONVERTIBLE = {
    "pytorch_model.bin": "is not read: to unpickle it can run any code",
    "pytorch_model.bin.index.json": (
        "is not read: to unpickle what it lists can run any code"
    ),
    f"{WEIGHTS}.index.json": "is not read: it lists weights in several files",
}
# ... and those out of which nobody makes it.
OTHER = (
    *("onnx", "model.onnx", "openvino", "openvino_model.xml"),
    *("tf_model.h5", "flax_model.msgpack", "rust_model.ot"),
)

# What tokenizers were kept in before tokenizer.json, and are beside it still.
OLD_TOKENIZERS = (
    *("vocab.txt", "vocab.json", "sentencepiece.bpe.model"),
    *("spiece.model", "tokenizer.model"),
)


def no_weights(folder: Folder) -> ModelFormatError:
    """Make the error about a folder without the one file of weights that is read."""
    start = f"{folder.path / WEIGHTS}: no such file"
    for name, reason in CONVERTIBLE.items():
        if folder.has(name):
            program = (
                "from transformers import AutoModel as M; p = {}; "
                "M.from_pretrained(p).save_pretrained(p, max_shard_size='1TB')"
            )
            return ModelFormatError(
                f"{start}, and {name} {reason}. Where there are torch and transformers, "
                f"convert it: {_command(program, folder.path)}"
            )
    for name in OTHER:
        if folder.has(name):
            return ModelFormatError(
                f"{start}, and {name} is not read: get the {WEIGHTS} that the model was "
                "published with, or write it with transformers' save_pretrained"
            )
    return ModelFormatError(
        f"{start}. A model's folder holds config.json, {WEIGHTS} and tokenizer.json: "
        "copy or download all of it"
    )


def no_tokenizer(folder: Folder) -> ModelFormatError:
    """Make the error about a folder without tokenizer.json."""
    start = f"{folder.path / 'tokenizer.json'}: no such file"
    for name in OLD_TOKENIZERS:
        if folder.has(name):
            program = (
                "from transformers import AutoTokenizer as T; p = {}; "
                "T.from_pretrained(p).save_pretrained(p)"
            )
            return ModelFormatError(
                f"{start}, and {name} alone does not say how a text is cut into words. "
                f"Where there is transformers, convert it: {_command(program, folder.path)}"
            )
    return ModelFormatError(f"{start}: copy or download all of the model's folder")


def cure_of_dtype(path: Path, dtype: str) -> str:
    """Say what to do about tensors of a type that is not read."""
    if dtype == "F64":
        program = (
            "from safetensors.numpy import load_file, save_file; p = {}; "
            "save_file({{n: t.astype('f4') for n, t in load_file(p).items()}}, p)"
        )
        return f"convert the file: {_command(program, path)}"
    return (
        "get the model as it was before it was quantized; load(..., weights=) stores "
        "matrices in fewer bits"
    )


def _command(program: str, path: Path) -> str:
    """Write the command that runs a program about a file or folder, fit for any shell."""
    # The name of a folder that modules.json gives may hold words for a shell.
    return f"python -c {shlex.quote(program.format(repr(str(path))))}"
