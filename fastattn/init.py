"""Initial weights: small random numbers, by the rules of the papers.

Every function here takes a shape and a source of random numbers and gives float32. The
weight of a linear layer is (out_features, in_features): `fan_in`, the number of inputs
of a unit, is its second size and `fan_out`, the number of units it feeds, its first.

The rules keep the variance of activations (and of gradients) about the same from layer
to layer. A uniform distribution over [-b, b] has variance b**2 / 3, which is why the
bound of a uniform rule is sqrt(3) times the standard deviation of its normal twin.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .arrays import as_choice, as_index, as_number

__all__ = [
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Shape: TypeAlias = tuple[int, ...]
Seed: TypeAlias = Generator | int | None
Initializer: TypeAlias = Callable[[Shape, Generator], NDArray[np.float32]]


def normal(shape: Shape, rng: Seed = None, *, std: float = 0.02) -> NDArray[np.float32]:
    """Draw weights from a normal distribution with mean 0.

    Parameters
    ----------
    shape : tuple of int
        Any shape.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one; None means a fresh seed.
    std : float, default 0.02
        Standard deviation.

    Returns
    -------
    float32 array of `shape`
        The weights.

    References
    ----------
    Radford et al., "Improving Language Understanding by Generative Pre-Training"
    (2018), section 4.1, where 0.02 comes from; BERT took it over as
    `initializer_range`.

    Examples
    --------
    >>> from fastattn import init
    >>> init.normal((2, 3), rng=0).dtype
    dtype('float32')
    """
    draws = np.random.default_rng(rng).standard_normal(shape, np.float32)
    return draws * np.float32(as_number(std, "std"))


def xavier_uniform(
    shape: Shape, rng: Seed = None, *, gain: float = 1.0
) -> NDArray[np.float32]:
    """Draw weights by Glorot and Bengio's rule from a uniform distribution.

    Parameters
    ----------
    shape : tuple of two int
        (out_features, in_features), both positive.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one; None means a fresh seed.
    gain : float, default 1.0
        Factor on the bound; 1 is right for activations that are linear around 0.

    Returns
    -------
    float32 array of `shape`
        The weights, in [-b, b] with ``b = gain * sqrt(6 / (fan_in + fan_out))``.

    Raises
    ------
    ValueError
        When `shape` is not two positive sizes.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 16.

    Examples
    --------
    >>> from fastattn import init
    >>> bool(abs(init.xavier_uniform((2, 4), rng=0)).max() <= 1)
    True
    """
    fan_in, fan_out = _fans(shape)
    return _uniform(shape, rng, gain * math.sqrt(6 / (fan_in + fan_out)))


def xavier_normal(
    shape: Shape, rng: Seed = None, *, gain: float = 1.0
) -> NDArray[np.float32]:
    """Draw weights by Glorot and Bengio's rule from a normal distribution.

    Parameters
    ----------
    shape : tuple of two int
        (out_features, in_features), both positive.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one; None means a fresh seed.
    gain : float, default 1.0
        Factor on the standard deviation.

    Returns
    -------
    float32 array of `shape`
        The weights, with deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    Raises
    ------
    ValueError
        When `shape` is not two positive sizes.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 12.

    Examples
    --------
    >>> from fastattn import init
    >>> init.xavier_normal((2, 4), rng=0).shape
    (2, 4)
    """
    fan_in, fan_out = _fans(shape)
    return normal(shape, rng, std=gain * math.sqrt(2 / (fan_in + fan_out)))


def kaiming_uniform(
    shape: Shape, rng: Seed = None, *, negative_slope: float = 0.0
) -> NDArray[np.float32]:
    """Draw weights by He et al.'s rule from a uniform distribution.

    Parameters
    ----------
    shape : tuple of two int
        (out_features, in_features), both positive.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one; None means a fresh seed.
    negative_slope : float, default 0.0
        Slope of the activation below 0: 0 for ReLU.

    Returns
    -------
    float32 array of `shape`
        The weights, in [-b, b] with
        ``b = sqrt(3) * sqrt(2 / (1 + negative_slope**2)) / sqrt(fan_in)``.

    Raises
    ------
    ValueError
        When `shape` is not two positive sizes.

    References
    ----------
    He et al., "Delving Deep into Rectifiers" (2015), section 2.2: equation 10 for ReLU,
    equation 15 with a slope.

    Examples
    --------
    >>> from fastattn import init
    >>> bool(abs(init.kaiming_uniform((4, 6), rng=0)).max() <= 1)
    True
    """
    return _uniform(shape, rng, math.sqrt(3) * _kaiming_std(shape, negative_slope))


def kaiming_normal(
    shape: Shape, rng: Seed = None, *, negative_slope: float = 0.0
) -> NDArray[np.float32]:
    """Draw weights by He et al.'s rule from a normal distribution.

    Parameters
    ----------
    shape : tuple of two int
        (out_features, in_features), both positive.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one; None means a fresh seed.
    negative_slope : float, default 0.0
        Slope of the activation below 0: 0 for ReLU.

    Returns
    -------
    float32 array of `shape`
        The weights, with deviation
        ``sqrt(2 / (1 + negative_slope**2)) / sqrt(fan_in)``.

    Raises
    ------
    ValueError
        When `shape` is not two positive sizes.

    References
    ----------
    He et al., "Delving Deep into Rectifiers" (2015), section 2.2: equation 10 for ReLU,
    equation 15 with a slope.

    Examples
    --------
    >>> from fastattn import init
    >>> init.kaiming_normal((4, 6), rng=0).shape
    (4, 6)
    """
    return normal(shape, rng, std=_kaiming_std(shape, negative_slope))


def zeros(shape: Shape, rng: Seed = None) -> NDArray[np.float32]:
    """Make weights of zeros: for a layer whose weights are loaded right after.

    Parameters
    ----------
    shape : tuple of int
        Any shape.
    rng : optional
        Not used: nothing is drawn.

    Returns
    -------
    float32 array of `shape`
        Zeros.

    Examples
    --------
    >>> from fastattn import init
    >>> init.zeros((1, 2))
    array([[0., 0.]], dtype=float32)
    """
    return np.zeros(shape, np.float32)


INITIALIZERS: dict[str, Initializer] = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "normal": normal,
    "zeros": zeros,
}


def initializer(name: str) -> Initializer:
    """Find an initializer by its name."""
    return INITIALIZERS[as_choice(name, "init", INITIALIZERS)]


def torch_weight(shape: Shape, rng: Seed = None) -> NDArray[np.float32]:
    """Draw the weight that torch gives a linear layer: bound 1 / sqrt(fan_in).

    Torch writes it as `kaiming_uniform` with a slope of sqrt(5).
    """
    return kaiming_uniform(shape, rng, negative_slope=math.sqrt(5))


def torch_bias(shape: Shape, rng: Seed = None) -> NDArray[np.float32]:
    """Draw the bias (out_features,) that torch gives with a weight of this shape."""
    fan_in, fan_out = _fans(shape)
    return _uniform((fan_out,), rng, 1 / math.sqrt(fan_in))


def torch_embedding(shape: Shape, rng: Seed = None) -> NDArray[np.float32]:
    """Draw the table that torch gives an embedding."""
    return normal(shape, rng, std=1.0)


def _uniform(shape: Shape, rng: Seed, bound: float) -> NDArray[np.float32]:
    """Draw from the uniform distribution over [-bound, bound]."""
    draws = np.random.default_rng(rng).random(shape, np.float32)
    return (2 * draws - 1) * np.float32(as_number(bound, "the bound of the weights"))


def _kaiming_std(shape: Shape, negative_slope: float) -> float:
    """Compute the deviation that keeps the variance of activations."""
    fan_in, _ = _fans(shape)
    return math.sqrt(2 / (1 + negative_slope**2) / fan_in)


def _fans(shape: Shape) -> tuple[int, int]:
    """Read (fan_in, fan_out) off the shape of a weight."""
    if len(shape) != 2:
        raise ValueError(f"shape must be (out_features, in_features), got {shape}")
    fan_out, fan_in = (as_index(size, "a size in shape", 1) for size in shape)
    return fan_in, fan_out
