"""`measure`, the fixture that every benchmark uses, and the table at the end."""

import os
import time
from collections import defaultdict

# NumPy's OpenBLAS reads these when it is loaded, and would then not be the one that
# users have.
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from machine import facts, peak_gflops  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

import fastattn as fa  # noqa: E402

# The threads of OpenBLAS and of OpenMP spin for some ten milliseconds after their work
# and would take the CPU from what is measured next.
PAUSE_SECONDS = 0.2

RESULTS = pytest.StashKey()
COLUMNS = (
    "operation",
    "threads",
    "fastattn, ms",
    "IQR, ms",
    "rate",
    "of peak",
    "NumPy, ms",
    "NumPy / fastattn",
)


def pytest_configure(config):
    config.stash[RESULTS] = defaultdict(dict)


@pytest.fixture(params=sorted({1, fa.get_num_threads()}), ids="threads={}".format)
def threads(request):
    return request.param


@pytest.fixture(params=["fastattn", "numpy"])
def implementation(request):
    return request.param


@pytest.fixture
def measure(request, benchmark, implementation, threads):
    """Time one implementation of an operation, once both have given the same result.

    ``measure(group, functions, flops=...)``: `functions` maps the implementations to
    calls without arguments, `flops` is the number of floating-point operations of one;
    `bytes_moved` stands in its place where memory is the limit.
    """

    def measure(group, functions, *, flops=None, bytes_moved=None):
        benchmark.group = group
        benchmark.extra_info.update(facts(), threads=threads)
        peak = benchmark.extra_info["peak GFLOP/s"] = peak_gflops(threads)
        with fa.num_threads(threads), threadpool_limits(threads):
            ours, theirs = functions["fastattn"](), functions["numpy"]()
            largest = float(np.abs(theirs).max())
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * largest)
            if benchmark.enabled:
                time.sleep(PAUSE_SECONDS)
            benchmark(functions[implementation])
        if not benchmark.enabled:
            return
        stats = benchmark.stats.stats
        if flops is None:
            benchmark.extra_info["GB/s"] = bytes_moved / stats.median / 1e9
        else:
            benchmark.extra_info["GFLOP/s"] = flops / stats.median / 1e9
            benchmark.extra_info["of peak"] = flops / stats.median / 1e9 / peak
        row = request.config.stash[RESULTS][group, threads]
        row[implementation] = stats, dict(benchmark.extra_info)

    return measure


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """Print what was measured as a Markdown table."""
    rows = config.stash[RESULTS]
    if not rows:
        return
    terminalreporter.section("fastattn beside NumPy, medians")
    print_line = terminalreporter.write_line
    for name, fact in facts().items():
        print_line(f"{name}: {fact}")
    print_line("")
    print_line(f"| {' | '.join(COLUMNS)} |")
    print_line("|---" * len(COLUMNS) + "|")
    for (group, threads), row in rows.items():
        if len(row) < 2:
            continue  # one of the two was not selected
        (ours, info), (theirs, _) = row["fastattn"], row["numpy"]
        unit = "GB/s" if "GB/s" in info else "GFLOP/s"
        share = f"{info['of peak']:.0%}" if "of peak" in info else ""
        cells = (
            group,
            threads,
            f"{ours.median * 1e3:.3g}",
            f"{ours.iqr * 1e3:.2g}",
            f"{info[unit]:.3g} {unit}",
            share,
            f"{theirs.median * 1e3:.3g}",
            f"{theirs.median / ours.median:.2f}",
        )
        print_line(f"| {' | '.join(map(str, cells))} |")
