"""Read the tokenizer of a folder, and decide how long a text may be."""

from typing import TYPE_CHECKING

from ..errors import ModelFormatError
from .bert import BertConfig
from .checkpoint import Settings
from .folder import Folder, errors_of_library

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Those of models in a hundred languages have some 20 MB.
TOKENIZER_BYTES = 64 * 2**20


def read_tokenizer(folder: Folder, config: BertConfig) -> tuple["Tokenizer", int]:
    """Read tokenizer.json and find the greatest length of a text in tokens.

    The padding and the truncation that stand in tokenizer.json are those of some
    training run and say nothing about the model. They are replaced here, once: a
    tokenizer must not be changed while other threads use it.
    """
    sentence = Settings.read(folder, "sentence_bert_config.json", optional=True)
    task = "feature-extraction"
    sentence.get_choice("transformer_task", [task], task)
    general = Settings.read(folder, "tokenizer_config.json", optional=True)
    max_length = _max_length(sentence, general, config)
    side = general.get_choice("truncation_side", ["left", "right"], "right")
    path = folder.path / "tokenizer.json"
    content = folder.read("tokenizer.json", TOKENIZER_BYTES)
    with errors_of_library(path):
        tokenizer = _parse(content)
        if sentence.get("do_lower_case", bool, False):
            _lower_case(tokenizer)
        highest = max(tokenizer.get_vocab().values(), default=0)
        if highest >= config.vocab_size:
            raise ModelFormatError(
                f"{path}: has the token id {highest}, vocab_size in config.json is "
                f"{config.vocab_size}"
            )
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_length <= special:
            raise ModelFormatError(
                f"{path}: adds {special} special tokens to a text of at most {max_length}"
            )
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer, max_length


def _max_length(sentence: Settings, general: Settings, config: BertConfig) -> int:
    """Find the greatest length: what sentence-transformers wrote, else what fits."""
    positions = config.max_position_embeddings
    if sentence.fields.get("max_seq_length") is not None:
        return sentence.get_size("max_seq_length", positions)
    # Where transformers knows of no limit it writes 1e30.
    limit = general.get_float("model_max_length", positions, 1)
    return int(min(limit, positions))


def _parse(content: bytes) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ImportError(
            "reading text needs the package tokenizers: pip install fastattn[text]"
        ) from None
    return Tokenizer.from_buffer(content)


def _lower_case(tokenizer: "Tokenizer") -> None:
    """Let the tokenizer lower all letters before whatever else it does to a text."""
    from tokenizers.normalizers import Lowercase, Sequence

    steps = [Lowercase()]
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = Sequence(steps)
