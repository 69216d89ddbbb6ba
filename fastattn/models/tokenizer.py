"""Read the tokenizer of a folder, and decide how long a text may be."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from .checkpoint import Settings
from .cures import no_tokenizer
from .folder import Folder, errors_of_library
from .model import EncoderModel
from .sentence import read_transformer
from .tokenizer_files import apply_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Those of models in a hundred languages have some 20 MB.
TOKENIZER_BYTES = 64 * 2**20

# Longer words than this are unknown. WordPiece takes time in the cube of it, so that a
# text that is one long word could keep a tokenizer without a limit busy for hours.
WORD_CHARACTERS = 1000


def read_tokenizer(
    folder: Folder, model: EncoderModel, task: str = "feature-extraction"
) -> tuple["Tokenizer", dict[str, str]]:
    """Read tokenizer.json, and let it cut at the greatest length of a text in tokens.

    Its special tokens come along, by the names that transformers has for them. `task` is
    what sentence-transformers calls what the model is for.

    The padding and the truncation that stand in tokenizer.json are those of some
    training run and say nothing about the model: they are replaced.
    """
    sentence = read_transformer(folder, task)
    general = Settings.read(folder, "tokenizer_config.json", optional=True)
    max_length = _max_length(sentence, general, model)
    side = general.get_choice("truncation_side", ["left", "right"], "right")
    path = folder.path / "tokenizer.json"
    with errors_of_library(path):
        tokenizer = _read_file(folder, model)
        tokenizer.no_truncation()
        special_tokens = apply_files(folder, tokenizer, general, model)
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_length <= special:
            raise ModelFormatError(
                f"{path}: adds {special} special tokens to a text of at most {max_length}"
            )
        if sentence.get("do_lower_case", bool, False):
            _lower_case(tokenizer)
        _check_ids(path, tokenizer, model)
        tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer, special_tokens


def read_static_tokenizer(
    folder: Folder, model: EncoderModel
) -> tuple["Tokenizer", dict[str, str]]:
    """Read the tokenizer of a static model, which adds no special tokens, and names none.

    sentence-transformers reads tokenizer.json alone, whose truncation holds.
    """
    path = folder.path / "tokenizer.json"
    with errors_of_library(path):
        tokenizer = _read_file(folder, model)
        tokenizer.post_processor = None
        _check_ids(path, tokenizer, model, "rows of the table are")
        limit = tokenizer.truncation or {}
        length, most = limit.get("max_length", model.max_positions), model.max_positions
        if length == 0:
            raise ModelFormatError(f"{path}: truncation.max_length must be at least 1")
        tokenizer.enable_truncation(
            min(length, most), direction=limit.get("direction", "right")
        )
    return tokenizer, {}


def read_plain_tokenizer(
    folder: Folder, model: EncoderModel
) -> tuple["Tokenizer", dict[str, str]]:
    """Read a tokenizer as `read_tokenizer`, but one that adds no special tokens."""
    general = Settings.read(folder, "tokenizer_config.json", optional=True)
    side = general.get_choice("truncation_side", ["left", "right"], "right")
    limit = general.get_float("model_max_length", model.max_positions, 1)
    path = folder.path / "tokenizer.json"
    with errors_of_library(path):
        tokenizer = _read_file(folder, model)
        tokenizer.no_truncation()
        special_tokens = apply_files(folder, tokenizer, general, model)
        tokenizer.post_processor = None
        _check_ids(path, tokenizer, model, "weights are")
        tokenizer.enable_truncation(int(min(limit, model.max_positions)), direction=side)
    return tokenizer, special_tokens


def _read_file(folder: Folder, model: EncoderModel) -> "Tokenizer":
    """Read tokenizer.json, whose parts are fit for a model, without its padding."""
    path = folder.path / "tokenizer.json"
    if not folder.has("tokenizer.json"):
        raise no_tokenizer(folder)
    tokenizer = _parse(folder.read("tokenizer.json", TOKENIZER_BYTES))
    tokenizer.no_padding()
    _check_model(path, tokenizer)
    _check_post_processor(path, tokenizer, model)
    return tokenizer


def _check_ids(
    path: Path,
    tokenizer: "Tokenizer",
    model: EncoderModel,
    origin: str = "vocab_size in config.json is",
) -> None:
    """Make sure that every token has a vector; `origin` says how many there are."""
    # A dict of a large vocabulary takes longer to make than all that have a vector take to
    # be looked at, which mostly are all that there are.
    tokens = map(tokenizer.id_to_token, range(model.vocab_size))
    if sum(token is not None for token in tokens) == tokenizer.get_vocab_size():
        return
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= model.vocab_size:
        raise ModelFormatError(
            f"{path}: has the token id {highest}, {origin} {model.vocab_size}"
        )


def _check_model(path: Path, tokenizer: "Tokenizer") -> None:
    """Make sure that unknown words have a token, and that no word takes too long."""
    # Not all kinds of models have these.
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown is not None and tokenizer.model.token_to_id(unknown) is None:
        raise ModelFormatError(f"{path}: model.unk_token is not in model.vocab")
    characters = getattr(tokenizer.model, "max_input_chars_per_word", 1)
    if not 1 <= characters <= WORD_CHARACTERS:
        raise ModelFormatError(
            f"{path}: model.max_input_chars_per_word must be from 1 to {WORD_CHARACTERS}, "
            f"got {characters}"
        )


def _check_post_processor(path: Path, tokenizer: "Tokenizer", model: EncoderModel) -> None:
    """Make sure that a text keeps its length and gets ids that have vectors.

    What goes through the post-processor is a token that this tokenizer did not make:
    what its other parts do to a text may take any time.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    token = Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode("a")
    made = tokenizer.post_process(token)
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    if len(made.ids) != 1 + special:
        raise ModelFormatError(f"{path}: post_processor must take a text exactly once")
    limits = [("token id", made.ids, model.vocab_size)]
    if model.num_token_types > 1:
        limits.append(("token type", made.type_ids, model.num_token_types))
    for kind, ids, limit in limits:
        if max(ids) >= limit:
            raise ModelFormatError(
                f"{path}: post_processor adds the {kind} {max(ids)}, the model has {limit}"
            )


def _max_length(sentence: Settings, general: Settings, model: EncoderModel) -> int:
    """Find the greatest length: what sentence-transformers wrote, else what fits."""
    positions = model.max_positions
    if sentence.has("max_seq_length"):
        return sentence.get_size("max_seq_length", positions)
    # Where transformers knows of no limit it writes 1e30.
    limit = general.get_float("model_max_length", positions, 1)
    return int(min(limit, positions))


def _parse(content: bytes) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ImportError(
            "reading text needs the package tokenizers: pip install 'fastattn[text]'"
        ) from None
    return Tokenizer.from_buffer(content)


def _lower_case(tokenizer: "Tokenizer") -> None:
    """Let the tokenizer lower all letters before whatever else it does to a text."""
    from tokenizers.normalizers import Lowercase, Sequence

    steps = [Lowercase()]
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = Sequence(steps)
