"""The results as pictures."""

# Okabe and Ito's colours, told apart by everyone; fastattn has the darkest.
COLOURS = {
    "fastattn": "#000000",
    "NumPy": "#0072B2",
    "torch": "#D55E00",
    "ONNX Runtime": "#009E73",
    "ONNX Runtime, fused": "#56B4E9",
    "OpenVINO": "#CC79A7",
    "CTranslate2": "#E69F00",
    "sentence-transformers": "#999999",
}


def gflops(results, case, peer, threads=None):
    return case.flops / results.time(case, peer, threads) / 1e9


def draw_lines(axes, lines):
    """Draw speed over a size: peer -> [(size, GFLOP/s)]."""
    for peer, points in lines.items():
        width = 2.2 if peer == "fastattn" else 1.2
        style = {"color": COLOURS[peer], "linewidth": width, "marker": "o", "markersize": 3}
        axes.plot(*zip(*sorted(points), strict=True), label=peer, **style)
    sizes = sorted({size for points in lines.values() for size, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylabel("GFLOP/s")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False)


def over_size(axes, results, cases, size):
    """Draw speed over ``size(case)``, and the peak above it."""
    lines = {}
    for case in cases:
        for peer in results.peers(case):
            lines.setdefault(peer, []).append((size(case), gflops(results, case, peer)))
    draw_lines(axes, lines)
    axes.axhline(max(results.peak[results.most]), color="black", linestyle=":")


def attention_lengths(axes, results):
    over_size(axes, results, results.cases("lengths"), lambda case: case.shape[2])
    axes.set_xlabel("sequence length")
    axes.set_title("Attention, 12 heads of 64")


def minilm_cases(results):
    return results.cases("minilm") + results.cases("sweep")


def minilm_lengths(axes, results):
    cases = [case for case in minilm_cases(results) if case.shape[0] == 1]
    over_size(axes, results, cases, lambda case: case.shape[1])
    axes.set_xlabel("sequence length")
    axes.set_title("MiniLM, one text")


def minilm_batches(axes, results):
    cases = [case for case in minilm_cases(results) if case.shape[1] == 32]
    over_size(axes, results, cases, lambda case: case.shape[0])
    axes.set_xlabel("batch")
    axes.set_title("MiniLM, texts of 32 tokens")


def dense_rows(axes, results):
    cases = [case for case in results.cases("linear") if case.shape[1:] == (384, 1536)]
    over_size(axes, results, cases or results.cases("linear"), lambda case: case.shape[0])
    axes.set_xlabel("rows")
    axes.set_title("Dense layer, 384 to 1536")


def over_threads(axes, results):
    """Draw the speed of the largest MiniLM over threads."""
    case = max(results.cases("minilm"), key=lambda case: case.flops)
    lines = {}
    for other, peer, threads in results.seconds:
        if other == case:
            point = threads, gflops(results, case, peer, threads)
            lines.setdefault(peer, []).append(point)
    draw_lines(axes, lines)
    axes.set_xlabel("threads")
    axes.set_title(f"MiniLM {case}")


def fractions_of_peak(axes, results):
    """Draw a bar per case of attention and MiniLM, and a mark for the best peer."""
    cases = results.cases("attention") + results.cases("minilm")
    # Causal attention skips half of what the formula counts.
    cases = [case for case in cases if case.option != "causal"]
    places = range(len(cases))
    bars = [results.of_peak(case) for case in cases]
    axes.barh(places, bars, color="#BBBBBB", label="fastattn")
    best = [(place, case, results.best_peer(case)) for place, case in enumerate(cases)]
    for peer in dict.fromkeys(peer for _, _, peer in best if peer):
        marks = [(results.of_peak(c, peer), place) for place, c, p in best if p == peer]
        label = f"{peer}, where it is the best peer"
        axes.scatter(*zip(*marks, strict=True), color=COLOURS[peer], zorder=2, label=label)
    axes.set_yticks(places, [f"{case.group} {case}" for case in cases], fontsize="x-small")
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("fraction of FMA peak")
    axes.legend(fontsize="small", frameon=False)


PLOTS = {
    "attention_lengths": (attention_lengths, {"lengths"}),
    "minilm_lengths": (minilm_lengths, {"minilm"}),
    "minilm_batches": (minilm_batches, {"minilm"}),
    "linear_rows": (dense_rows, {"linear"}),
    "threads": (over_threads, {"minilm"}),
    "of_peak": (fractions_of_peak, {"attention", "minilm"}),
}


def draw_plots(results, folder):
    """Write an SVG per picture whose tables were measured; return their paths."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("svg")
    # The same file for the same results.
    matplotlib.rcParams["svg.hashsalt"] = "fastattn"
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (draw, groups) in PLOTS.items():
        if not all(results.cases(group) for group in groups):
            continue
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        draw(figure.subplots(), results)
        paths.append(folder / f"{name}.svg")
        figure.savefig(paths[-1], metadata={"Date": None})
    return paths
