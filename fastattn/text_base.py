"""What the models that people give texts to share: batches, progress, truncation.

Texts are tokenized and computed a few batches at a time, so that memory depends on
`batch_tokens` and not on how many texts there are. A batch is packed tokens: padding
does not exist here.
"""

import copy
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from ._packed import FORMATS, PRECISIONS
from ._program import Program
from ._threads import thread_count
from .arrays import as_choice, as_flag, as_index, as_text
from .errors import ModelFormatError, TruncationWarning
from .keywords import Renamed, in_our_words
from .models import Config, EncoderModel
from .models.batches import batches, pack, windows
from .models.download import folder_of
from .models.folder import Folder
from .models.kinds import kinds_of
from .models.locate import name_from_anywhere
from .models.modules import TOKENS, Features
from .models.saving import Writer, write_folder
from .models.tokenization import SLICE_TEXTS, Tokenization, Tokens, check_unicode
from .models.tokenizer_files import tokenizer_files
from .nn.buffers import empty_rows
from .origin import Loadable, Loaded, surface_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Tokens of one batch, which the encoder computes in parts. On two cores MiniLM is equally
# fast from 1024 on; this is enough for many cores to share.
BATCH_TOKENS = 4096

# A progress bar that nobody asked for appears when the work has taken this long.
PROGRESS_DELAY_SECONDS = 1.0

# What sentence-transformers has: its classes and their first keyword, here in a module.
THEIR_MODULE = "fastattn.integrations.sentence_transformers"
THEIR_CLASSES = {"TextEncoder": "SentenceTransformer"}
THEIR_NAMES = "model_name_or_path", "model_name"

OnTruncation = Literal["warn", "ignore", "error"]
ON_TRUNCATION = ("warn", "ignore", "error")


# The prompts that methods look for, the first that there is.
QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class TextModel(Loadable):
    """A model with the tokenizer that makes token ids of texts for it.

    Attributes
    ----------
    model : EncoderModel
        What computes hidden states from token ids.
    tokenizer : tokenizers.Tokenizer
        Cuts at `max_length` tokens and does not pad.
    special_tokens : dict of str
        Its special tokens by the names that transformers has for them: "pad_token", ...
    prompt : str
        What stands in front of every text unless a call says otherwise.
    prompts : dict of str
        Prompts by name.
    """

    _kind: ClassVar[str]
    _takes_pairs: ClassVar[bool] = False

    # Of sentence-transformers.
    max_seq_length = Renamed("max_length")
    default_prompt_name = Renamed("prompt, the text of it")

    def __new__(cls, model: Any = None, *parts: Any, **settings: Any) -> Self:
        """Make one of its parts; what is given a name or a folder is `load`."""
        names = (settings[key] for key in THEIR_NAMES if key in settings)
        name = next(names, model)
        if isinstance(name, str | os.PathLike):
            theirs = THEIR_CLASSES.get(cls.__name__, cls.__name__)
            raise TypeError(
                f"{cls.__name__} is made of parts, which fastattn.load reads: "
                f"fastattn.load({os.fspath(name)!r}); the class with the constructor of "
                f"sentence-transformers is {theirs} of {THEIR_MODULE}"
            )
        return super().__new__(cls)

    def __init__(
        self,
        model: EncoderModel,
        tokenizer: "Tokenizer",
        special_tokens: dict[str, str],
        *,
        prompt: str,
        prompts: dict[str, str],
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.special_tokens = special_tokens
        self.prompt = prompt
        self.prompts = prompts

    @classmethod
    @in_our_words
    def load(
        cls,
        name_or_folder: str | os.PathLike[str],
        *,
        compute: str = "float32",
        weights: str = "float32",
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        revision: str | None = None,
        download: bool = False,
    ) -> Self:
        """Load a model of this kind; a folder of another kind is refused.

        Parameters, errors and the rest are those of :func:`fastattn.load`.
        """
        as_choice(compute, "compute", PRECISIONS)
        as_choice(weights, "weights", FORMATS)
        if "float32" not in (compute, weights):
            raise ValueError(
                f"weights={weights!r} is about what computes in float32: with compute="
                f"{compute!r} matrices are stored as they are computed with; leave one out"
            )
        given = as_prompts(prompts)
        folder = folder_of(name_or_folder, revision, download)
        kind, *others = kinds_of(folder)
        if cls._kind not in (kind, *others):
            raise ModelFormatError(
                f"{folder.path}: holds a {kind}: load it with fastattn.{kind}.load, or "
                "with fastattn.load, which takes every kind"
            )
        model = cls._read(folder, weights)
        if compute != "float32":
            model._compute_in(compute)
        if max_length is not None:
            model.max_length = max_length
        default = model._default_prompt_name
        model.prompts = model.prompts | given
        if default is not None:
            model.prompt = model.prompts[default]
        options = {
            "compute": compute,
            "weights": weights,
            "revision": revision,
            "download": download,
        }
        name = name_from_anywhere(name_or_folder)
        model._loaded = Loaded(name, options, surface_of(model))
        return model

    @classmethod
    def _read(cls, folder: Folder, weights: str) -> Self:
        """Read a folder that holds one, and store the matrices as `weights` says."""
        raise NotImplementedError

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that :meth:`load` and sentence-transformers read.

        Parameters
        ----------
        folder : str or path
            A new folder, or an empty one. It is there as a whole or not at all.

        Raises
        ------
        FileExistsError
            If there is a file of this name, or something in the folder.

        Notes
        -----
        What is loaded from it gives the same results to the bit, but with `compute="int8"`,
        which rounds the weights once more. They are written as the float32 numbers that are
        computed with, however they are stored, but for the table of words that a
        SparseEncoder compares with, which is written as it was read. What has been set
        since `load`, such as `max_length` and prompts, is written as it is now.
        """
        write_folder(folder, self._files())

    def _compute_in(self, precision: str) -> None:
        """Take the products of what computes for each token in another precision."""
        self.model.compute_in(precision)

    @property
    def config(self) -> Config:
        """The settings of the model."""
        return self.model.config

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take, in the formats they have."""
        return self.model.nbytes

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special tokens included; it can be set.

        What is set holds from the next call on, in every thread. It must leave room for
        a token beside the special ones, and the model must have so many positions.
        """
        return int(_truncation(self.tokenizer)["max_length"])

    @max_length.setter
    def max_length(self, value: int) -> None:
        # Others may be using the tokenizer that is there, so that it must not change.
        tokenizer = copy.deepcopy(self.tokenizer)
        least = tokenizer.num_special_tokens_to_add(is_pair=self._takes_pairs) + 1
        most = self.model.max_positions
        tokenizer.enable_truncation(
            as_index(value, "max_length", least, most),
            direction=_truncation(tokenizer)["direction"],
        )
        self.tokenizer = tokenizer

    def _tokenizer_files(self) -> dict[str, Writer]:
        """Give what writes the files of the tokenizer, by name."""
        num_token_types = self.model.num_token_types
        return tokenizer_files(self.tokenizer, self.special_tokens, num_token_types)

    @property
    def _default_prompt_name(self) -> str | None:
        """The name of the prompt in front of every text, if there is one that has one."""
        names = (name for name, prompt in self.prompts.items() if prompt == self.prompt)
        return next(names, None) if self.prompt else None

    def _choose_prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        """Find the prompt of a call: the one that is given, or named, or the default."""
        if prompt is not None and prompt_name is not None:
            raise ValueError("give a prompt or a prompt_name, not both")
        if prompt_name is not None:
            if not self.prompts:
                raise ValueError(
                    "prompt_name: the model has no prompts: give fastattn.load some, "
                    "prompts={'query': 'query: '}, and save(folder) keeps them, for the "
                    "command line and the server, too"
                )
            prompt = self.prompts[as_choice(prompt_name, "prompt_name", self.prompts)]
        elif prompt is None:
            prompt = self.prompt
        as_text(prompt, "prompt")
        named = "prompt" if prompt_name is None else f"prompts[{prompt_name!r}]"
        check_unicode(prompt, named)
        return prompt

    def _with_prompt(
        self, options: dict[str, Any], names: tuple[str, ...]
    ) -> dict[str, Any]:
        """Add the first prompt that there is of some names, unless another is asked for."""
        if options.get("prompt") is None and options.get("prompt_name") is None:
            found = (name for name in names if name in self.prompts)
            return options | {"prompt_name": next(found, None)}
        return options

    def _batches(
        self,
        texts: list[Any],
        prompt: str,
        tokenize: Callable[["Tokenizer", str, int], Any] = Tokenization,
        *,
        tokenizer: "Tokenizer | None" = None,
        batch_tokens: int,
        on_truncation: OnTruncation,
        show_progress: bool | None,
        num_threads: int | None,
    ) -> Iterator[tuple[list[int], list[Tokens]]]:
        """Tokenize texts and put them into batches: their indices, and their tokens.

        `tokenize`, of a tokenizer, a prompt and a number of threads, says how; it may be
        one of pairs. `tokenizer` may stand in the place of the model's. What is to be said
        about texts that were cut is said here, as if by the user who called.
        """
        cut = 0
        # Another thread may put another one in its place.
        tokenizer = tokenizer or self.tokenizer
        limit = _truncation(tokenizer)["max_length"]
        tokenization = tokenize(tokenizer, prompt, thread_count(num_threads))
        with progress(len(texts), show_progress) as advance:
            for first, window in windows(tokenization, texts, batch_tokens):
                for index, tokens in enumerate(window, first):
                    cut += tokens.cut
                    if tokens.cut and on_truncation == "error":
                        raise ValueError(f"inputs[{index}] has more than {limit} tokens")
                for batch in batches(window, batch_tokens):
                    yield [first + i for i in batch], [window[i] for i in batch]
                    advance(len(batch))
        if cut and on_truncation == "warn":
            warnings.warn(
                f"{cut} of {len(texts)} texts cut at {limit} tokens",
                TruncationWarning,
                stacklevel=level_of_caller(),
            )

    def _tokens(
        self,
        texts: list[Any],
        prompt: str,
        tokenize: Callable[["Tokenizer", str, int], Any] = Tokenization,
    ) -> list[Tokens]:
        """Tokenize texts as `_batches` does, all of them, in this thread alone."""
        tokenization = tokenize(self.tokenizer, prompt, 1)
        parts = windows(tokenization, texts, BATCH_TOKENS)
        return [tokens for _, window in parts for tokens in window]

    @property
    def _values(self) -> dict[str, str]:
        """What a trace has of what follows the encoder: names of values, and what it is."""
        raise NotImplementedError

    def _add_values(self, program: Program, features: Features) -> None:
        """Add what follows the encoder to the program of a trace of one text."""
        raise NotImplementedError

    def _hidden_states(
        self, texts: list[Tokens], num_threads: int | None
    ) -> tuple[Program, Features]:
        """Begin a program with the hidden states of some texts."""
        ids, types, sequences = pack(texts)
        hidden = empty_rows(len(ids), self.model.hidden_size)
        program = Program(num_threads=num_threads)
        self.model.steps(program, ids, types, sequences, hidden)
        return program, Features({TOKENS: hidden}, sequences.queries.cu_seqlens, ids)


def as_texts(inputs: Any) -> list[str]:
    """Make a list of texts of what a user gave as `inputs`."""
    texts = enumerate(as_iterable(inputs))
    return [as_text(text, f"inputs[{index}]") for index, text in texts]


def as_iterable(
    inputs: Any, name: str = "inputs", kind: str = "a str or several of them"
) -> Iterable[Any]:
    """Give what a user gave as `inputs` one by one, without looking at it yet."""
    if isinstance(inputs, str):
        return [inputs]
    problem = _why_no_texts(inputs)
    if problem is not None:
        raise TypeError(f"{name} must be {kind}, got {type(inputs).__name__}{problem}")
    # A column of Arrow iterates over scalars of its own, which are no str.
    texts: Iterable[Any] = inputs.to_pylist() if hasattr(inputs, "to_pylist") else inputs
    return texts


def level_of_caller() -> int:
    """Count the frames up to the first outside of this package, for who calls this."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals["__name__"].startswith(f"{__package__}."):
        level, frame = level + 1, frame.f_back
    return level - 1


def as_prompts(prompts: Any) -> dict[str, str]:
    """Check prompts by name."""
    if prompts is None:
        return {}
    if not isinstance(prompts, Mapping):
        raise TypeError(f"prompts must map names to texts, got {type(prompts).__name__}")
    for name, prompt in prompts.items():
        if not isinstance(name, str) or not isinstance(prompt, str):
            raise TypeError(f"prompts must map str to str, got {name!r}: {prompt!r}")
    return dict(prompts)


def _why_no_texts(inputs: Any) -> str | None:
    """Say what is wrong with inputs that are no row of texts, or None if nothing is.

    A table and a mapping are iterable, too, but over their columns' names and their keys.
    """
    if isinstance(inputs, bytes | bytearray | memoryview):
        return ": decode it first, bytes(inputs).decode()"
    if isinstance(inputs, Mapping):
        return ": pass its values, list(inputs.values()), or its keys, list(inputs)"
    if isinstance(inputs, set | frozenset):
        return ", which has no order: pass a list, sorted(inputs)"
    if hasattr(inputs, "columns"):
        return ": pass one of its columns, such as inputs['text']"
    if getattr(inputs, "ndim", 1) != 1:
        return f" of {inputs.ndim} dimensions: pass one with a single dimension"
    return None if isinstance(inputs, Iterable) else ""


def _truncation(tokenizer: "Tokenizer") -> dict[str, Any]:
    """Tell how a tokenizer cuts long texts, which `read_tokenizer` lets it do."""
    return cast(dict[str, Any], tokenizer.truncation)


@contextmanager
def progress(total: int | None, show: bool | None) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar over `total` texts, None: nobody knows how many there are.

    It gives the function that advances the bar.
    """
    if show is not None:
        as_flag(show, "show_progress")
    is_long = total is None or total > SLICE_TEXTS
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if show or (show is None and is_long and on_terminal):
        try:
            from tqdm import tqdm
        except ImportError:
            if show:
                raise ImportError(
                    "a progress bar needs the package tqdm: pip install 'fastattn[text]'"
                ) from None
        else:
            delay = 0.0 if show else PROGRESS_DELAY_SECONDS
            with tqdm(total=total, unit=" texts", delay=delay) as bar:
                yield bar.update
            return
    yield lambda count: None
