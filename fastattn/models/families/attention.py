"""Fields about attention that several families have: rotary positions, kinds of layers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checkpoint import Settings

# What the tokens of a layer see, in the words of config.json.
FULL, SLIDING = "full_attention", "sliding_attention"

# The highest base, and the highest factor that positions are scaled by, that are read.
HIGHEST_BASE = 2.0**40
HIGHEST_FACTOR = 2.0**20


def read_kinds(settings: Settings, count: int, slides: Callable[[int], bool]) -> list[str]:
    """Read which layers see all and which a window; unless it is said, ask `slides`."""
    if not settings.has("layer_types"):
        return [SLIDING if slides(i) else FULL for i in range(count)]
    kinds: list[str] = settings.get("layer_types", list)
    if len(kinds) != count or any(kind not in (FULL, SLIDING) for kind in kinds):
        raise settings.wrong("layer_types", f"{count} of {FULL} and {SLIDING}", kinds)
    return kinds


def read_rotary(settings: Settings, dim: int, theta: float) -> Any:
    """Read the rotary positions of all layers.

    Parameters
    ----------
    settings : Settings
        The config.json: rope_parameters, or as it once was rope_theta and rope_scaling.
    dim : int
        The size of a head.
    theta : float
        The base where none is said.

    Returns
    -------
    float or array (dim / 2,)
        What :class:`fastattn.nn.MultiHeadAttention` takes as `rotary`.
    """
    old = settings.fields.get("rope_scaling")
    rope = settings.get_object("rope_scaling" if old else "rope_parameters")
    return _rotary(settings, rope, dim, "rope_theta", theta)


def read_rotary_of(
    kind: str, settings: Settings, dim: int, field: str, theta: float
) -> Any:
    """Read the rotary positions of the layers of one kind, as :func:`read_rotary` does.

    `field` is what their base was once called.
    """
    if settings.has("rope_scaling"):
        cure = "say it for each kind of layers in rope_parameters"
        raise settings.error("rope_scaling", f"is not read: {cure}")
    rope = settings.get_object("rope_parameters").get_object(kind)
    return _rotary(settings, rope, dim, field, theta)


def _rotary(settings: Settings, rope: Settings, dim: int, field: str, theta: float) -> Any:
    """Read what says how heads are turned: a base, or frequencies."""
    for where in (settings, rope):
        if where.get_float("partial_rotary_factor", 1.0) != 1:
            raise where.error("partial_rotary_factor", "must be 1: heads are turned whole")
    if dim % 2:
        raise settings.error("head_dim", f"must be even, for pairs are turned, got {dim}")
    theta = settings.get_float(field, theta, 1.0, HIGHEST_BASE)
    base = rope.get_float("rope_theta", theta, 1.0, HIGHEST_BASE)
    name = "rope_type" if rope.has("rope_type") else "type"
    scaling = rope.get_choice(name, ("default", "linear", "ntk"), "default")
    if scaling == "default":
        return base
    factor = rope.get_float("factor", lowest=1.0, highest=HIGHEST_FACTOR)
    pairs = np.arange(0, dim, 2) / dim
    if scaling == "linear":
        return base**-pairs / factor
    if rope.has("mixed_b"):
        raise rope.error("mixed_b", "is not read")
    # The base is raised, and what is left to reach the factor goes to all frequencies.
    return (base * factor) ** -pairs / factor ** (2 / dim)
