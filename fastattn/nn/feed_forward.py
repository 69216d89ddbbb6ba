"""The position-wise feed-forward network."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._cpu import Program
from ..init import Seed
from .layer import Layer, run_on_rows
from .linear import Linear
from .norm import Norm

__all__ = ["FeedForward"]

ACTIVATIONS = ("relu", "gelu", "gelu_tanh")


class FeedForward(Layer):
    """Two dense layers with an activation between: ``linear2(activation(linear1(x)))``.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    intermediate_size : int
        Size of the vector between.
    activation : {"relu", "gelu", "gelu_tanh"}, default "relu"
        "gelu" is the exact form with erf, "gelu_tanh" its approximation.
    bias : bool, default True
        Whether the dense layers have biases.
    init, rng : optional
        As for :class:`Linear`.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, or `activation` or `init` is unknown.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.3. Hendrycks and
    Gimpel, "Gaussian Error Linear Units" (2016), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.FeedForward(8, 32, "gelu", rng=0)
    >>> layer(np.ones((2, 5, 8), np.float32)).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        activation: str = "relu",
        *,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation must be one of {known}, got {activation!r}")
        rng = np.random.default_rng(rng)
        self.activation = activation
        self.linear1 = Linear(hidden_size, intermediate_size, bias, init=init, rng=rng)
        self.linear2 = Linear(intermediate_size, hidden_size, bias, init=init, rng=rng)

    def _children(self) -> Mapping[str, Layer]:
        return {"linear1.": self.linear1, "linear2.": self.linear2}

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Apply the network to vectors.

        Parameters
        ----------
        x : array_like of float32 (..., hidden_size)
            The vectors.

        Returns
        -------
        float32 array (..., hidden_size)
            ``linear2(activation(linear1(x)))``.

        Raises
        ------
        TypeError
            When `x` is an array of another dtype.
        ValueError
            When its last dimension is not `hidden_size`.
        """

        def steps(
            program: Program, rows: NDArray[np.float32], out: NDArray[np.float32]
        ) -> None:
            intermediate = np.empty((len(rows), self.linear1.out_features), np.float32)
            self.steps(program, rows, out, intermediate)

        return run_on_rows(x, self.linear1.in_features, self.linear2.out_features, steps)

    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        intermediate: NDArray[np.float32],
        *,
        residual: NDArray[np.float32] | None = None,
        norm: Norm | None = None,
    ) -> None:
        """Add out = norm(linear2(activation(linear1(x))) + residual) to a program.

        x, out and residual are (rows, hidden_size), intermediate is working memory
        (rows, intermediate_size). residual may be x; neither may overlap out.
        """
        self.linear1.steps(program, x, intermediate, activation=self.activation)
        self.linear2.steps(program, intermediate, out, residual=residual, norm=norm)
