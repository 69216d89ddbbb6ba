"""Check and time the five versions of softmax.md, as they stand in the page.

`python docs/measure_softmax.py` in the checkout takes the code out of the page, compiles
what is C with `cc` (or `$CC`), compares every version with float64 and prints the table of
the page. It takes half a minute, in which nothing else should run.
"""

import ctypes
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastattn as fa

PAGE = Path(__file__).parent / "softmax.md"
VERSION = re.compile(r"^## Version (\d: .*?)\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
C_BLOCK = re.compile(r"^```c\n(/\* (\S+) \*/\n.*?)^```$", re.MULTILINE | re.DOTALL)

COMPILER = os.environ.get("CC", "cc").split()
# Those of setup.py for arithmetic, and all instructions of this CPU.
FLAGS = "-O3 -std=c11 -ffp-contract=off -fno-math-errno -fno-trapping-math -march=native"

Floats = NDArray[np.float32]
Softmax = Callable[[Floats, Floats], object]
SHAPES = ((64, 512), (4096, 4096))
SECONDS = 12  # for each shape


def compiled(source: Path) -> Softmax:
    """Compile a file and give its function."""
    library = str(source.with_suffix(".so"))
    shared = ["-shared", "-fPIC", str(source), "-o", library, "-lm"]
    subprocess.run([*COMPILER, *FLAGS.split(), *shared], check=True)
    function = ctypes.CDLL(library).softmax
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    function.restype = None
    return lambda x, y: function(x.ctypes.data, y.ctypes.data, *x.shape)


def versions() -> dict[str, Softmax]:
    """Give the versions of the page by their headings, as functions of x and y."""
    found: dict[str, Softmax] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, section in VERSION.findall(PAGE.read_text(encoding="utf-8")):
            for code in PYTHON_BLOCK.findall(section):
                namespace: dict[str, Softmax] = {}
                exec(compile(code, str(PAGE), "exec"), namespace)
                found[name] = namespace["softmax"]
            for code, file in C_BLOCK.findall(section):
                source = Path(folder, file)
                source.write_text(code, encoding="utf-8")
                if source.suffix == ".c":
                    found[name] = compiled(source)
    return found


def scores(rows: int, cols: int) -> Floats:
    """Draw scores from a normal distribution of standard deviation 3."""
    return 3 * np.random.default_rng(0).standard_normal((rows, cols), np.float32)


def exact(x: Floats) -> NDArray[np.float64]:
    """Compute the weights in float64."""
    weights: NDArray[np.float64] = np.exp(x - x.max(axis=-1, keepdims=True).astype(float))
    return weights / weights.sum(axis=-1, keepdims=True)


def check(softmax: Softmax) -> None:
    """Compare a version with float64; rows that have no softmax must be NaN."""
    for rows, cols in ((1, 1), (3, 15), (5, 16), (7, 17), (64, 512), (3, 9001)):
        x = scores(rows, cols)
        x[0] += 1000  # e^1000 is infinite
        x[-1, 1::3] = -np.inf  # hidden
        y = np.full_like(x, np.nan)
        softmax(x, y)
        weights = exact(x)
        distance = np.where(weights > 0, x.max(axis=-1, keepdims=True) - x, 0)
        # The bound of accuracy.md, for a sum that is one chain of additions.
        bound = (distance + cols + 16) * 2.0**-24 * weights + 2.0**-126
        np.testing.assert_array_less(np.abs(y - weights), bound)
        np.testing.assert_array_equal(y[np.isinf(x)], 0)
    x = scores(3, 50)
    x[0, 20], x[1, 30], x[2] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        softmax(x, x)  # in place works, too
    np.testing.assert_array_equal(x, np.nan)


def checked_versions() -> dict[str, Softmax]:
    """Give the versions after checking them; with FMA the last two agree to the bit."""
    functions = versions()
    for softmax in functions.values():
        check(softmax)
    if fa.show_config("dicts")["instruction set"] in ("avx512", "avx2", "neon"):
        x = scores(50, 503)  # beyond 512 columns the kernel sums in blocks
        fourth, fifth = x.copy(), x.copy()
        for softmax, y in zip(list(functions.values())[-2:], (fourth, fifth), strict=True):
            softmax(x, y)
        np.testing.assert_array_equal(fourth, fifth)
    return functions


def measure(functions: dict[str, Softmax], rows: int, cols: int) -> dict[str, str]:
    """Time the functions in turns: the best in ns per element, the error in ulp."""
    x = scores(rows, cols)
    y = np.empty_like(x)
    weights = exact(x[:64])
    ulp = np.spacing(weights.astype(np.float32))
    best, error = dict.fromkeys(functions, float("inf")), dict.fromkeys(functions, 0.0)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for name, softmax in functions.items():
            start = time.perf_counter()
            softmax(x, y)
            best[name] = min(best[name], time.perf_counter() - start)
            error[name] = error[name] or (np.abs(y[:64] - weights) / ulp).max()
    return {name: f"{best[name] / x.size * 1e9:.2f} | {error[name]:.0f}" for name in best}


def main() -> None:
    """Print the table, and what it was measured on."""
    functions, threads = checked_versions(), fa.get_num_threads()

    def shared(x: Floats, y: Floats) -> None:
        with fa.num_threads(threads):
            fa.softmax(x, out=y)

    functions[f"5, on {threads} threads"] = shared
    with fa.num_threads(1):
        columns = [measure(functions, *shape) for shape in SHAPES]
    print("| version |" + "".join(f" {m} x {n}: ns | ulp |" for m, n in SHAPES))
    print("|---" * (1 + 2 * len(SHAPES)) + "|")
    for name in functions:
        print(f"| {name} |" + "".join(f" {column[name]} |" for column in columns))
    config = fa.show_config("dicts")
    compiler = subprocess.check_output([*COMPILER, "--version"], text=True).splitlines()[0]
    print(f"\n{config['cpu']}, {config['instruction set']}, {compiler},")
    print("Python {python}, NumPy {numpy}, fastattn {fastattn}".format(**config))


if __name__ == "__main__":
    main()
