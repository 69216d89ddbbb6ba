"""How much of a long text is tokenized: enough for the tokens that are kept, no more.

Of a text of a megabyte, a model reads some hundred tokens. So a part of it is tokenized,
its beginning (its end where the tokenizer cuts on the left), and twice as much as long as
the tokens that are kept might be others in the whole text. They are the same where

- the last word that is kept has ended. A word is what the pre-tokenizer splits off; words
  are tokenized each by itself;
- behind it, the part has a margin that is wider than all that a tokenizer looks at: an
  added token that starts there, and takes the white space in front of it; letters and
  marks that a normalizer joins; the lookahead of a pattern. Only characters count that no
  normalizer takes away or makes white: of the others, a text may hold any number.

Where a part starts inside a text, there is a third condition. Added tokens and patterns
are looked for from left to right, and those of the part may be out of step with those of
the text as far as to a space behind another character, which none of them spans.

All of this holds for the normalizers and pre-tokenizers that are named below. With others,
such as a split by a regular expression, which looks as far as it likes, texts are
tokenized whole.
"""

import json
import unicodedata
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Encoding, Tokenizer

# The first part of a text has so many characters for each token that is kept: most texts
# have fewer.
CHARACTERS_PER_TOKEN = 8

# Further than the steps below look beyond a word, in characters.
LOOKAHEAD = 8

# Of so many characters, at most, normalizers make one: of three when they compose Korean
# letters, of two more when they replace a string by a character.
JOINED = 8
REPLACED = 2

STEPS = {
    # Normalizers
    "BertNormalizer",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Prepend",
    "Strip",
    "StripAccents",
    # Pre-tokenizers
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    # Either
    "ByteLevel",
}

# What stands in a tokenizer for the regular expression that models of SentencePiece have.
SPACES = {"Regex": " {2,}"}

# Characters that came to Unicode later are taken away by libraries that do not know them.
UNICODE = unicodedata.ucd_3_2_0

# Symbols that normalizers make white: the space of SentencePiece, and no character at all.
WHITE = "\u2581\ufffd"


class Excerpts:
    """The parts of long texts that are tokenized in their place."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        truncation: Any = tokenizer.truncation
        self._tokenizer = tokenizer
        self._left = truncation["direction"] == "left"
        self._size = CHARACTERS_PER_TOKEN * truncation["max_length"]

    def first_size(self, characters: int) -> int:
        """Tell how many of the characters of a text are tokenized at first."""
        if characters <= self._size or self._margin is None:
            return characters
        size: int = self._size + 2 * self._margin
        return min(size, characters)

    def part(self, prompt: str, text: str, size: int) -> str:
        """Get so many characters of a prompt with a text behind it."""
        if self._left:
            return (prompt + text[-size:])[-size:]
        return (prompt + text[:size])[:size]

    def settle(self, part: str, encoding: "Encoding") -> bool:
        """Whether the tokens that are kept of a part are those of the whole text."""
        step = -1 if self._left else 1
        kept = [word for word in encoding.word_ids if word is not None]
        for rest in encoding.overflowing:
            tokens = list(zip(rest.word_ids, rest.offsets, strict=True))
            for word, (start, end) in tokens[::step]:
                # Special tokens are of no word, and the last word may go on.
                if word not in (None, kept[::step][-1]):
                    return self._is_far(part, end if self._left else start)
        return False

    @cached_property
    def _margin(self) -> int | None:
        """Characters that a part has beyond its words; None where texts stay whole."""
        tokenizer = self._tokenizer
        try:
            steps = _steps(tokenizer.normalizer) + _steps(tokenizer.pre_tokenizer)
        except Exception:  # plain ones are raised for a step that is written in Python
            return None
        added = list(tokenizer.get_added_tokens_decoder().values())
        if not all(map(_looks_around, steps)):
            return None
        if self._left and (any(map(_takes_spaces, added)) or _runs_over_spaces(steps)):
            return None
        contents = [token.content for token in added]
        if tokenizer.normalizer is not None:
            contents += [tokenizer.normalizer.normalize_str(text) for text in contents]
        return JOINED * (LOOKAHEAD + max(map(len, contents), default=0))

    def _is_far(self, part: str, place: int) -> bool:
        """Whether a place in a part is far enough from where the part was cut."""
        assert self._margin is not None
        if not self._left:
            return sum(map(_counts, part[place:])) >= self._margin
        counted = 0
        for character, following in pairwise(part[: place + 1]):
            counts = _counts(character)
            counted += counts
            if counts and following == " " and counted >= self._margin:
                return True
        return False


def _steps(component: Any) -> list[dict[str, Any]]:
    """List the steps of a normalizer or pre-tokenizer as tokenizer.json has them."""
    if component is None:
        return []
    stored: dict[str, Any] = json.loads(component.__getstate__())
    steps: list[dict[str, Any]] = stored.get(
        "normalizers", stored.get("pretokenizers", [stored])
    )
    return steps


def _looks_around(step: dict[str, Any]) -> bool:
    """Whether a step looks at no more than the surroundings of a character."""
    if step["type"] not in ("Replace", "Split"):
        return step["type"] in STEPS
    if step["pattern"] in (SPACES, {"String": " "}):
        return True
    literal = step["pattern"].get("String", "")
    # What counts in a margin must not become nothing, or white space.
    stays = step.get("content", literal).strip()
    return bool(stays) and 0 < len(literal) <= REPLACED and not _has_space(literal)


def _runs_over_spaces(steps: list[dict[str, Any]]) -> bool:
    """Whether matches of a pattern may go on where there was a space."""
    replaced = any(
        step["type"] in ("Metaspace", "Replace") or step == {"type": "ByteLevel"}
        for step in steps
    )
    return replaced and any(step.get("use_regex") for step in steps)


def _takes_spaces(token: "AddedToken") -> bool:
    """Whether an added token may go on over a space behind another character."""
    return token.normalized or token.rstrip or _has_space(token.content)


def _has_space(text: str) -> bool:
    return any(map(str.isspace, text))


@cache
def _counts(character: str) -> bool:
    """Whether every normalizer makes something of a character, and not white space."""
    first = UNICODE.normalize("NFKD", character)[0]
    return UNICODE.category(first)[0] in "LNPS" and first not in WHITE
