"""What the tests share: instruction sets, a tiny model, and how hypothesis searches."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.bits import using_isa
from support.folders import TINY, copy_tiny
from support.torch_stub import make_torch

import fastattn
from fastattn import _cpu

# Programs that tests start use the package that is tested, not the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = str(Path(fastattn.__file__).parents[1])

# A shell ignores SIGINT in what it starts in the background, nohup ignores SIGHUP, and so
# would our programs.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Pictures are drawn into memory, and no window opens, in doctests neither.
os.environ["MPLBACKEND"] = "agg"

settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    # The instruction set stays the same for all examples of a test.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


@pytest.fixture(params=_cpu.available_isas())
def isa(request):
    """Run the test on each instruction set that this machine has, portable included."""
    with using_isa(request.param):
        yield request.param


@pytest.fixture(scope="module")
def model():
    """Load the tiny model, once for a file."""
    return fastattn.load(TINY)


@pytest.fixture
def folder(tmp_path):
    """Copy the folder of the tiny model, to change it."""
    return copy_tiny(tmp_path)


@pytest.fixture
def torch(monkeypatch):
    """Let a stub be imported as torch."""
    module = make_torch()
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.fixture
def no_torch(monkeypatch):
    """Let torch not be installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
