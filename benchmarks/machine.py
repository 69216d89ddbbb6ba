"""The machine under the benchmarks: what it is, and the most that it can do."""

import ctypes
import functools
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

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

LAST_LEVEL_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


@functools.cache
def kernels():
    """Compile peak.c and bandwidth.c for the best instruction set of this CPU.

    Returns the library and the floating-point operations of a round of `multiply_add`.
    """
    best = fa.show_config("dicts")["instruction sets available"][0]
    flags, lanes, chains = INSTRUCTION_SETS[best]
    sources = [Path(__file__).with_name(name) for name in ("peak.c", "bandwidth.c")]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "kernels.so")
        optimise = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC"]
        sizes = [f"-DLANES={lanes}", f"-DCHAINS={chains}"]
        subprocess.run(
            [*COMPILER, *optimise, *flags, *sizes, *sources, "-o", library], check=True
        )
        loaded = ctypes.CDLL(str(library))
    loaded.multiply_add.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    loaded.multiply_add.restype = ctypes.c_float
    loaded.read_all.argtypes = [ctypes.c_void_p, ctypes.c_long]
    loaded.read_all.restype = ctypes.c_float
    return loaded, 2 * lanes * chains


def best_seconds(function, threads):
    """Time `function(thread)` on so many threads together, the best of several."""
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(REPEATS):
            start = time.perf_counter()
            list(pool.map(function, range(threads)))
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure_peak(threads):
    """Measure the most GFLOP/s that so many threads reach together."""
    library, operations = kernels()
    seconds = best_seconds(lambda _: library.multiply_add(ROUNDS, 0.5, 0.25), threads)
    return threads * ROUNDS * operations / seconds / 1e9


# Once is enough where the table is printed after a minute.
peak_gflops = functools.cache(measure_peak)


def memory_bytes():
    """Return how large an array has to be to come from memory, not from a cache.

    Twice the last cache, of which the half that is read next is never what is there;
    256 MB where that is unknown or small.
    """
    try:
        kilobytes = int(LAST_LEVEL_CACHE.read_text().strip().rstrip("K"))
    except OSError:
        kilobytes = 0
    return max(2 * kilobytes * 1024, 256 << 20)


def measure_bandwidth(threads, size=None):
    """Measure the GB/s that so many threads together read from memory.

    `size` is that of the array in bytes, by default :func:`memory_bytes`.
    """
    library, _ = kernels()
    part = (size or memory_bytes()) // 4 // threads
    arrays = [np.ones(part, np.float32) for _ in range(threads)]

    def read(thread):
        return library.read_all(arrays[thread].ctypes.data, part)

    return threads * part * 4 / best_seconds(read, threads) / 1e9


@functools.cache
def facts():
    """Describe the machine and the versions that a measurement belongs to."""
    import threadpoolctl

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
