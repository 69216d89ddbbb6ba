"""Attention as MiniLM and BERT-base call it, and of one long sequence."""

import baseline
import numpy as np
import pytest
from operations import attention_flops

import fastattn as fa


@pytest.mark.parametrize("shape", [(8, 12, 128, 32), (8, 12, 512, 64), (1, 12, 2048, 64)])
def bench_attention(measure, shape):
    qkv = np.random.default_rng(0).standard_normal((3, *shape), np.float32)
    functions = {
        "fastattn": lambda: fa.attention(*qkv),
        "numpy": lambda: baseline.attention(*qkv),
    }
    measure(f"attention {shape}", functions, flops=attention_flops(*shape))
