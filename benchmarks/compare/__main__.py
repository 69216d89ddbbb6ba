"""The command line: ``python -m benchmarks.compare --help``."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import fastattn as fa
from fastattn.models.locate import locate

from ..machine import measure_bandwidth, measure_peak
from .cases import (
    FIRST_VECTOR,
    GROUPS,
    OF_FASTATTN_ALONE,
    all_cases,
    models_of,
    quick_cases,
)
from .peers import COMPUTE, IMPLEMENTATIONS, LOW_PRECISION, PEERS, Settings
from .plots import draw_plots
from .report import write_report
from .results import Results
from .runner import ROOT, Runner

MODEL = "all-MiniLM-L6-v2"
QUICK_SECONDS = 0.001
EPILOG = """
Every implementation runs in a process of its own and is stopped while another is
measured. All get the same inputs and the same number of threads, and nothing is timed
before their results agree. Peers that are not installed are left out;
benchmarks/requirements-peers.txt has them all. Linux only.
"""


def add_choice(parser):
    """Add the options that say what is measured."""
    parser.add_argument(
        "--only",
        nargs="+",
        choices=GROUPS,
        default=GROUPS,
        metavar="TABLE",
        help=f"measure these tables only, of {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        default=list(PEERS),
        metavar="PEER",
        help=f"measure these beside fastattn, of {'; '.join(list(PEERS)[1:])}",
    )
    parser.add_argument(
        "--compute",
        nargs="*",
        choices=list(COMPUTE),
        default=list(COMPUTE),
        metavar="PRECISION",
        help=f"what the table compute measures of fastattn, of {', '.join(COMPUTE)}",
    )


def add_timing(parser):
    """Add the options that say how long, and by which clock."""
    parser.add_argument(
        "--rounds", type=int, default=4, help="turns of each, the best counts (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.1, help="length of a turn (%(default)s)"
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the time that a process computes: for one thread, where others use the"
        " machine, too",
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Measure fastattn beside the libraries that people run encoders with.",
        epilog=EPILOG,
    )
    add_choice(parser)
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        default=sorted({1, fa.get_num_threads()}),
        metavar="N",
        help="numbers of threads; the targets are about the largest (%(default)s)",
    )
    add_timing(parser)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two cheap cases of each table, one short turn: shows that everything runs",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "benchmarks",
        help="folder that gets RESULTS.md and images/, or a file in it ending in .md"
        " (benchmarks)",
    )
    options = parser.parse_args(arguments)
    if options.cpu_time and options.threads != [1]:
        parser.error("--cpu-time needs --threads 1")
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure_limits(results):
    """Measure what the machine can do, before and after everything else."""
    for threads in results.peak:
        results.peak[threads].append(measure_peak(threads))
        results.bandwidth[threads].append(measure_bandwidth(threads))
        say(
            f"{threads} threads: {results.peak[threads][-1]:.0f} GFLOP/s, "
            f"{results.bandwidth[threads][-1]:.1f} GB/s"
        )


def export(names, peers, model, folder):
    """Write models with random weights, and all models in the formats of the peers."""
    if not all(find_spec(package) for package in ("torch", "transformers")):
        return
    packages = {package for peer in peers for package in IMPLEMENTATIONS[peer].packages}
    command = [sys.executable, "-m", f"{__package__}.export", model, folder]
    subprocess.run(
        [*command, ",".join(sorted(packages)), *names],
        cwd=ROOT,
        check=True,
        stdout=sys.stderr,
    )


def low_precision(compute, peers):
    """Name fastattn in float32 and in lower precisions, and the peers that have one."""
    ours = ["fastattn", *(f"fastattn, {precision}" for precision in compute)]
    theirs = [name for name in LOW_PRECISION if not name.startswith("fastattn")]
    return ours + [name for name in theirs if name.split(",")[0] in peers]


def measure(options, peers, exports):
    """Run everything that was asked for."""
    results = Results(options.threads)
    model = str(locate(MODEL))
    rounds, seconds = options.rounds, options.seconds
    cases = all_cases()
    if options.quick:
        rounds, seconds, cases = 1, QUICK_SECONDS, quick_cases()
    cases = [case for case in cases if case.group in options.only]
    export(models_of(cases), peers, model, exports)
    runner = Runner(
        results, Settings(0, model, exports, options.cpu_time), rounds, seconds, say
    )
    measure_limits(results)
    for threads in options.threads:
        taking_part = dict.fromkeys(GROUPS, peers)
        if threads < results.most:
            taking_part |= {group: ["fastattn"] for group in OF_FASTATTN_ALONE}
        taking_part["compute"] = low_precision(options.compute, peers)
        chosen = [(case, taking_part[case.group]) for case in cases if case != FIRST_VECTOR]
        runner.run(chosen, threads)
    if FIRST_VECTOR in cases:
        runner.start(FIRST_VECTOR, peers, results.most)
    measure_limits(results)
    return results


def main(arguments=None):
    options = parse(arguments)
    began = time.monotonic()
    # As in the processes that are measured.
    os.environ.pop("OPENBLAS_CORETYPE", None)
    missing = {peer: PEERS[peer].missing() for peer in PEERS}
    peers = [p for p in PEERS if p == "fastattn" or (p in options.peers and not missing[p])]
    for peer, packages in missing.items():
        if packages:
            say(f"{peer}: not installed ({', '.join(packages)})")
    with tempfile.TemporaryDirectory() as exports:
        results = measure(options, peers, exports)
    minutes = (time.monotonic() - began) / 60
    report = options.output
    if report.suffix != ".md":
        report /= "RESULTS.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    images = draw_plots(results, report.parent / "images")
    write_report(results, report, images, missing, minutes)
    say(f"wrote {report} after {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
