"""The targets, and whether a run met them."""

from typing import NamedTuple

from .cases import ATTENTION_SHAPES, DECODE, FIRST_VECTOR, MINILM_SHAPES
from .models import WINDOWED
from .results import geometric_mean

# What the targets allow attention where there is no AVX-512: fewer registers.
WITHOUT_AVX512 = 0.04
# A parallel region and its end take microseconds: shorter calls cannot double.
SHORTEST_SCALING = 1e-3


class Outcome(NamedTuple):
    """One line: what was wanted, and what came out, by case."""

    what: str
    wanted: str
    bound: float
    values: dict[str, float]
    at_most: bool = False

    def met(self):
        """Return how many of the values are within the bound."""
        if self.at_most:
            return sum(value <= self.bound for value in self.values.values())
        return sum(value >= self.bound for value in self.values.values())

    def worst(self):
        """Return the name and the value of the case furthest from the target."""
        choose = max if self.at_most else min
        name = choose(self.values, key=self.values.get)
        return name, self.values[name]


def of_peak(results, what, bound, cases):
    values = {str(case): results.of_peak(case) for case in cases}
    return Outcome(what, f"{bound:.2f} of peak", bound, values)


def of_bandwidth(results, what, bound, cases):
    values = {str(case): results.of_bandwidth(case) for case in cases}
    return Outcome(what, f"{bound:.2f} of the read bandwidth", bound, values)


def times_peer(results, what, bound, cases, peer=None, mean=False):
    """Compare with a peer, the best one by default; each case, or their geometric mean."""
    ratios = {}
    for case in cases:
        other = peer or results.best_peer(case)
        if other in results.peers(case):
            ratios[str(case)] = results.ratio(case, other)
    name = peer or "the best peer"
    if mean and ratios:
        ratios = {"geometric mean": geometric_mean(list(ratios.values()))}
    return Outcome(what, f"{bound} x {name}", bound, ratios)


def linear_targets(results):
    cases = results.cases("linear")
    many = [case for case in cases if case.shape[0] >= 64]
    few = [case for case in cases if case.shape[0] == 16]
    yield of_peak(results, "GEMM, packed weights, 64 rows or more", 0.92, many)
    yield of_peak(results, "GEMM, packed weights, 16 rows", 0.80, few)
    memory = results.cases("memory")
    yield of_bandwidth(results, "GEMM, 1-8 rows, weights from memory", 0.85, memory)


def attention_targets(results, avx512):
    cases = results.cases("attention")
    full = {case.shape: case for case in cases if not case.option}
    fractions = zip(ATTENTION_SHAPES, (0.84, 0.88, 0.86, 0.74, 0.72, 0.45), strict=True)
    for shape, bound in fractions:
        bound -= 0 if avx512 else WITHOUT_AVX512
        chosen = [full[shape]] if shape in full else []
        yield of_peak(results, f"attention {shape}", bound, chosen)
    first = [full[shape] for shape in ATTENTION_SHAPES[:3] if shape in full]
    yield times_peer(results, "attention, the first three", 1.25, first, "torch")
    yield times_peer(results, "attention, the first two", 2.8, first[:2], "NumPy")
    for length, bound in (512, 0.60), (2048, 0.55):
        causal = {
            str(case): results.time(case) / results.time(full[case.shape])
            for case in cases
            if case.option and case.shape in full and length <= case.shape[2] < 4 * length
        }
        what = f"attention, causal, length {length}{' or more' if length > 512 else ''}"
        wanted = f"at most {bound:.2f} of the full time"
        yield Outcome(what, wanted, bound, causal, at_most=True)
    longer = [case for case in cases if case.shape != ATTENTION_SHAPES[-1]]
    what = "attention, five longer shapes, full and causal"
    yield times_peer(results, what, 1.4, longer, "torch", mean=True)
    short = [case for case in cases if case not in longer and not case.option]
    yield times_peer(results, f"attention {ATTENTION_SHAPES[-1]}", 4, short, "torch")
    what = f"one query {DECODE}, 30,000 keys"
    yield of_bandwidth(results, what, 0.85, results.cases("decode"))


def minilm_targets(results):
    cases = {case.shape: case for case in results.cases("minilm")}
    many = [case for shape, case in cases.items() if shape[0] * shape[1] >= 256]
    yield of_peak(results, "MiniLM, 256 tokens or more", 0.88, many)
    yield times_peer(results, "MiniLM, 256 tokens or more", 1.12, many)
    yield of_peak(
        results, "MiniLM, 32 tokens", 0.78, [cases[1, 32]] if (1, 32) in cases else []
    )
    one = [cases[1, 8]] if (1, 8) in cases else []
    yield of_bandwidth(results, "MiniLM, 1 x 8", 0.85, one)
    half = {
        str(case): results.time(one[0], results.best_peer(one[0])) / results.time(case)
        for case in results.cases("weights")
        if one and case.shape == (1, 8) and case.option == "float16"
        if results.best_peer(one[0])
    }
    yield Outcome("MiniLM, 1 x 8, float16 weights", "1.6 x the best peer", 1.6, half)
    every = [cases[shape] for shape in MINILM_SHAPES if shape in cases]
    yield times_peer(results, "MiniLM, all seven shapes", 1.18, every, mean=True)


def text_targets(results):
    what = "1,000 texts, tokenising included"
    cases = results.cases("texts")
    sorted_best = {
        str(case): results.ratio(case, peer)
        for case in cases
        if (peer := results.best_peer(case, without=["sentence-transformers"]))
    }
    wanted = "1.35 x the best peer fed sorted batches"
    yield Outcome(what, wanted, 1.35, sorted_best)
    yield times_peer(results, what, 2.5, cases, "sentence-transformers")
    first = results.cases(FIRST_VECTOR.group)
    seconds = {str(case): results.time(case) for case in first}
    what = "from the start of the process to the first vector"
    yield Outcome(what, "at most 0.5 s", 0.5, seconds, at_most=True)
    memory = {str(case): results.memory["fastattn"] / 1e6 for case in first}
    yield Outcome(what, "at most 130 MB resident", 130, memory, at_most=True)


def model_targets(results):
    """Yield those of the other models: equal lengths, long windows, ragged work."""
    cases = results.cases("models")
    long = [case for case in cases if case.option == WINDOWED and case.shape[1] >= 2048]
    equal = [case for case in cases if case not in long]
    yield times_peer(results, "other models, equal lengths", 1.05, equal)
    yield times_peer(results, f"{WINDOWED}, 2,048 tokens", 1.5, long)
    ragged = results.cases("ragged")
    yield times_peer(results, "other models, ragged, sorted for the peers", 1.25, ragged)


def search_targets(results):
    cases = results.cases("search")
    one = [case for case in cases if case.bytes]
    many = [case for case in cases if not case.bytes]
    yield of_bandwidth(results, "search, one query", 0.9, one)
    yield times_peer(results, "search, 32 queries", 1.25, many, "faiss, tuned")
    yield times_peer(results, "search, 32 queries", 1.54, many, "NumPy")
    if results.most > 1:
        values = {str(case): results.speedup(case) for case in many}
        what = f"search, 32 queries, {results.most} threads over 1"
        wanted = 0.85 * results.most
        yield Outcome(what, f"{wanted:.3g} x", wanted, values)


def general_targets(results):
    compute, memory = {}, {}
    ratio = results.most and max(results.bandwidth[results.most]) / max(
        results.bandwidth[min(results.bandwidth)]
    )
    scaled = [
        case
        for case, peer, threads in results.seconds
        if (peer, threads) == ("fastattn", 1) and results.most > 1
        if results.time(case, threads=1) > SHORTEST_SCALING and case.group != "search"
    ]
    for case in scaled:
        name = f"{case.group} {case}"
        if case.bytes:
            memory[name] = results.speedup(case) / ratio
        else:
            compute[name] = results.speedup(case)
    what, wanted = f"{results.most} threads over 1", 0.95 * results.most
    yield Outcome(f"{what}, compute-bound", f"{wanted:.3g} x", wanted, compute)
    yield Outcome(f"{what}, memory-bound", "0.95 of the bandwidths' ratio", 0.95, memory)
    cases = {case.option: results.time(case) for case in results.cases("tiny")}
    array = cases.pop("array", 0)
    over = {name: (seconds - array) * 1e6 for name, seconds in cases.items()}
    what = "a tiny call, without NumPy's creation of an array"
    yield Outcome(what, "at most 5 us", 5, over, at_most=True)


def outcomes(results, avx512):
    """Yield every line of the table of targets."""
    yield from linear_targets(results)
    yield from attention_targets(results, avx512)
    yield from minilm_targets(results)
    yield from model_targets(results)
    yield from text_targets(results)
    yield from search_targets(results)
    yield from general_targets(results)
