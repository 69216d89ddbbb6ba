"""What the three classes share: how a model is found, prompts, processes."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import update_wrapper, wraps
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Concatenate, Never, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..._threads import thread_count
from ...arrays import as_choice, as_flag, as_index
from ...errors import ModelFormatError
from ...models.download import get
from ...models.folder import Folder
from ...models.kinds import kinds_of
from ...models.locate import find, locate
from ...models.saving import as_folder, write_folder
from ...text_base import (
    DOCUMENT_PROMPTS,
    QUERY_PROMPTS,
    THEIR_CLASSES,
    TextModel,
    as_prompts,
    level_of_caller,
)
from . import left_out
from .pool import Pool, call_each, start_pool, stop_pool

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

# What keywords were called in versions before, which scripts still say.
OLD_NAMES = {
    "activation_fct": "activation_fn",
    "automodel_args": "model_kwargs",
    "cache_dir": "cache_folder",
    "config_args": "config_kwargs",
    "default_activation_function": "activation_fn",
    "model_name": "model_name_or_path",
    "sentences": "inputs",
    "tokenizer_args": "processor_kwargs",
    "tokenizer_kwargs": "processor_kwargs",
    "use_auth_token": "token",
}

# The prompts that a method looks for, the first that there is.
PROMPTS = {"encode_query": QUERY_PROMPTS, "encode_document": DOCUMENT_PROMPTS}

# Of fastattn.load, which `model_kwargs` may hold.
LOAD_OPTIONS = ("compute", "weights")

BACKENDS = ("torch", "onnx", "openvino")

# Where sentence-transformers keeps models, if it is told by the environment.
HOME = "SENTENCE_TRANSFORMERS_HOME"

# Processes of a pool that nobody has said anything about.
PROCESSES = 4


def takes_old_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take its keywords by the names that they had before, too."""

    @wraps(function)
    def renamed(*arguments: P.args, **keywords: P.kwargs) -> R:
        for old in OLD_NAMES.keys() & keywords.keys():
            keywords.setdefault(OLD_NAMES[old], keywords.pop(old))
        return function(*arguments, **keywords)

    return renamed


def by_method(
    function: Callable[Concatenate[S, str, P], R], method: str, summary: str
) -> Callable[Concatenate[S, P], R]:
    """Make the method of this name of one that takes the name of a method first."""

    @takes_old_names
    def named(self: S, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        return function(self, method, *arguments, **keywords)

    update_wrapper(named, function)
    kind, _, _ = function.__qualname__.rpartition(".")
    named.__name__, named.__qualname__ = method, f"{kind}.{method}"
    _, _, rest = (function.__doc__ or "").partition("\n")
    named.__doc__ = f"{summary}\n{rest}"
    told = signature(function)
    kept = [each for name, each in told.parameters.items() if name != "method"]
    named.__signature__ = told.replace(parameters=kept)  # type: ignore[attr-defined]
    return named


class Model:
    """Base class: a model of fastattn with the constructor of sentence-transformers.

    Parameters
    ----------
    model_name_or_path : str or path
        As :func:`fastattn.load` takes it. A name that is not on this machine is downloaded
        unless `local_files_only` says otherwise, as sentence-transformers does; a warning
        says so.
    device : str, optional
        "cpu" is all that there is.
    prompts : dict of str, optional
        Prompts by name, in place of the folder's.
    default_prompt_name : str, optional
        The prompt of texts about which a call says nothing.
    cache_folder : str or path, optional
        Where models are; else what SENTENCE_TRANSFORMERS_HOME says, or the cache of the
        Hugging Face hub.
    revision : str, optional
        Branch, tag or commit.
    local_files_only : bool
        Download nothing.
    token : str, optional
        What the hub knows its user by.
    model_kwargs : dict, optional
        `compute` and `weights`, as :func:`fastattn.load` has them; what changes no numbers
        has no effect.
    backend : {"torch", "onnx", "openvino"}
        It has no effect, nor have `trust_remote_code`, `model_card_data` and what changes
        no numbers in `processor_kwargs` and `config_kwargs`.

    Attributes
    ----------
    encoder : TextEncoder, CrossEncoder or SparseEncoder
        What computes.
    prompts : dict of str
        Prompts by name.
    """

    encoder: TextModel
    _class: ClassVar[type[TextModel]]
    # The prompts that there always are, empty unless somebody fills them.
    _prompt_names: ClassVar[tuple[str, ...]] = ("query", "document")

    @takes_old_names
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        modules: None = None,
        device: Any = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        model_card_data: Any = None,
        backend: str = "torch",
        **others: Any,
    ) -> None:
        left_out.refuse_options(type(self).__name__, others)
        if modules is not None or model_name_or_path is None:
            raise TypeError(
                f"{type(self).__name__} needs the name of a model, or its folder: modules "
                "of torch are not computed here"
            )
        check_device(device)
        left_out.check_handed_on("model_kwargs", model_kwargs, *LOAD_OPTIONS)
        left_out.check_handed_on("processor_kwargs", processor_kwargs)
        left_out.check_handed_on("config_kwargs", config_kwargs)
        self.backend = as_choice(backend, "backend", BACKENDS)
        given = model_kwargs or {}
        place = _locate(model_name_or_path, revision, cache_folder, local_files_only, token)
        _check_kind(place, self._class)
        self.encoder = self._class.load(
            place,
            prompts=prompts,
            **{name: given[name] for name in LOAD_OPTIONS if name in given},
        )
        for name in self._prompt_names:
            self.encoder.prompts.setdefault(name, "")
        if default_prompt_name is not None:
            self.default_prompt_name = default_prompt_name

    def __getattr__(self, name: str) -> Any:
        """Say why something of sentence-transformers is not there."""
        raise left_out.refuse_attribute(type(self).__name__, name)

    def __getitem__(self, index: Any) -> Never:
        """Say why the modules of sentence-transformers are not there."""
        kind = type(self).__name__
        raise TypeError(f"{kind} has no [{index!r}]: {left_out.NO_TORCH}")

    def __repr__(self) -> str:
        """Show what computes."""
        return f"{type(self).__name__}({self.encoder!r})"

    @classmethod
    def load(cls, input_path: str) -> Self:
        """Do what the class does."""
        return cls(input_path)

    @property
    def prompts(self) -> dict[str, str]:
        """Prompts by name."""
        return self.encoder.prompts

    @prompts.setter
    def prompts(self, value: Mapping[str, str]) -> None:
        self.encoder.prompts = as_prompts(value)

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt in front of a text about which a call says nothing."""
        return self.encoder._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, name: str | None) -> None:
        known = as_choice(name, "default_prompt_name", [None, *self.prompts])
        self.encoder.prompt = "" if known is None else self.prompts[known]

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text that are read; set it, and it is at most the positions."""
        return self.encoder.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        given = as_index(value, "max_seq_length", 1)
        self.encoder.max_length = min(given, self.encoder.model.max_positions)

    def get_max_seq_length(self) -> int:
        """Give `max_seq_length`."""
        return self.max_seq_length

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, that of the package tokenizers."""
        return self.encoder.tokenizer

    processor = tokenizer

    @property
    def config(self) -> Any:
        """The settings in config.json."""
        return self.encoder.config

    @property
    def model_card_data(self) -> left_out.ModelCard:
        """What evaluators tell their results, which is not written anywhere."""
        return left_out.ModelCard()

    @property
    def device(self) -> str:
        """Where everything is computed."""
        return "cpu"

    @property
    def modalities(self) -> list[str]:
        """What inputs may be."""
        return ["text"]

    def supports(self, modality: str) -> bool:
        """Whether inputs may be that."""
        return modality in self.modalities

    def get_backend(self) -> str:
        """Give what was asked for."""
        return str(self.backend)

    def get_model_kwargs(self) -> list[str]:
        """List the further keywords that `encode` takes, which are none."""
        return []

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Stay where it is; another place, or another precision, is refused."""
        for given in (device, dtype):
            if "float" in str(given):
                left_out.check_handed_on("to", {"dtype": given})
            else:
                check_device(given)
        return self

    def cpu(self) -> Self:
        """Stay where it is."""
        return self

    def eval(self) -> Self:
        """Stay as it is: nothing is dropped."""
        return self

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, NDArray[np.int64]]:
        """Turn texts, or pairs of them, into token ids, padded to the longest."""
        left_out.refuse_keywords("preprocess", kwargs)
        items = [each if isinstance(each, str) else tuple(each) for each in inputs]
        if prompt:
            items = [
                prompt + each if isinstance(each, str) else (prompt + each[0], *each[1:])
                for each in items
            ]
        encodings = self.tokenizer.encode_batch(items)
        padding = self.encoder.special_tokens.get("pad_token", "")
        pad = self.tokenizer.token_to_id(padding) or 0
        shape = len(encodings), max([len(each.ids) for each in encodings], default=0)
        ids, mask = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
        for row, each in enumerate(encodings):
            ids[row, : len(each.ids)] = each.ids
            mask[row, : len(each.ids)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def tokenize(self, texts: Sequence[Any], **options: Any) -> dict[str, Any]:
        """Do what `preprocess` does."""
        return self.preprocess(texts, **options)

    def save(
        self,
        path: str,
        model_name: str | None = None,
        create_model_card: bool = True,
        train_datasets: list[str] | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Write a folder, without a model card, with weights in safetensors.

        Where there is one, its files of the same names are replaced, each as a whole.
        """
        write_folder(as_folder(path, "path"), self.encoder._files(), replace=True)

    save_pretrained = save

    def evaluate(self, evaluator: Any, output_path: str | None = None) -> Any:
        """Call a function on this model, and on a folder, which is made."""
        if not callable(evaluator):
            raise TypeError(f"evaluator must be a function of a model, got {evaluator!r}")
        if output_path is not None:
            os.makedirs(output_path, exist_ok=True)
        return evaluator(self, output_path)

    def start_multi_process_pool(self, target_devices: list[str] | None = None) -> Pool:
        """Start a process for each "cpu" in a list; four, or one for each thread."""
        if target_devices is None:
            target_devices = ["cpu"] * min(PROCESSES, thread_count())
        if not isinstance(target_devices, list) or not target_devices:
            raise TypeError(
                "target_devices must be a list with 'cpu' for each process, got "
                f"{target_devices!r}"
            )
        check_device(target_devices)
        return start_pool(self.encoder, target_devices)

    @staticmethod
    def stop_multi_process_pool(pool: Pool) -> None:
        """End the processes of a pool."""
        stop_pool(pool)

    def _prompt(self, method: str, prompt: str | None, prompt_name: str | None) -> str:
        """Find the prompt of a call; if both are given, it is `prompt`."""
        if prompt is not None:
            prompt_name = None
        options = {"prompt": prompt, "prompt_name": prompt_name}
        options = self.encoder._with_prompt(options, PROMPTS.get(method, ()))
        return self.encoder._choose_prompt(**options)

    def _each(
        self,
        method: str,
        inputs: list[Any],
        options: dict[str, Any],
        device: Any,
        processes: Pool | None,
        chunk_size: int | None,
    ) -> list[Any]:
        """Call a method of the encoder, in other processes where that is asked for."""
        check_device(device)
        with _pool_of(self, device, processes) as started:
            if started is None:
                return [getattr(self.encoder, method)(inputs, **options)]
            return call_each(started, method, inputs, chunk_size, options)


def check_device(device: Any) -> None:
    """Refuse a device that is not the CPU, also one in a list."""
    for each in device if isinstance(device, list) else [device]:
        if each is not None and str(each).partition(":")[0] != "cpu":
            raise ValueError(f"device must be 'cpu', where all is computed, got {each!r}")


def check_batch_size(batch_size: int) -> None:
    """Make sure that it is a number; nothing depends on it."""
    as_index(batch_size, "batch_size", 1)


@contextmanager
def _pool_of(model: Model, device: Any, processes: Pool | None) -> Iterator[Pool | None]:
    """Give the pool of a call, or that of a list of devices while it is needed."""
    if processes is not None or not (isinstance(device, list) and device):
        yield processes
        return
    started = model.start_multi_process_pool(device)
    try:
        yield started
    finally:
        model.stop_multi_process_pool(started)


def _check_kind(place: Path, cls: type[TextModel]) -> None:
    """Name the class of this module that reads a folder of another kind."""
    kinds = kinds_of(Folder(place))
    if cls._kind not in kinds:
        theirs = THEIR_CLASSES.get(kinds[0], kinds[0])
        raise ModelFormatError(f"{place}: holds a {kinds[0]}: give it to {theirs}")


def _locate(
    name: str | os.PathLike[str],
    revision: str | None,
    cache: str | os.PathLike[str] | None,
    local_files_only: bool,
    token: bool | str | None,
) -> Path:
    """Find the folder of a model, or get it from the hub."""
    cache = cache or os.environ.get(HOME)
    # A folder has no revisions, and sentence-transformers asks for none.
    if isinstance(name, str | os.PathLike) and os.path.isdir(name):
        revision = None
    as_flag(local_files_only, "local_files_only")
    if local_files_only or find(name, revision, cache):
        return locate(name, revision, cache)
    warnings.warn(
        f"{os.fspath(name)} is not on this machine and is downloaded, as "
        "sentence-transformers does; local_files_only=True forbids it",
        stacklevel=level_of_caller(),
    )
    return get(name, revision, token if isinstance(token, str) else None, cache)
