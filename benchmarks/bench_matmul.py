"""Products: a dense layer, whose weight is packed once, and `matmul`, which packs."""

import baseline
import numpy as np
import pytest
from operations import linear_flops

import fastattn as fa

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "m, k, n",
    [(32, 384, 1536), (512, 384, 1536), (512, 1536, 384), (512, 768, 3072)],
)
def bench_linear(measure, m, k, n):
    layer = fa.nn.Linear(k, n, rng=RNG)
    x = RNG.standard_normal((m, k), np.float32)
    weight, bias = layer.weight, layer.bias
    functions = {
        "fastattn": lambda: layer(x),
        "numpy": lambda: baseline.linear(x, weight, bias),
    }
    measure(f"linear {m} x {k} x {n}", functions, flops=linear_flops(m, k, n))


@pytest.mark.parametrize("n", [256, 1024])
def bench_matmul(measure, n):
    a, b = RNG.standard_normal((2, n, n), np.float32)
    functions = {"fastattn": lambda: fa.matmul(a, b), "numpy": lambda: a @ b}
    measure(f"matmul {n} x {n} x {n}", functions, flops=linear_flops(n, n, n))
