"""RESULTS.md: what was measured, in tables that a sceptic can check."""

import datetime
import shlex
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import fastattn as fa

from ..machine import facts
from .cases import OF_FASTATTN_ALONE
from .peers import IMPLEMENTATIONS, PEERS
from .results import geometric_mean
from .targets import outcomes

TITLES = {
    "linear": "Dense layers, rows x in x out, weights packed once and in a cache",
    "memory": "Dense layers whose weights come from memory, rows x in x out x layers",
    "attention": "Attention, (batch, heads, length, head dim)",
    "lengths": "Attention over the length",
    "keywords": "Attention with keywords, beside the same mask in torch",
    "decode": "One query, (batch, heads, 1, head dim, keys)",
    "minilm": "MiniLM's forward pass, (batch, length)",
    "sweep": "More batches and lengths of MiniLM",
    "weights": "MiniLM with weights in other formats; the ratios are to its float32",
    "models": "Other models' forward pass, random weights, (batch, length)",
    "compute": "Lower precision: times as fast as fastattn in float32 (worst cosine to it)",
    "texts": "Texts of mixed length to vectors, tokenising included",
    "ragged": "Other models on texts of mixed length, tokenising included",
    "search": "The ten best rows of a corpus by dot product, (rows, values, queries)",
    "tiny": "Calls on tiny arrays; `array` is NumPy's creation of one",
    "start": "From the start of the process to the first vector",
}
READING = """\
Times are the shortest of all turns. The rate counts the operations of the formula: a
multiply-add is 2, a softmax or an activation nothing; what a mask hides counts. Peak is
what chains of multiply-adds reach in this run, bandwidth what sums over an array larger
than the caches read, the better of before and after. A column of a peer is its time
over fastattn's: below 1 (in bold) the peer is faster. The peers' results agreed with
fastattn's before anything was timed. Of ModernBERT what its windows hide does not count,
nor of DeBERTa what its distances add."""


def table(header, rows):
    """Format a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g}"


def times(ratio):
    """Format a ratio to a peer, in bold where the peer wins."""
    return f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**"


def rate_cells(results, case, threads):
    """Give the rate of fastattn and its part of what the machine can do."""
    seconds = results.time(case, threads=threads)
    if case.bytes:
        share = results.of_bandwidth(case, threads=threads)
        return [f"{case.bytes / seconds / 1e9:.3g} GB/s", f"{share:.0%} of bandwidth"]
    if case.flops:
        share = results.of_peak(case, threads=threads)
        return [f"{case.flops / seconds / 1e9:.3g} GFLOP/s", f"{share:.0%} of peak"]
    return ["", ""]


def group_table(results, group, threads):
    """Make the table of a group: a line per case, a column per peer."""
    cases = results.cases(group, threads)
    measured = {peer for case in cases for peer in results.peers(case, threads)}
    peers = [peer for peer in PEERS if peer in measured and peer != "fastattn"]
    rows = []
    for case in cases:
        seconds = results.time(case, threads=threads)
        row = [case, milliseconds(seconds), *rate_cells(results, case, threads)]
        taking_part = results.peers(case, threads)
        for peer in peers:
            shown = peer in taking_part
            row.append(times(results.ratio(case, peer, threads)) if shown else "")
        rows.append(row)
    header = ["", "fastattn, ms", "rate", "share", *(f"{peer} /" for peer in peers)]
    if len(cases) > 1 and group not in OF_FASTATTN_ALONE | {"tiny"}:
        means = []
        for peer in peers:
            ratios = [
                results.ratio(case, peer, threads)
                for case in cases
                if peer in results.peers(case, threads)
            ]
            means.append(times(geometric_mean(ratios)))
        rows.append(["geometric mean", "", "", "", *means])
    return table(header, rows)


def keyword_table(results):
    """Compare each keyword with the same call without it, and with torch."""
    cases = results.cases("keywords")
    plain = {case.shape: results.time(case) for case in cases if not case.option}
    rows = []
    for case in cases:
        seconds, has_torch = results.time(case), "torch" in results.peers(case)
        over = f"{seconds / plain[case.shape]:.2f}" if case.shape in plain else ""
        torch = times(results.ratio(case, "torch")) if has_torch else ""
        rows.append([case, milliseconds(seconds), over, torch])
    return table(["", "fastattn, ms", "over no keyword", "torch /"], rows)


def weights_table(results):
    """Compare formats of weights with float32, in speed and in direction."""
    float32 = {case.shape: results.time(case) for case in results.cases("minilm")}
    rows = [
        [
            case,
            milliseconds(results.time(case)),
            f"{float32[case.shape] / results.time(case):.2f}"
            if case.shape in float32
            else "",
            f"{results.cosines[case]:.7f}",
        ]
        for case in results.cases("weights")
    ]
    return table(["", "fastattn, ms", "float32 /", "worst cosine"], rows)


def compute_table(results, threads):
    """Compare what computes in a lower precision with fastattn's float32."""
    peers = [name for name in results.runs_in if name != "fastattn"]
    rows = []
    for case in results.cases("compute", threads):
        seconds = results.time(case, threads=threads)
        row = [f"{case.operation} {case}", milliseconds(seconds)]
        for peer in peers:
            shown = ""
            if peer in results.peers(case, threads):
                ratio = 1 / results.ratio(case, peer, threads)
                shown = f"{ratio:.2f} ({results.cosines[case, peer]:.5f})"
            row.append(shown)
        rows.append(row)
    rows.append(["computed in", "", *(results.runs_in[peer] for peer in peers)])
    return table(["", "fastattn, float32, ms", *peers], rows)


def start_table(results):
    """List the time and the memory up to the first vector."""
    rows = [
        [
            peer,
            f"{results.time(case, peer):.2f}",
            f"{results.memory[peer] / 1e6:.0f}",
        ]
        for case in results.cases("start")
        for peer in results.peers(case)
    ]
    return table(["", "seconds", "MB resident at most"], rows)


def target_table(results):
    """Say for each target what was measured and whether it was met."""
    avx512 = fa.show_config("dicts")["instruction set"] == "avx512"
    rows = []
    for outcome in outcomes(results, avx512):
        target = f"{outcome.what}: {outcome.wanted}"
        if not outcome.values:
            continue  # left out of the run, or nobody to compare with
        name, value = outcome.worst()
        count, met = len(outcome.values), outcome.met()
        verdict = "yes" if met == count else f"no ({met} of {count})" if met else "no"
        rows.append([target, f"{value:.3g}, {name}", verdict])
    return table(["target", "measured, the worst case", "met"], rows)


def limits_table(results):
    """Show peak and bandwidth before and after."""
    rows = [
        [threads, f"{before:.0f}, {after:.0f}", f"{slow:.1f}, {fast:.1f}"]
        for threads in results.peak
        for before, after in [results.peak[threads]]
        for slow, fast in [results.bandwidth[threads]]
    ]
    return table(
        ["threads", "peak before, after, GFLOP/s", "read before, after, GB/s"], rows
    )


def versions(missing):
    """Describe what was measured, a line each."""
    distributions = packages_distributions()
    for name, fact in facts().items():
        yield f"- {name}: {fact}"
    for peer, packages in missing.items():
        if packages:
            yield f"- {peer}: not installed ({', '.join(packages)})"
            continue
        name = IMPLEMENTATIONS[peer].packages[0]
        try:
            yield f"- {peer}: {version(distributions.get(name, [name])[0])}"
        except PackageNotFoundError:  # fastattn, in its checkout
            continue


def group_sections(results, group):
    """Yield the section of one group."""
    counts = [count for count in results.peak if results.cases(group, count)]
    if not counts:
        return
    yield f"## {TITLES[group]}"
    special = {"keywords": keyword_table, "weights": weights_table, "start": start_table}
    if group in special:
        yield special[group](results)
        return
    for threads in counts:
        yield f"Threads: {threads}."
        if group == "compute":
            yield compute_table(results, threads)
        else:
            yield group_table(results, group, threads)


def write_report(results, path, images, missing, minutes):
    """Write the report; `images` are files below its folder."""
    command = shlex.join(["python", "-m", __package__, *sys.argv[1:]])
    parts = [
        "# fastattn beside its peers",
        f"Made by `{command}` on {datetime.date.today()} in {minutes:.0f} minutes.",
        "\n".join(versions(missing)),
        limits_table(results),
        READING,
        "## Targets",
        target_table(results),
        *(f"![{image.stem}]({image.relative_to(path.parent)})" for image in images),
    ]
    for group in TITLES:
        parts += group_sections(results, group)
    path.write_text("\n\n".join(parts) + "\n")
