"""The pooling of sparse encoders: a weight for every word of the vocabulary."""

from numpy import float32, int64
from numpy.typing import NDArray

from .. import _rowwise, nn
from .._program import Program

__all__ = ["ACTIVATIONS", "POOLINGS", "splade_steps"]

# What sentence-transformers calls them: whether words are summed over the tokens, and how
# many times their scores go through log(1 + relu(score)).
POOLINGS = {"max": False, "sum": True}
ACTIVATIONS = {"relu": 1, "log1p_relu": 2}


def splade_steps(
    program: Program,
    words: nn.Linear,
    x: NDArray[float32],
    starts: NDArray[int64],
    out: NDArray[float32],
    *,
    pooling: str = "max",
    activation: str = "relu",
) -> None:
    """Add out[text, word] = the max or sum over its tokens of log(1 + relu(words(x))).

    x is (tokens, hidden), packed; `starts` (texts + 1,) says where the tokens of each text
    start; out is (texts, words), contiguous, zeros where a text has no token. The scores of
    all tokens are never stored. The logarithm does not change which score is the largest,
    so that the maximum goes through it once. With "log1p_relu", the activation of
    OpenSearch's models, it is taken twice; of a sum that is not known.
    """
    times = ACTIVATIONS[activation]
    if POOLINGS[pooling]:
        if times > 1:
            raise ValueError(f"activation {activation!r} needs pooling 'max'")
        words.fold_steps(program, x, starts, out, activation="log1p_relu", add=True)
        return
    words.fold_steps(program, x, starts, out)
    flat = out.reshape(-1)
    for _ in range(times):
        _rowwise.activate(program, flat, "log1p_relu", flat)
