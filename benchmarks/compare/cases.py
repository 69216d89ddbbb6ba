"""What is measured: every row of the table of targets, and what the plots need."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..machine import memory_bytes
from ..operations import attention_flops, encoder_layer_flops, linear_flops
from .models import MINILM, SHAPES, model_flops

# all-MiniLM-L6-v2.
HIDDEN, INTERMEDIATE, LAYERS = 384, 1536, 6
LAYER_WEIGHTS = 4 * HIDDEN**2 + 2 * HIDDEN * INTERMEDIATE

LINEAR_ROWS = (1, 2, 4, 8, 16, 64, 128, 512, 4096)
LINEAR_SHAPES = ((384, 1536), (1536, 384), (384, 384), (1024, 4096))
MEMORY_ROWS = (1, 2, 4, 8)
ATTENTION_SHAPES = (
    (8, 12, 512, 64),
    (1, 12, 2048, 64),
    (1, 8, 4096, 128),
    (8, 12, 512, 32),
    (32, 12, 128, 64),
    (32, 12, 16, 32),
)
KEYWORD_SHAPES = ((8, 12, 512, 64), (1, 12, 2048, 64), (32, 12, 128, 64))
KEYWORDS = (
    "",  # the call that the others are compared with
    "bool mask",
    "float mask",
    "key_lengths",
    "causal",
    "window",
    "softcap",
    "alibi_slopes",
    "distance_bias",
    "float16",
    "bfloat16",
    "grouped queries",
)
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
DECODE = (1, 12, 1, 64)
DECODE_KEYS = 30_000
MINILM_SHAPES = ((1, 8), (1, 32), (1, 128), (8, 32), (32, 32), (8, 128), (2, 512))
# Beside them, for the plots over batch and length.
MINILM_MORE = ((1, 64), (1, 256), (1, 512), (2, 32), (4, 32), (16, 32))
WEIGHT_SHAPES = ((1, 8), (1, 32), (8, 32), (8, 128))
WEIGHT_FORMATS = ("float16", "bfloat16", "int8")
COMPUTE_LINEAR = ((512, 384, 1536), (512, 1536, 384))
COMPUTE_MINILM = ((1, 8), (1, 32), (8, 128))
TEXTS, FEW_TEXTS = 1000, 10
# Texts in a call of larger models, and documents of a reranker's query.
BASE_TEXTS, DOCUMENTS = 50, 50
# The rows of a corpus, and queries that are looked for together.
SEARCH_ROWS, SEARCH_QUERIES = (100_000, 1_000_000), (1, 32)
# What stands last is NumPy's own part of each of the calls before.
TINY = ("softmax", "layer_norm", "linear", "matmul", "attention", "array")

# With fewer threads than the most, these are measured of fastattn alone.
OF_FASTATTN_ALONE = {"keywords", "texts", "models", "ragged"}


class Case(NamedTuple):
    """One line of a table: an operation, its sizes, and the work in a call."""

    group: str  # the table it stands in
    operation: str  # the method of an implementation that prepares it
    shape: tuple[int, ...]
    option: str = ""  # a keyword of attention, a format of weights, a function, a model
    flops: float | None = None
    bytes: float | None = None  # read from memory, where that is the limit

    def __str__(self) -> str:
        """Name the case as the tables do."""
        sizes = self.shape
        joined = " x ".join(map(str, sizes)) if "linear" in self.operation else str(sizes)
        return f"{joined} {self.option}".strip()


# From the start of a process to the vector of its first text.
FIRST_VECTOR = Case("start", "texts", (1,))


def linear_case(rows: int, k: int, n: int) -> Case:
    """Make the case of a dense layer whose weight stays in a cache."""
    return Case("linear", "linear", (rows, k, n), flops=linear_flops(rows, k, n))


def memory_case(rows: int, k: int, n: int) -> Case:
    """Make the case of so many dense layers in turn that no weight stays in a cache."""
    weight = 4 * k * n
    copies = -(-memory_bytes() // weight)
    work = {"flops": copies * linear_flops(rows, k, n), "bytes": copies * weight}
    return Case("memory", "linear_from_memory", (rows, k, n, copies), **work)


def attention_case(shape: tuple[int, ...], option: str, group: str = "attention") -> Case:
    """Make a case of attention; what a mask hides counts as work all the same."""
    return Case(group, "attention", shape, option, flops=attention_flops(*shape))


def decode_case() -> Case:
    """Make the case of one query over many keys, as with a cache."""
    batch, heads, _, dim = DECODE
    flops = attention_flops(*DECODE, keys=DECODE_KEYS)
    read = 2 * 4 * batch * heads * DECODE_KEYS * dim
    return Case("decode", "attention", (*DECODE, DECODE_KEYS), flops=flops, bytes=read)


def minilm_case(shape: tuple[int, int], group: str = "minilm", weights: str = "") -> Case:
    """Make a case of MiniLM's forward pass; few tokens are as fast as weights are read."""
    flops = LAYERS * encoder_layer_flops(*shape, HIDDEN, INTERMEDIATE)
    read = None
    if not weights and shape[0] * shape[1] <= max(MEMORY_ROWS):
        read = 4 * LAYERS * LAYER_WEIGHTS
    return Case(group, "minilm", shape, weights, flops=flops, bytes=read)


def model_case(name: str, shape: tuple[int, int]) -> Case:
    """Make a case of the forward pass of one of the other models."""
    return Case("models", "model", shape, name, flops=model_flops(name, *shape))


def search_case(rows: int, queries: int) -> Case:
    """Make a case of search, where a single query waits for the corpus to be read."""
    work = {"flops": linear_flops(rows, HIDDEN, queries)}
    if queries == 1:
        work["bytes"] = 4 * rows * HIDDEN
    return Case("search", "search", (rows, HIDDEN, queries), **work)


def models_of(cases: Iterable[Case]) -> list[str]:
    """List the models that cases are of."""
    named = {"model", "texts", "rerank", "sparse"}
    names = {case.option or MINILM for case in cases if case.operation in named}
    if any(case.operation == "minilm" for case in cases):
        names.add(MINILM)
    return sorted(names)


def all_cases() -> Iterator[Case]:
    """Yield every case, table by table."""
    for k, n in LINEAR_SHAPES:
        yield from (linear_case(rows, k, n) for rows in LINEAR_ROWS)
    for k, n in LINEAR_SHAPES:
        yield from (memory_case(rows, k, n) for rows in MEMORY_ROWS)
    for shape in ATTENTION_SHAPES:
        yield from (attention_case(shape, option) for option in ("", "causal"))
    for length in LENGTHS:
        yield attention_case((1, 12, length, 64), "", "lengths")
    for shape in KEYWORD_SHAPES:
        yield from (attention_case(shape, option, "keywords") for option in KEYWORDS)
    yield decode_case()
    for tokens in MINILM_SHAPES:
        yield minilm_case(tokens)
    for tokens in MINILM_MORE:
        yield minilm_case(tokens, "sweep")
    for weights in WEIGHT_FORMATS:
        yield from (minilm_case(tokens, "weights", weights) for tokens in WEIGHT_SHAPES)
    for name, shapes in SHAPES.items():
        yield from (model_case(name, shape) for shape in shapes)
    for shape in COMPUTE_LINEAR:
        yield linear_case(*shape)._replace(group="compute")
    for tokens in COMPUTE_MINILM:
        yield minilm_case(tokens, "compute")
    yield Case("compute", "texts", (TEXTS,))
    yield Case("texts", "texts", (TEXTS,))
    yield Case("ragged", "rerank", (DOCUMENTS,), "reranker")
    yield Case("ragged", "sparse", (BASE_TEXTS,), "SPLADE")
    yield Case("ragged", "texts", (BASE_TEXTS,), "BERT base")
    for rows in SEARCH_ROWS:
        yield from (search_case(rows, queries) for queries in SEARCH_QUERIES)
    yield from (Case("tiny", "tiny", (1,), name) for name in TINY)
    yield FIRST_VECTOR


def quick_cases() -> Iterator[Case]:
    """Yield the two cheapest cases of each table, for a smoke run."""
    for group in GROUPS:
        cases = [case for case in all_cases() if case.group == group]
        cost = "shape" if group == "search" else "flops"  # rows take long to make
        for case in sorted(cases, key=lambda case: getattr(case, cost) or 0)[:2]:
            many = len(case.shape) == 1 and case.shape[0] > FEW_TEXTS
            yield case._replace(shape=(FEW_TEXTS,)) if many else case


GROUPS = tuple(dict.fromkeys(case.group for case in all_cases()))
