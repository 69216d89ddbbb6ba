"""The dense layer."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _gemm, _rowwise
from .._program import Program
from ..arrays import as_flag
from ..init import Seed, initializer, torch_bias, torch_weight
from ..keywords import in_our_words
from .layer import Layer, draw_packed, positive, run_on_rows
from .norm import Norms, RowNorm
from .recorder import Kind
from .torch_modules import attributes

__all__ = ["Linear", "finish_part"]


class Linear(Layer):
    """A dense layer: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of an input and of an output vector.
    bias : bool, default True
        Whether a bias is added.
    init : str, optional
        How the weight is drawn: "xavier_uniform", "xavier_normal", "kaiming_uniform",
        "kaiming_normal", "normal" or "zeros" (:mod:`fastattn.init`); the bias is then
        0, as in the papers. By default both are drawn as torch does, from [-b, b] with
        ``b = 1 / sqrt(in_features)``.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer or `init` is unknown.

    Notes
    -----
    The weight is packed once, into the layout that the kernels read; it may be stored in
    fewer bytes (:meth:`store_weights_as`). The result for a vector is the same to the bit
    whatever other vectors are in `x`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.Linear(4, 2, rng=0)
    >>> layer(np.ones((3, 5, 4), np.float32)).shape
    (3, 5, 2)
    """

    @in_our_words
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features")
        self.out_features = positive(out_features, "out_features")
        rng = np.random.default_rng(rng)
        draw = torch_weight if init is None else initializer(init)
        shape = self.out_features, self.in_features
        self._weights["weight"] = draw_packed(draw, shape, rng)
        if as_flag(bias, "bias"):
            zeros = np.zeros(self.out_features, np.float32)
            self._weights["bias"] = torch_bias(shape, rng) if init is None else zeros

    @property
    def weight(self) -> NDArray[np.float32]:
        """The weight (out_features, in_features), unpacked into a read-only array."""
        return self._read("weight")

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """The bias (out_features,), read-only, or None."""
        return self._read("bias") if "bias" in self._weights else None

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a ``torch.nn.Linear`` computes.

        Parameters
        ----------
        module : torch.nn.Linear
            Its sizes and weights are read; torch is not imported.

        Returns
        -------
        Linear
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        """
        inputs, outputs, bias = attributes(
            module, "Linear", "in_features", "out_features", "bias"
        )
        layer = cls(inputs, outputs, bias is not None, init="zeros")
        layer.load_state_dict(module.state_dict())
        return layer

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Apply the layer to vectors.

        Parameters
        ----------
        x : array_like of float32 (..., in_features)
            The vectors.

        Returns
        -------
        float32 array (..., out_features)
            ``x @ weight.T + bias``.

        Raises
        ------
        TypeError
            When `x` is an array of another dtype.
        ValueError
            When its last dimension is not `in_features`.
        """
        return run_on_rows(x, self.in_features, self.out_features, self.steps)

    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        *,
        activation: str | None = None,
        factor: NDArray[np.float32] | None = None,
        residual: NDArray[np.float32] | None = None,
        norm: RowNorm | None = None,
    ) -> None:
        """Add out = norm(activation(x weight^T + bias) * factor + residual) to a program.

        x is (rows, in_features); out, factor and residual are (rows, out_features).
        factor may be out; neither x nor residual may overlap out.
        """
        fused = None if norm is None else norm.parameters_for_norm
        _gemm.linear(
            program,
            x,
            self._weights["weight"],
            out,
            bias=self._weights.get("bias"),
            activation=activation,
            factor=factor,
            residual=residual,
            norm=fused,
        )
        if norm is not None and fused is None:
            norm.steps(program, out, out)

    def fold_steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        starts: NDArray[np.int64],
        out: NDArray[np.float32],
        *,
        activation: str | None = None,
        add: bool = False,
    ) -> None:
        """Add out[i] = max over the rows of sequence i of activation(x weight^T + bias), 0.

        With `add` it is their sum. `starts` says where each sequence starts, and the last
        one ends. The values of all rows are never stored.
        """
        _gemm.fold(
            program,
            x,
            self._weights["weight"],
            starts,
            out,
            bias=self._weights.get("bias"),
            activation=activation,
            add=add,
        )


def finish_part(
    program: Program,
    linear: Linear,
    x: NDArray[np.float32],
    out: NDArray[np.float32],
    residual: NDArray[np.float32] | None,
    norms: Norms,
    name: str,
) -> None:
    """Add out = after(inside(linear(x)) + residual), the end of a part of a layer.

    With norms.twice it is after(inside(linear(x) + residual) + residual).

    Mostly it is one step. A recorder sees the values on the way under names that start
    with `name`; the bits are the same.
    """
    recorder = program.recorder
    if recorder is None and norms.inside is None:
        linear.steps(program, x, out, residual=residual, norm=norms.after)
        return
    seen = recorder is not None and recorder.wants(f"{name}_output")
    fused = residual if norms.inside is None and not seen else None
    linear.steps(program, x, out, residual=residual if norms.twice else fused)
    program.record(f"{name}_output", out, Kind.QUERIES)
    if norms.inside is not None:
        norms.inside.steps(program, out, out)
    if residual is not None:
        if fused is None:
            rows = np.arange(len(out))
            _rowwise.embed(program, (out, residual), (rows, rows), out)
        program.record(f"{name}_sum", out, Kind.QUERIES)
    if norms.after is not None:
        norms.after.steps(program, out, out)
        program.record(f"{name}_norm", out, Kind.QUERIES)
