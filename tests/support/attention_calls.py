"""Random calls of attention: all keywords, shapes, layouts and dtypes at once."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

import fastattn as fa
from fastattn import _cpu, reference
from support.bits import using_isa

try:
    from ml_dtypes import bfloat16
except ImportError:
    HALVES = [np.dtype(np.float16)]
else:
    HALVES = [np.dtype(np.float16), np.dtype(bfloat16)]

Array = NDArray[Any]

# Around panels of 16 queries, blocks of 64 queries and keys and chunks of 512 keys.
LENGTHS = [0, 1, 2, 3, 15, 16, 17, 33, 63, 64, 65, 127, 129, 200, 511, 513, 700]
HEAD_DIMS = [1, 3, 8, 16, 20, 32, 64, 80]
ENDS = [1e-45, 1e-38, 1e-20, 1, 1e20, 1e37, 3e38]
LARGEST = np.finfo(np.float32).max
MOST_SCORES = 100_000  # a matrix of 0.8 MB in float64: a call takes milliseconds


@dataclass
class Call:
    """One call of attention."""

    query: Array
    key: Array
    value: Array
    mask: Array | None
    keywords: dict[str, Any]
    isa: str
    threads: int

    def __str__(self) -> str:
        arrays = {"query": self.query, "key": self.key, "value": self.value}
        arrays |= {} if self.mask is None else {"mask": self.mask}
        shown = [f"{name} {a.dtype.name}{a.shape}" for name, a in arrays.items()]
        for name, value in self.keywords.items():
            shown.append(f"{name} {value if np.size(value) < 5 else np.shape(value)}")
        return ", ".join([*shown, f"{self.isa}, {self.threads} threads"])

    def run(self) -> tuple[Array, Array]:
        """Return what fastattn makes of it: out and lse."""
        with using_isa(self.isa):
            return fa.attention(
                self.query,
                self.key,
                self.value,
                self.mask,
                return_lse=True,
                num_threads=self.threads,
                **self.keywords,
            )

    def operands(self, dtype: type) -> list[Array]:
        """Return query, key and value in `dtype`, leading dimensions broadcast."""
        arrays = [self.query, self.key, self.value]
        arrays = [x.astype(dtype) if x.ndim > 2 else x.astype(dtype)[None] for x in arrays]
        leading = np.broadcast_shapes(*(x.shape[:-3] for x in arrays))
        return [np.broadcast_to(x, (*leading, *x.shape[-3:])) for x in arrays]

    def scores(self, dtype: type, dims: Any = slice(None)) -> Array:
        """Return the masked scores in `dtype`, summed over `dims` in their order."""
        q, k, _ = self.operands(dtype)
        return reference.attention_scores(
            q[..., dims], k[..., dims], self.mask, **self.keywords
        )


def pick(rng: Generator, choices: Any) -> Any:
    """Draw one; how many there are does not change what is drawn next."""
    return choices[int(rng.random() * len(choices))]


def chance(rng: Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def read_only(x: Array) -> Array:
    x = x.copy()
    x.setflags(write=False)
    return x


# Where the elements of operands and masks lie.
LAYOUTS = [
    lambda x: x,
    read_only,
    lambda x: np.repeat(x, 2, -2)[..., ::2, :],
    lambda x: x[..., ::-1, :].copy()[..., ::-1, :],
    lambda x: np.concatenate([x, x], -1)[..., : x.shape[-1]],
    lambda x: x.swapaxes(0, -2).copy().swapaxes(0, -2),
    lambda x: np.repeat(x, 2, -1)[..., ::2],
    lambda x: x.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    lambda x: np.append(x.ravel()[:1], x.ravel())[1:].reshape(x.shape),
    lambda x: np.broadcast_to(x[:1], x.shape),
]


def narrowed(rng: Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Draw a shape that broadcasts to `shape`: ones, and leading dimensions left out."""
    ones = tuple(1 if chance(rng, 0.4) else size for size in shape)
    return ones[pick(rng, [0, 0, *range(len(shape) + 1)]) :]


def draw_operands(rng: Generator) -> list[Array]:
    """Draw query, key and value of two to five dimensions."""
    ndim = pick(rng, [2, 3, 4, 4, 4, 5])
    batch = tuple(pick(rng, [1, 2, 3]) for _ in range(ndim - 3))
    kv_heads = pick(rng, [1, 2, 3]) if ndim > 2 else 1
    heads = pick(rng, [1, 1, 2, 4]) * kv_heads if ndim > 2 else 1
    seqlen_q, seqlen_k = pick(rng, LENGTHS), pick(rng, LENGTHS)
    seqlen_q = min(seqlen_q, MOST_SCORES // (math.prod(batch) * heads * max(seqlen_k, 1)))
    dim = pick(rng, HEAD_DIMS)
    sizes = [(heads, seqlen_q, dim), (kv_heads, seqlen_k, dim)]
    sizes.append((kv_heads, seqlen_k, pick(rng, [dim, dim, 1, 5, 16, 33])))
    dtype = pick(rng, HALVES) if chance(rng, 0.4) else np.dtype(np.float32)
    operands = []
    for size, magnitude in zip(sizes, (pick(rng, [0.1, 1, 1, 3]), 1, 1), strict=True):
        leading = batch if chance(rng, 0.7) else narrowed(rng, batch)
        x = rng.standard_normal((*leading, *size), np.float32) * np.float32(magnitude)
        x = pick(rng, LAYOUTS)(x.astype(dtype))
        operands.append(x if ndim > 2 else x[0])
    if ndim > 2 and heads > kv_heads and max(x.ndim for x in operands) == 3:
        # Grouped heads need a dimension before them.
        return [x[None] for x in operands]
    return operands


def draw_mask(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Draw a mask that broadcasts to the scores, bool or floating, in some layout."""
    own = narrowed(rng, shape) or (1,)
    seen = rng.random(own) < pick(rng, [0.03, 0.5, 0.95, 1])
    bias = 3 * rng.standard_normal(own, np.float32)
    mask = np.where(seen, bias, np.float32(-np.inf)) if chance(rng, 0.5) else seen
    if mask.dtype != bool and chance(rng, 0.3):
        mask = mask.astype(pick(rng, HALVES))
    if chance(rng, 0.2):
        return np.broadcast_to(mask, shape)
    return pick(rng, LAYOUTS)(mask) if mask.ndim > 1 else np.repeat(mask, 3)[::3]


def draw_keywords(
    rng: Generator, leading: tuple[int, ...], heads: int, seqlen_q: int, seqlen_k: int
) -> dict[str, Any]:
    """Draw some of the keywords, each in three calls of ten."""
    side = [None, -1, 0, 3, 64, 70, 300]
    m = pick(rng, [0, 1, 5, 40, 200])
    slopes = pick(rng, [(heads,), (*leading, heads)])
    offset = rng.integers(-seqlen_q - 2, seqlen_k + 3, pick(rng, [(), leading]))
    every = {
        "causal": True,
        "query_offset": offset if np.ndim(offset) else int(offset),
        "window": (pick(rng, side), pick(rng, side)),
        "scale": pick(rng, [0.3, 1.0, 0.0, -0.5]),
        "softcap": pick(rng, [0.5, 5.0, 50.0]),
        "alibi_slopes": rng.random(slopes, np.float32),
        "distance_bias": rng.standard_normal((heads, 2 * m + 1), np.float32),
        "key_lengths": rng.integers(0, seqlen_k + 1, pick(rng, [(), leading])),
    }
    return {name: value for name, value in every.items() if chance(rng, 0.3)}


def send_far(rng: Generator, call: Call) -> None:
    """Take the mask and the keywords that are numbers to the ends of float32."""

    def far(x: Any) -> Any:
        with np.errstate(over="ignore"):
            y = np.clip(np.multiply(x, np.float32(pick(rng, ENDS))), -LARGEST, LARGEST)
        return np.where(np.isinf(x), x, y).astype(np.float32)

    if call.mask is not None and call.mask.dtype == np.float32:
        call.mask = far(call.mask)
    for name in ("alibi_slopes", "distance_bias"):
        if name in call.keywords:
            call.keywords[name] = far(call.keywords[name])
    for name in ("scale", "softcap"):
        if name in call.keywords:
            call.keywords[name] = float(far(call.keywords[name])) or 1e-45


def poison(rng: Generator, call: Call) -> None:
    """Put NaN at some keys or values, and NaN or infinity at keys that nobody sees."""
    seen = call.scores(np.float64) != -np.inf
    hidden = ~seen.any(axis=tuple(range(seen.ndim - 1)))
    some = rng.random(hidden.size) < pick(rng, [0, 0.01, 0.1])
    for name in ("key", "value"):
        x = getattr(call, name)
        x = x if x.flags.writeable else x.copy()
        x[..., hidden, :] = pick(rng, [np.nan, np.inf, -np.inf])
        if chance(rng, 0.5):
            x[..., some, :1] = np.nan
        setattr(call, name, x)


def draw(seed: int, index: int) -> Call:
    """Draw the call of a number: it depends on nothing but the two."""
    rng = np.random.default_rng([seed, index])
    query, key, value = draw_operands(rng)
    leading = np.broadcast_shapes(*(x.shape[:-3] for x in (query, key, value)))
    heads = query.shape[-3] if query.ndim > 2 else 1
    lengths = query.shape[-2], key.shape[-2]
    mask = None
    if chance(rng, 0.5):
        mask = draw_mask(rng, (*leading, heads, *lengths) if query.ndim > 2 else lengths)
    keywords = draw_keywords(rng, leading, heads, *lengths)
    isa, threads = pick(rng, _cpu.available_isas()), pick(rng, [1, 2, 3])
    call = Call(query, key, value, mask, keywords, isa, threads)
    if chance(rng, 0.2):
        send_far(rng, call)
    if chance(rng, 0.3):
        poison(rng, call)
    return call
