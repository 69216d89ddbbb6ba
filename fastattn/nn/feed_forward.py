"""The position-wise feed-forward network."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._program import Program
from .._rowwise import ACTIVATIONS
from ..arrays import as_choice, as_flag
from ..init import Seed
from ..keywords import in_our_words
from .buffers import empty_rows
from .layer import Layer, run_on_rows
from .linear import Linear, finish_part
from .norm import Norms
from .recorder import Kind

__all__ = ["FeedForward"]


class FeedForward(Layer):
    """Two dense layers with an activation between, or three with a gate.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    intermediate_size : int
        Size of the vector between.
    activation : str, default "relu"
        Activation of the vector between, as for :func:`fastattn.linear`.
    gated : bool, default False
        Whether one dense layer, activated, multiplies another (GLU): GEGLU with "gelu",
        SwiGLU with "silu", ReGLU with "relu".
    bias : bool, default True
        Whether the dense layers have biases.
    out_bias : bool, optional
        Whether the last one has a bias; by default as `bias` says.
    init, rng : optional
        As for :class:`Linear`.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, or `activation` or `init` is unknown.

    Notes
    -----
    Plain, with torch's names::

        y = linear2(activation(linear1(x)))

    Gated, with the names that Llama gave its layers and most models use since::

        y = down_proj(activation(gate_proj(x)) * up_proj(x))

    Where a checkpoint has gate and value in one matrix of 2 * `intermediate_size` rows,
    ModernBERT's ``Wi`` for example, its upper half is mostly the ``gate_proj``.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.3. Hendrycks and
    Gimpel, "Gaussian Error Linear Units" (2016), section 2. For gates: Shazeer, "GLU
    Variants Improve Transformer" (2020), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.FeedForward(8, 32, "gelu", rng=0)
    >>> layer(np.ones((2, 5, 8), np.float32)).shape
    (2, 5, 8)
    >>> swiglu = fa.nn.FeedForward(8, 20, "silu", gated=True, bias=False, rng=0)
    >>> list(swiglu.state_dict())
    ['gate_proj.weight', 'up_proj.weight', 'down_proj.weight']
    """

    @in_our_words
    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        activation: str = "relu",
        *,
        gated: bool = False,
        bias: bool = True,
        out_bias: bool | None = None,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        rng = np.random.default_rng(rng)
        self.activation = as_choice(activation, "activation", ACTIVATIONS)
        self.gated = as_flag(gated, "gated")
        self.linear1 = Linear(hidden_size, intermediate_size, bias, init=init, rng=rng)
        self.up_proj = None
        if self.gated:
            self.up_proj = Linear(hidden_size, intermediate_size, bias, init=init, rng=rng)
        out_bias = bias if out_bias is None else out_bias
        self.linear2 = Linear(intermediate_size, hidden_size, out_bias, init=init, rng=rng)
        self.linear2._uneven = False  # an activation makes others large in each row

    def _children(self) -> Mapping[str, Layer]:
        if self.up_proj is None:
            return {"linear1.": self.linear1, "linear2.": self.linear2}
        return {
            "gate_proj.": self.linear1,
            "up_proj.": self.up_proj,
            "down_proj.": self.linear2,
        }

    @property
    def hidden_size(self) -> int:
        """Size of an input and of an output vector."""
        return self.linear1.in_features

    @property
    def intermediate_size(self) -> int:
        """Size of the vector between."""
        return self.linear1.out_features

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Apply the network to vectors.

        Parameters
        ----------
        x : array_like of float32 (..., hidden_size)
            The vectors.

        Returns
        -------
        float32 array (..., hidden_size)
            The equation above.

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
            intermediate = empty_rows(len(rows), self.intermediate_size)
            self.steps(program, rows, out, intermediate)
            program.record("output", out, Kind.QUERIES)

        return run_on_rows(x, self.hidden_size, self.hidden_size, steps)

    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        intermediate: NDArray[np.float32],
        *,
        residual: NDArray[np.float32] | None = None,
        norms: Norms = Norms(),  # noqa: B008  it is a constant
    ) -> None:
        """Add out = after(inside(feed_forward(x)) + residual) to a program.

        x, out and residual are (rows, hidden_size), intermediate is working memory
        (rows, intermediate_size). residual may be x; neither may overlap out.
        """
        gate = None
        if self.up_proj is not None:
            self.up_proj.steps(program, x, intermediate)
            gate = intermediate
        self.linear1.steps(
            program, x, intermediate, activation=self.activation, factor=gate
        )
        program.record("intermediate", intermediate, Kind.QUERIES)
        finish_part(
            program, self.linear2, intermediate, out, residual, norms, "feed_forward"
        )
