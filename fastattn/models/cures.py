"""What to do about a folder that holds its model in another form: the words of errors."""

import shlex
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Protocol

from ..errors import ModelFormatError
from .folder import printable

WEIGHTS = "model.safetensors"
# What lists the files of weights that stand in several.
INDEX = f"{WEIGHTS}.index.json"

# Weights that torch makes tensors of, each with why they are not read.
PICKLED = {
    "pytorch_model.bin": "is not read: to unpickle it can run any code",
    "pytorch_model.bin.index.json": (
        "is not read: to unpickle what it lists can run any code"
    ),
}
# What other programs keep models in: the names of files and folders, or their ends.
OTHER = (
    *("onnx", "openvino", "openvino_model.xml"),
    *(".gguf", "tf_model.h5", "flax_model.msgpack", "rust_model.ot"),
)

# What changes the weights of another model, which transformers would apply.
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")

# What tokenizers were kept in before tokenizer.json, and are beside it still.
OLD_TOKENIZERS = (
    *("vocab.txt", "vocab.json", "sentencepiece.bpe.model"),
    *("spiece.model", "spm.model", "tokenizer.model"),
)

# All tensors under the names that they have; transformers would leave out the heads of
# models that it is not told of.
FROM_PICKLED = (
    "import pathlib, torch; from safetensors.torch import save_file; "
    "p = pathlib.Path({}); w = {{}}; "
    "[w.update(torch.load(f, 'cpu', weights_only=True)) "
    "for f in p.glob('pytorch_model*.bin')]; "
    "save_file({{n: t.contiguous().clone() for n, t in w.items()}}, "
    "p / 'model.safetensors', {{'format': 'pt'}})"
)


class Contents(Protocol):
    """A folder of a model, on this machine or on the hub, and what it holds by name."""

    @property
    def path(self) -> PurePath:
        """Where it is, in the words of errors."""

    @property
    def converted(self) -> str:
        """Say into what a command converts it, if not into itself."""

    def has(self, name: str) -> bool:
        """Say whether there is something of this name."""

    def names(self) -> Iterable[str]:
        """List the names of what is in it."""

    def source(self) -> str:
        """Write Python that gives the path of a folder which can be converted."""


def refuse_adapter(contents: Contents) -> None:
    """Refuse a folder with what changes the weights of another model."""
    for name in ADAPTERS:
        if contents.has(name):
            raise ModelFormatError(
                f"{contents.path / name}: adapters are not read: merge this one into its "
                "model with peft (merge_and_unload), and save that"
            )


def no_weights(contents: Contents) -> ModelFormatError:
    """Make the error about a folder without the weights that are read."""
    start = f"{contents.path / WEIGHTS}: no such file"
    for name, reason in PICKLED.items():
        if contents.has(name):
            return ModelFormatError(
                f"{start}, and {name} {reason}. Where there is torch, "
                f"{_conversion(FROM_PICKLED, contents)}"
            )
    return _no_file(
        start,
        contents,
        f". A model's folder holds config.json, {WEIGHTS} and tokenizer.json: "
        "copy or download all of it",
    )


def no_shard(path: Path) -> ModelFormatError:
    """Make the error about a file of weights that is listed and is not there."""
    return ModelFormatError(
        f"{path}: no such file, and {INDEX} lists it: copy or download all of the model's "
        "folder"
    )


def no_config(contents: Contents) -> ModelFormatError:
    """Make the error about a folder without config.json."""
    start = f"{contents.path / 'config.json'}: no such file"
    return _no_file(start, contents, ": copy or download all of the model's folder")


def no_tokenizer(contents: Contents) -> ModelFormatError:
    """Make the error about a folder without tokenizer.json."""
    start = f"{contents.path / 'tokenizer.json'}: no such file"
    for name in OLD_TOKENIZERS:
        if contents.has(name):
            program = (
                "from transformers import AutoTokenizer as T; p = {}; "
                "T.from_pretrained(p).save_pretrained(p)"
            )
            return ModelFormatError(
                f"{start}, and {name} alone does not say how a text is cut into words. "
                f"Where there is transformers, {_conversion(program, contents)}"
            )
    return ModelFormatError(f"{start}: copy or download all of the model's folder")


def _no_file(start: str, contents: Contents, otherwise: str) -> ModelFormatError:
    """Make the error about a folder that may hold a model for other programs."""
    for name in sorted(contents.names()):
        if name.endswith(OTHER):
            return ModelFormatError(
                f"{start}, and {printable(name)} is not read: get the model that it was "
                f"made of, with its config.json, {WEIGHTS} and tokenizer.json"
            )
    return ModelFormatError(start + otherwise)


def cure_of_dtype(path: Path, dtype: str) -> str:
    """Say what to do about tensors of a type that is not read."""
    if dtype == "F64":
        program = (
            "from safetensors.numpy import load_file, save_file; p = {}; "
            "save_file({{n: t.astype('f4') for n, t in load_file(p).items()}}, p)"
        )
        return f"convert the file: {_command(program, repr(str(path)))}"
    return (
        "get the model as it was before it was quantized; load(..., weights=) stores "
        "matrices in fewer bits"
    )


def _conversion(program: str, contents: Contents) -> str:
    """Say what converts a folder."""
    return f"convert it{contents.converted}: {_command(program, contents.source())}"


def _command(program: str, path: str) -> str:
    """Write the command that runs a program about a path, fit for any shell."""
    # The name of a folder that modules.json gives may hold words for a shell.
    return f"python -c {shlex.quote(program.format(path))}"
