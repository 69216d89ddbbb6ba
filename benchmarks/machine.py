"""The machine under the benchmarks: what it is, and the most that it can compute."""

import ctypes
import functools
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import threadpoolctl

import fastattn as fa

# Instruction set -> compiler flags, lanes of a vector, chains of multiply-adds. Two
# multiply-adds per cycle of 4 to 5 cycles need 10 chains, four of 4 cycles need 16; a
# chain takes a register and two registers hold the constants, out of 16 or of 32.
INSTRUCTION_SETS = {
    "avx512": (["-mavx512f"], 16, 24),
    "avx2": (["-mavx2", "-mfma"], 8, 12),
    "sse2": ([], 4, 12),
    "neon": ([], 4, 24),
    "portable": ([], 4, 12),
}
COMPILER = os.environ.get("CC", "cc").split()

# Tens of milliseconds: long beside the start of a thread. The best of several counts,
# the others were disturbed.
ROUNDS = 5_000_000
REPEATS = 7


@functools.cache
def multiply_add():
    """Compile peak.c for the best instruction set of this CPU.

    Returns the C function and the floating-point operations of one of its rounds.
    """
    best = fa.show_config("dicts")["instruction sets available"][0]
    flags, lanes, chains = INSTRUCTION_SETS[best]
    source = Path(__file__).with_name("peak.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "peak.so")
        optimise = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC"]
        sizes = [f"-DLANES={lanes}", f"-DCHAINS={chains}"]
        subprocess.run(
            [*COMPILER, *optimise, *flags, *sizes, source, "-o", library], check=True
        )
        function = ctypes.CDLL(str(library)).multiply_add
    function.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    function.restype = ctypes.c_float
    return function, 2 * lanes * chains


@functools.cache
def peak_gflops(threads):
    """Measure the most GFLOP/s that so many threads reach together."""
    function, operations = multiply_add()

    def run(_):
        return function(ROUNDS, 0.5, 0.25)

    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(REPEATS):
            start = time.perf_counter()
            list(pool.map(run, range(threads)))
            seconds.append(time.perf_counter() - start)
    return threads * ROUNDS * operations / min(seconds) / 1e9


@functools.cache
def facts():
    """Describe the machine and the versions that a measurement belongs to."""
    config = fa.show_config("dicts")
    compiler = subprocess.run(
        [*COMPILER, "--version"], check=True, capture_output=True, text=True
    )
    kernels = {
        library["architecture"]
        for library in threadpoolctl.threadpool_info()
        if library["internal_api"] == "openblas"
    }
    return {
        "cpu": config["cpu"],
        "instruction set": config["instruction set"],
        "fastattn": config["fastattn"],
        "numpy": config["numpy"],
        "openblas kernels": ", ".join(sorted(kernels)) or "none",
        "compiler": compiler.stdout.splitlines()[0],
    }
