"""Pairs of texts into tokens: each text by itself, put together by the template.

That is what a tokenizer does with a pair, too. Done here, a text that stands in many pairs,
as a query does, becomes tokens once.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .folder import Folder, errors_of_library
from .model import EncoderModel
from .tokenization import SLICE_TEXTS, Tokenization, Tokens, slice_length

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Pair = tuple[str, str]

# Stand for the tokens of two texts in a template; no vocabulary has so many.
TEXTS = 2**32 - 2, 2**32 - 1


class Template(NamedTuple):
    """What a tokenizer puts around two texts, and the token types of all of it.

    Attributes
    ----------
    special : tuple of array
        The ids before the first text, between the texts, and behind the second.
    types : array (5,)
        The types of these and of the texts, in their order.
    """

    special: tuple[NDArray[int64], NDArray[int64], NDArray[int64]]
    types: NDArray[int64]

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> Self | None:
        """Find the template of a tokenizer, or None if there is no such one."""
        made = _around(tokenizer, 1, 1)
        ids, types = np.array(made.ids, int64), np.array(made.type_ids, int64)
        places = np.flatnonzero(ids >= TEXTS[0])
        if len(places) != 2:
            return None
        bounds = [0, places[0], places[0] + 1, places[1], places[1] + 1, len(ids)]
        parts = [slice(*ends) for ends in pairwise(bounds)]
        special = ids[parts[0]], ids[parts[2]], ids[parts[4]]
        # Where a part is empty, its type is nobody's.
        template = cls(special, np.array([types[part].max(initial=0) for part in parts]))
        other = _around(tokenizer, 3, 2)
        expected = template.join(np.full(3, TEXTS[0]), np.full(2, TEXTS[1]))
        found = np.array(other.ids), np.array(other.type_ids)
        return template if all(map(np.array_equal, found, expected)) else None

    @property
    def length(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.special))

    def join(
        self, first: NDArray[int64], second: NDArray[int64]
    ) -> tuple[NDArray[int64], NDArray[int64]]:
        """Put the ids of two texts together: ids, and types."""
        before, between, behind = self.special
        parts = before, first, between, second, behind
        types = np.repeat(self.types, [len(part) for part in parts])
        return np.concatenate(parts), types


class PairTokenization:
    """How the pairs of one call become tokens, with a prompt in front of each first text.

    A pair of more tokens than the tokenizer cuts at loses those of the longer text, and
    where both are longer than half of it, each keeps half: transformers' "longest_first".
    `name`, of the index of a pair and the side of a text, is what errors call the text.
    """

    def __init__(
        self,
        template: Template,
        tokenizer: "Tokenizer",
        prompt: str,
        threads: int,
        name: Callable[[int, int], str] = "inputs[{}][{}]".format,
    ) -> None:
        truncation: Any = tokenizer.truncation
        self._template = template
        self._room = truncation["max_length"] - template.length
        self._left = truncation["direction"] == "left"
        self._threads = threads
        self._name = name
        self._sides = (
            Tokenization(tokenizer, prompt, threads, special=False),
            Tokenization(tokenizer, "", threads, special=False),
        )
        # The tokens of the texts of the last slice, on each side.
        self._known: tuple[dict[str, Tokens], dict[str, Tokens]] = ({}, {})

    def slice_end(self, pairs: list[Pair], start: int) -> int:
        """Find where the pairs end that are tokenized at once, those from `start` on."""
        sizes = (
            sum(side.first_size(text) for side, text in zip(self._sides, pair, strict=True))
            for pair in pairs[start : start + SLICE_TEXTS]
        )
        return start + slice_length(sizes, self._threads)

    def tokens(self, pairs: list[Pair], first: int) -> list[Tokens]:
        """Tokenize some pairs, the first of which has the index `first`."""
        for side in (0, 1):
            self._tokenize_side(side, pairs, first)
        return [self._join(pair) for pair in pairs]

    def _tokenize_side(self, side: int, pairs: list[Pair], first: int) -> None:
        """Tokenize the first or the second texts of some pairs, each once."""
        known = self._known[side]
        places = {pair[side]: index for index, pair in reversed([*enumerate(pairs, first)])}
        for text in known.keys() - places.keys():
            del known[text]
        fresh = [text for text in places if text not in known]

        def name(index: int) -> str:
            return self._name(places[fresh[index]], side)

        found = self._sides[side].named_tokens(fresh, name)
        known.update(zip(fresh, found, strict=True))

    def _join(self, pair: Pair) -> Tokens:
        """Cut the tokens of a pair and put them together."""
        first, second = (known[text] for known, text in zip(self._known, pair, strict=True))
        kept = self._kept(pair, first, second)
        whole = len(first.ids) + len(second.ids) <= self._room
        ids, types = self._template.join(
            *(
                tokens.ids[len(tokens.ids) - n :] if self._left else tokens.ids[:n]
                for tokens, n in zip((first, second), kept, strict=True)
            )
        )
        return Tokens(ids, types, not whole or first.cut or second.cut)

    def _kept(self, pair: Pair, first: Tokens, second: Tokens) -> tuple[int, int]:
        """Tell how many tokens of each text are kept."""
        a, b, room = len(first.ids), len(second.ids), self._room
        half = room // 2
        if a + b <= room:
            return a, b
        if min(a, b) <= half:
            return (a, room - a) if a <= b else (room - b, b)
        if room % 2 == 0:
            return half, half
        # One is left over, for the longer text; of two that were cut, both are counted.
        longer = (a, first.cut) > (b, second.cut)
        if first.cut and second.cut:
            longer = self._sides[0].count(pair[0]) > self._sides[1].count(pair[1])
        return (half + 1, half) if longer else (half, half + 1)


def encode_pair(tokenizer: "Tokenizer", prompt: str, pair: Pair) -> "Encoding":
    """Tokenize one pair, no more of it than is read, and give all that the library says."""
    sides = [Tokenization(tokenizer, text, 1, special=False) for text in (prompt, "")]
    names = "the text", "pair"
    excerpts = [side.excerpt(*text) for side, *text in zip(sides, pair, names, strict=True)]
    truncation: Any = tokenizer.truncation
    room = truncation["max_length"] - tokenizer.num_special_tokens_to_add(is_pair=True)
    (first, _), (second, _) = excerpts
    if room % 2 and all(cut for _, cut in excerpts):
        # The longer text keeps one token more, and only all of both tells which that is.
        first, second = prompt + pair[0], pair[1]
    with errors_of_library("tokenizer.json"):
        return tokenizer.encode(first, second)


def read_template(folder: Folder, tokenizer: "Tokenizer", model: EncoderModel) -> Template:
    """Find the template of a tokenizer, and make sure that the model has its vectors.

    Nobody else may be using the tokenizer yet.
    """
    path = folder.path / "tokenizer.json"
    truncation: Any = tokenizer.truncation
    tokenizer.no_truncation()
    template = Template.of(tokenizer)
    tokenizer.enable_truncation(**truncation)
    if template is None:
        raise ModelFormatError(
            f"{path}: post_processor must take each of two texts exactly once, in their "
            "order"
        )
    limits = [("token id", np.concatenate(template.special), model.vocab_size)]
    if model.num_token_types > 1:
        limits.append(("token type", template.types, model.num_token_types))
    for kind, found, limit in limits:
        if found.max(initial=0) >= limit:
            raise ModelFormatError(
                f"{path}: post_processor adds the {kind} {found.max()} to a pair, the "
                f"model has {limit}"
            )
    if truncation["max_length"] <= template.length:
        raise ModelFormatError(
            f"{path}: adds {template.length} special tokens to a pair of at most "
            f"{truncation['max_length']}"
        )
    return template


def _around(tokenizer: "Tokenizer", first: int, second: int) -> "Encoding":
    """Let a tokenizer put two texts together, of so many tokens that it did not make."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    texts = []
    for count, token in zip((first, second), TEXTS, strict=True):
        words = Tokenizer(WordLevel({"a": token}, unk_token="a"))
        words.pre_tokenizer = WhitespaceSplit()
        texts.append(words.encode("a " * count))
    return tokenizer.post_process(texts[0], texts[1])
