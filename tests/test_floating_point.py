"""The floating-point environment of the process: not fastattn's to change."""

from pathlib import Path

import numpy as np
import pytest
from calls import CALLS, MODEL
from floating_point import FLUSH, UPWARD, changed, control
from processes import printed

import fastattn as fa

EVERYTHING = {**CALLS, "encode": (MODEL.encode, lambda rng: {"inputs": ["one", "text"]})}


def test_import_leaves_it_alone():
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from floating_point import control

        before = control()
        import fastattn, fastattn.nn, fastattn.text
        print(control() == before)
    """
    assert printed(script) == "True"


# A thread is made with the environment of its maker and keeps it: none is made in those
# that are changed.
@pytest.mark.parametrize(
    ("bits", "threads"), [(0, 3), (UPWARD, 1), (FLUSH, 1)], ids=["0", "upward", "flush"]
)
@pytest.mark.parametrize("name", EVERYTHING)
def test_calls_leave_it_alone(name, bits, threads, isa):
    function, arguments = EVERYTHING[name]
    right = arguments(np.random.default_rng(0))
    right.pop("num_threads", None)
    before = control()
    with changed(bits):
        assert (control() != before) == (bits != 0)
        during = control()
        with fa.num_threads(threads):
            function(**right)
        assert control() == during
    assert control() == before
