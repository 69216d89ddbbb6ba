"""Fields about attention that several families have."""

from pathlib import Path

import numpy as np
import pytest

import fastattn as fa
from fastattn.models.checkpoint import Settings
from fastattn.models.families import attention


def settings_of(**fields):
    return Settings(Path("config.json"), fields)


def test_kinds_of_layers():
    def kinds(**fields):
        return attention.read_kinds(settings_of(**fields), 3, lambda i: i > 0)

    full, sliding = attention.FULL, attention.SLIDING
    assert kinds() == kinds(layer_types=None) == [full, sliding, sliding]
    assert kinds(layer_types=[sliding, full, full]) == [sliding, full, full]
    for wrong in ([full], [full, full, "chunked_attention"], [full, full, []], full):
        with pytest.raises(fa.ModelFormatError, match="layer_types must be"):
            kinds(layer_types=wrong)


def rope(kind, **more):
    return {"rope_type": kind, **more}


FREQUENCIES = [1, 100**-0.5]


@pytest.mark.parametrize(
    ("fields", "rotary"),
    [
        ({}, 9.0),
        ({"rope_theta": 100}, 100.0),
        ({"rope_parameters": rope("default", rope_theta=100)}, 100.0),
        ({"rope_parameters": {"rope_theta": 100}, "rope_theta": 7}, 100.0),
        ({"rope_scaling": None, "rope_parameters": {"rope_theta": 100}}, 100.0),
        (
            {"rope_scaling": rope("linear", factor=4), "rope_theta": 100},
            np.divide(FREQUENCIES, 4),
        ),
        (
            {"rope_scaling": {"type": "ntk", "factor": 4.0}, "rope_theta": 25.0},
            np.divide(FREQUENCIES, 2),
        ),
    ],
)
def test_rotary_positions(fields, rotary):
    np.testing.assert_allclose(
        attention.read_rotary(settings_of(**fields), 4, 9.0), rotary, rtol=1e-15
    )


def test_rotary_positions_of_a_kind_of_layers():
    def read(kind, **fields):
        return attention.read_rotary_of(
            kind, settings_of(**fields), 4, f"{kind}_theta", 9.0
        )

    new = {"rope_parameters": {"a": rope("default", rope_theta=100.0), "b": None}}
    assert read("a", **new) == 100
    assert read("b", **new) == 9
    assert read("b", **new, b_theta=3.0) == 3
    linear = {"rope_parameters": {"a": rope("linear", factor=2.0, rope_theta=100.0)}}
    np.testing.assert_allclose(read("a", **linear), np.divide(FREQUENCIES, 2))
    with pytest.raises(fa.ModelFormatError, match="rope_scaling is not read: say it"):
        read("a", rope_scaling=rope("linear", factor=2.0))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rope_scaling": rope("yarn", factor=4.0)}, "rope_scaling: rope_type must be"),
        ({"rope_scaling": rope("linear")}, "rope_scaling: factor is missing"),
        (
            {"rope_parameters": rope("linear", factor=0.5)},
            "s: factor must be from 1",
        ),
        ({"rope_parameters": 3}, "rope_parameters must be an object, got 3"),
        ({"rope_theta": 0.5}, "rope_theta must be from 1"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1"),
    ],
)
def test_rotary_positions_that_are_not_known(fields, problem):
    with pytest.raises(fa.ModelFormatError, match=problem):
        attention.read_rotary(settings_of(**fields), 4, 9.0)


def test_heads_that_have_no_pairs_are_not_turned():
    with pytest.raises(fa.ModelFormatError, match="head_dim must be even"):
        attention.read_rotary(settings_of(), 5, 9.0)
