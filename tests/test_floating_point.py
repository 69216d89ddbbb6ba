"""The floating-point environment of the process: not fastattn's to change."""

from pathlib import Path

import numpy as np
import pytest
from support.calls import CALLS, MODEL
from support.floating_point import FLUSH, UPWARD, changed, control
from support.processes import printed

import fastattn as fa

EVERYTHING = {**CALLS, "encode": (MODEL.encode, lambda rng: {"inputs": ["one", "text"]})}


def test_import_leaves_it_alone():
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from support.floating_point import control

        before = control()
        import fastattn, fastattn.nn, fastattn.text
        print(control() == before)
    """
    assert printed(script) == "True"


@pytest.mark.parametrize("bits", [0, UPWARD, FLUSH], ids=["0", "upward", "flush"])
@pytest.mark.parametrize("name", EVERYTHING)
def test_calls_leave_it_alone(name, bits, isa):
    function, arguments = EVERYTHING[name]
    right = arguments(np.random.default_rng(0))
    right.pop("num_threads", None)
    before = control()
    with changed(bits):
        assert (control() != before) == (bits != 0)
        during = control()
        with fa.num_threads(3):
            function(**right)
        assert control() == during
    assert control() == before


@pytest.mark.parametrize("bits", [UPWARD, FLUSH], ids=["upward", "flush"])
def test_threads_compute_in_that_of_their_caller(bits):
    # A thread begins with what its maker has: they are made in one, and work in another.
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        import fastattn as fa
        from support.floating_point import changed

        x = np.random.default_rng(0).standard_normal((2000, 100), np.float32)
        x[::2] *= np.float32(1e-39)

        def same():
            with fa.num_threads(1):
                alone = fa.gelu(x)
            with fa.num_threads(3):
                return (fa.gelu(x) == alone).all()

        with changed({bits}):
            first = same()
        print(first, same())
    """
    assert printed(script) == "True True"
