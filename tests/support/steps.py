"""Each kernel as a function: a program of one step, run at once."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastattn import _gemm, _packed, _rowwise
from fastattn._program import Program

Array = NDArray[Any]


def run(step: Callable[..., Any], *arguments: Any, num_threads: int = 1, **keywords: Any):
    """Run a program that is this step alone."""
    program = Program(num_threads=num_threads)
    step(program, *arguments, **keywords)
    program.run()


def linear(x, weight, out=None, **keywords: Any) -> Array:
    if not isinstance(weight, _packed.PackedMatrix):
        weight = _packed.PackedMatrix(weight)
    out = np.empty((len(x), weight.shape[0]), np.float32) if out is None else out
    run(_gemm.linear, x, weight, out, **keywords)
    return out


def fold(x, weight, cu_seqlens, out=None, **keywords: Any) -> Array:
    if not isinstance(weight, _packed.PackedMatrix):
        weight = _packed.PackedMatrix(weight)
    if out is None:
        out = np.empty((len(cu_seqlens) - 1, weight.shape[0]), np.float32)
    run(_gemm.fold, x, weight, cu_seqlens, out, **keywords)
    return out


def softmax(x, out=None, **keywords: Any) -> Array:
    out = np.empty(x.shape, np.float32) if out is None else out
    run(_rowwise.softmax, x, out, **keywords)
    return out


def layer_norm(x, weight=None, bias=None, eps=1e-5, out=None, **keywords: Any) -> Array:
    out = np.empty(x.shape, np.float32) if out is None else out
    run(_rowwise.layer_norm, x, weight, bias, eps, out, **keywords)
    return out


def activate(x, activation, out=None, **keywords: Any) -> Array:
    out = np.empty(x.shape, np.float32) if out is None else out
    run(_rowwise.activate, x, activation, out, **keywords)
    return out


def embed(tables, ids, norm=None, out=None, **keywords: Any) -> Array:
    if out is None:
        out = np.empty((len(ids[0]), tables[0].shape[1]), np.float32)
    run(_rowwise.embed, tables, ids, out, norm=norm, **keywords)
    return out


def pool(x, cu_seqlens, pooling="mean", normalize=False, out=None, **keywords) -> Array:
    if out is None:
        out = np.empty((len(cu_seqlens) - 1, x.shape[1]), np.float32)
    run(_rowwise.pool, x, cu_seqlens, pooling, out, normalize=normalize, **keywords)
    return out


def sinusoid(length, dim, base=10000.0, **keywords: Any) -> Array:
    out = np.empty((length, dim), np.float32)
    run(_rowwise.sinusoid, base, out, **keywords)
    return out


def rotary(x, cos, sin, positions, interleaved=False, **keywords: Any) -> Array:
    out = x.copy()
    run(_rowwise.rotary, out, cos, sin, positions, interleaved=interleaved, **keywords)
    return out


def promised(function: Callable[..., Any], pattern: str) -> list[float]:
    """Read the numbers of a promise where it is made: in the docstring."""
    text = " ".join(str(function.__doc__).split())
    found = re.search(pattern, text)
    assert found, f"{function.__name__} does not promise {pattern!r}"
    # "2**-20" is a number in a docstring.
    parts = [number.split("**") for number in found.groups()]
    return [float(base) ** float(*power or [1]) for base, *power in parts]
