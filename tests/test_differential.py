"""A few hundred of the random calls of attention; differential.py is the large run."""

import numpy as np
import pytest
from differential import judge
from support.attention_calls import Call, draw
from support.strategies import normal

SEED, COUNT, PARTS = 0, 240, 8


@pytest.mark.parametrize("part", range(PARTS))
def test_random_calls_keep_to_the_criterion(part):
    for number in range(part, COUNT, PARTS):
        call = draw(SEED, number)
        ratio, what = judge(call)
        assert ratio <= 1, f"call {number}: {what} of {call}"


def spoiled(out, lse, how):
    """Spoil a result whose first row sees no key, whose last row sees NaN."""
    match how:
        case "out":
            out[:, 1] *= np.float32(1 + 1e-5)
        case "lse":
            lse[:, 1] += np.float32(1e-5)
        case "NaN reaches a row":
            out[0, 1, 0] = np.nan
        case "NaN is lost":
            out[0, -1] = 0
        case "a hidden row is not 0":
            out[0, 0, 0] = 1e-45
        case "lse of a hidden row":
            lse[0, 0] = -1e38
        case "shape":
            out = out[:, 1:]
        case "dtype":
            out = out.astype(np.float64)
    return out, lse


SPOILED = ["out", "lse", "NaN reaches a row", "NaN is lost", "a hidden row is not 0"]
SPOILED += ["lse of a hidden row", "shape", "dtype"]


@pytest.mark.parametrize("how", [None, *SPOILED])
def test_the_judge_sees_what_is_wrong(monkeypatch, how):
    q, k, v = normal(3, 2, 20, 8)
    v[:, 18] = np.nan
    mask = np.arange(20) < np.arange(20)[:, None]
    call = Call(q, k, v, mask, {}, "portable", 1)
    run = Call.run
    monkeypatch.setattr(Call, "run", lambda self: spoiled(*run(self), how))
    assert (judge(call)[0] > 1) == (how is not None)
