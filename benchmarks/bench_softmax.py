"""Softmax of rows as long as sequences are."""

import baseline
import numpy as np
import pytest

import fastattn as fa


@pytest.mark.parametrize("rows, cols", [(12288, 128), (6144, 512)])
def bench_softmax(measure, rows, cols):
    x = np.random.default_rng(0).standard_normal((rows, cols), np.float32)
    functions = {
        "fastattn": lambda: fa.softmax(x),
        "numpy": lambda: baseline.softmax(x),
    }
    measure(f"softmax {rows} x {cols}", functions, bytes_moved=2 * x.nbytes)
