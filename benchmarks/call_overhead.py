"""Instructions per call on small arrays, counted by valgrind: overhead without a clock.

``python benchmarks/call_overhead.py`` prints a line per function and fails when one takes
more than its bound. Counts of two runs differ by a few instructions, on a busy machine
too. They include Python and NumPy, so the bounds are those of CPython 3.11 and NumPy 2.4.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Measured with AVX2 kernels, which valgrind knows, and rounded up by up to a tenth: a call
# on a busy machine looks for signals more often.
# Of two builds of CPython 3.11 it was the slower: Debian's takes an eighth less.
# What a causal mask hides in a block of 64 keys, and what six layers of an encoder spend in
# Python between their kernels, show in the last two.
BOUNDS = {
    "softmax": 32_700,
    "linear": 33_400,
    "attention": 82_000,
    "weights": 350_000,
    "pairs": 370_000,
    "dots": 147_000,
    "column": 175_000,
    "row": 105_000,
    "plain weight": 167_000,
    "causal": 281_000,
    "encoder": 600_000,
}
CALLS = 100
# A full collection of garbage takes as long as three calls of an encoder: there is none.
SCRIPT = """
import gc
import sys
import numpy as np
import fastattn as fa

gc.disable()

x, heads = np.ones((1, 8), np.float32), np.ones((3, 1, 1, 2, 8), np.float32)
block, many = np.ones((3, 1, 64, 64), np.float32), np.ones((1, 1, 1024, 8), np.float32)
pairs, rows = np.ones((200, 4, 4), np.float32), np.ones((200, 64), np.float32)
row, square = np.ones((1, 256), np.float32), np.ones((256, 256), np.float32)
layer, encoder = fa.nn.Linear(8, 8, rng=0), fa.nn.Encoder(16, 2, 32, 6, rng=0)
tokens = np.ones((1, 2, 16), np.float32)
calls = {
    "softmax": lambda: fa.softmax(x),
    "linear": lambda: layer(x),
    "attention": lambda: fa.attention(*heads),
    "weights": lambda: fa.attention_weights(heads[0], many),
    "pairs": lambda: fa.matmul(pairs, pairs),
    "dots": lambda: fa.matmul(rows[:, None], rows[..., None]),
    "column": lambda: fa.matmul(square, square[:, :1]),
    "row": lambda: fa.matmul(row, square),
    "plain weight": lambda: fa.linear(row, square),
    "causal": lambda: fa.attention(*block, causal=True),
    "encoder": lambda: encoder(tokens),
}
for call in calls.values():
    call()
name, count = sys.argv[1:]
for _ in range(int(count)):
    calls[name]()
"""


def instructions(name, calls):
    """Count the instructions of a program that calls a function so many times."""
    settings = {
        "FASTATTN_ISA": "avx2",  # valgrind has no AVX-512
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/counts",
                *(sys.executable, "-c", SCRIPT, name, str(calls)),
            ],
            capture_output=True,
            check=True,
            env={**os.environ, **settings},
            text=True,
        )
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def main():
    start, too_many = instructions("linear", 0), []
    for name, bound in BOUNDS.items():
        count = (instructions(name, CALLS) - start) // CALLS
        print(f"{name}: {count} instructions per call, at most {bound}")
        if count > bound:
            too_many.append(name)
    if too_many:
        sys.exit(f"more instructions per call than allowed: {', '.join(too_many)}")


if __name__ == "__main__":
    main()
