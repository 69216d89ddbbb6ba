"""Layer normalisation, and the one around 0."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _rowwise
from .._program import Program
from ..arrays import as_choice, as_flag, as_number
from ..keywords import in_our_words
from .layer import Layer, positive, run_on_rows
from .torch_modules import attributes

__all__ = [
    "LayerNorm",
    "Norms",
    "RMSNorm",
    "RowNorm",
    "make_norm",
    "norm_from_torch",
    "normalise_heads",
]

# Weight, bias and eps of a layer normalisation that another step does at its end.
Norm: TypeAlias = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, float]


class RowNorm(Layer):
    """Base class of the layers that normalise each vector by itself."""

    dim: int

    @property
    def parameters_for_norm(self) -> Norm | None:
        """Weight, bias and eps, for a step that normalises its own result, or None."""
        return None

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Normalise vectors.

        Parameters
        ----------
        x : array_like of float32 (..., dim)
            The vectors.

        Returns
        -------
        float32 array (..., dim)
            The normalised vectors.

        Raises
        ------
        TypeError
            When `x` is an array of another dtype.
        ValueError
            When its last dimension is not `dim`.
        """
        return run_on_rows(x, self.dim, self.dim, self.steps)

    @abstractmethod
    def steps(
        self, program: Program, x: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        """Add the normalisation of rows (rows, dim) to a program; out may be x."""


class LayerNorm(RowNorm):
    """Layer normalisation: mean 0 and variance 1 for each vector, then an affine map.

    Parameters
    ----------
    dim : int
        Size of a vector.
    eps : float, default 1e-5
        Added to the variance.
    bias : bool, default True
        Whether a bias is added.

    Raises
    ------
    TypeError, ValueError
        When `dim` is not a positive integer or `eps` is not a finite number >= 0.

    Notes
    -----
    ``y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, with the variance of the
    population (divided by `dim`). The weight starts as 1, the bias as 0.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.nn.LayerNorm(2, eps=0.0)([[1.0, 3.0], [5.0, -5.0]])
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    @in_our_words
    def __init__(self, dim: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.dim = positive(dim, "dim")
        self.eps = as_number(eps, "eps")
        if self.eps < 0:
            raise ValueError(f"eps must not be negative, got {eps}")
        self._weights["weight"] = np.ones(self.dim, np.float32)
        if as_flag(bias, "bias"):
            self._weights["bias"] = np.zeros(self.dim, np.float32)

    @property
    def weight(self) -> NDArray[np.float32]:
        """The weight (dim,), read-only."""
        return self._read("weight")

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """The bias (dim,), read-only, or None."""
        return self._read("bias") if "bias" in self._weights else None

    @property
    def parameters_for_norm(self) -> Norm:
        """Weight, bias and eps, for a step that normalises its own result."""
        return self._weights["weight"], self._weights.get("bias"), self.eps

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a ``torch.nn.LayerNorm`` computes.

        Parameters
        ----------
        module : torch.nn.LayerNorm
            Its size, eps and weights are read; torch is not imported. One without
            weights (``elementwise_affine=False``) gets a weight of 1 and no bias.

        Returns
        -------
        LayerNorm
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When it normalises more than one dimension.
        """
        shape, eps, weight, bias = attributes(
            module, "LayerNorm", "normalized_shape", "eps", "weight", "bias"
        )
        layer = cls(_one_dim(shape), eps, bias is not None)
        if weight is not None:
            layer.load_state_dict(module.state_dict())
        return layer

    def steps(
        self, program: Program, x: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        """Add the normalisation of rows (rows, dim) to a program; out may be x."""
        weight, bias, eps = self.parameters_for_norm
        _rowwise.layer_norm(program, x, weight, bias, eps, out)


class RMSNorm(RowNorm):
    """Root mean square normalisation: each vector gets a mean square of 1, then a scale.

    Parameters
    ----------
    dim : int
        Size of a vector.
    eps : float, default 1e-6
        Added to the mean square.

    Raises
    ------
    TypeError, ValueError
        When `dim` is not a positive integer or `eps` is not a finite number >= 0.

    Notes
    -----
    ``y = x / sqrt(mean(x ** 2) + eps) * weight``. The weight starts as 1.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), section 4.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.nn.RMSNorm(2, eps=0.0)([[3.0, -3.0], [0.5, 0.5]])
    array([[ 1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    @in_our_words
    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.dim = positive(dim, "dim")
        self.eps = as_number(eps, "eps")
        if self.eps < 0:
            raise ValueError(f"eps must not be negative, got {eps}")
        self._weights["weight"] = np.ones(self.dim, np.float32)

    @property
    def weight(self) -> NDArray[np.float32]:
        """The weight (dim,), read-only."""
        return self._read("weight")

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a ``torch.nn.RMSNorm`` computes.

        Parameters
        ----------
        module : torch.nn.RMSNorm
            Its size, eps and weight are read; torch is not imported. An eps of None is
            that of float32, as in torch; one without a weight gets a weight of 1.

        Returns
        -------
        RMSNorm
            With a copy of the weight.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When it normalises more than one dimension.
        """
        shape, eps, weight = attributes(
            module, "RMSNorm", "normalized_shape", "eps", "weight"
        )
        # torch's default is the float32 eps.
        layer = cls(_one_dim(shape), 2.0**-23 if eps is None else eps)
        if weight is not None:
            layer.load_state_dict(module.state_dict())
        return layer

    def steps(
        self, program: Program, x: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        """Add the normalisation of rows (rows, dim) to a program; out may be x."""
        weight = self._weights["weight"]
        _rowwise.layer_norm(program, x, weight, None, self.eps, out, rms=True)


class Norms(NamedTuple):
    """The norms around a part of an encoder layer: after(x + inside(part(before(x)))).

    With `twice` the residual is added inside, too: after(x + inside(x + part(before(x)))).
    """

    before: RowNorm | None = None
    inside: RowNorm | None = None
    after: RowNorm | None = None
    twice: bool = False

    def named(self, number: int) -> dict[str, Layer]:
        """Give those that are there by the prefixes of their keys, as torch names them."""
        second = "norm" if self.before is None else "post_norm"
        names = (f"norm{number}.", f"inner_norm{number}.", f"{second}{number}.")
        pairs = zip(names, (self.before, self.inside, self.after), strict=True)
        return {name: norm for name, norm in pairs if norm is not None}


def make_norm(kind: str, dim: int, eps: float | None, bias: bool) -> RowNorm:
    """Make a norm, "layer" or "rms", which has no bias; eps None is its own default."""
    own = {} if eps is None else {"eps": eps}
    if as_choice(kind, "norm", ("layer", "rms")) == "rms":
        return RMSNorm(dim, **own)
    return LayerNorm(dim, bias=bias, **own)


def norm_from_torch(module: Any) -> RowNorm:
    """Make the norm that a torch.nn.LayerNorm or RMSNorm is."""
    kind = RMSNorm if type(module).__name__ == "RMSNorm" else LayerNorm
    return kind.from_torch(module)


def _one_dim(shape: Sequence[int]) -> int:
    """Give the size of the last dimension, the only one that can be normalised."""
    if len(shape) != 1:
        raise ValueError(f"only the last dimension can be normalised, not {tuple(shape)}")
    return shape[0]


def normalise_heads(program: Program, part: NDArray[np.float32], norm: RowNorm) -> None:
    """Add a norm of heads (tokens, heads, head_dim), in place: of each, or of all."""
    tokens, heads, head_dim = part.shape
    if norm.dim == head_dim:
        for h in range(heads):
            norm.steps(program, part[:, h], part[:, h])
        return
    # The heads of a token are adjacent.
    strides = part.strides[0], part.strides[2]
    rows = np.lib.stride_tricks.as_strided(part, (tokens, heads * head_dim), strides)
    norm.steps(program, rows, rows)
