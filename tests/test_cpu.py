"""Instruction sets and signals: the process that fastattn lives in."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from support.processes import ROOT, environment, printed, python

import fastattn as fa
from fastattn import _cpu


class TestInstructionSets:
    def test_portable_is_always_there_and_last(self):
        assert _cpu.available_isas()[-1] == "portable"

    def test_set_isa(self, isa):
        assert _cpu.get_isa() == isa
        assert fa.show_config("dicts")["instruction set"] == isa

    @pytest.mark.parametrize("name", ["", "AVX2", "mmx", "neon avx2"])
    def test_an_unknown_name_is_an_error_that_lists_what_there_is(self, name):
        before = _cpu.get_isa()
        with pytest.raises(ValueError, match=", ".join(_cpu.available_isas())):
            _cpu.set_isa(name)
        assert _cpu.get_isa() == before

    def test_the_best_is_the_default(self):
        script = "from fastattn import _cpu; print(_cpu.get_isa())"
        assert printed(script) == _cpu.available_isas()[0]
        assert printed(script, FASTATTN_ISA="") == _cpu.available_isas()[0]

    @pytest.mark.parametrize("name", _cpu.available_isas())
    def test_the_environment_chooses(self, name):
        script = "from fastattn import _cpu; print(_cpu.get_isa())"
        assert printed(script, FASTATTN_ISA=name) == name

    def test_an_unknown_name_in_the_environment_is_an_error(self):
        done = python("import fastattn", FASTATTN_ISA="altivec")
        assert done.returncode != 0
        message = done.stderr.strip().splitlines()[-1]
        assert "ValueError" in message
        assert "altivec" in message
        assert ", ".join(_cpu.available_isas()) in message


def test_import_loads_neither_extras_nor_layers():
    script = "import sys, fastattn; print(' '.join(sys.modules))"
    loaded = set(printed(script).split())
    unwanted = {"tokenizers", "safetensors", "tqdm", "huggingface_hub", "matplotlib"}
    assert "fastattn._attention" in loaded
    assert not loaded & (unwanted | {"fastattn.nn", "fastattn.text", "fastattn.models"})
    # Only the test of the package needs it.
    assert "fastattn.reference" not in loaded


# Minutes of work on any machine.
LONG_CALLS = {
    "attention": """
        x = np.broadcast_to(np.ones((32768, 64), np.float32), (1000, 32768, 64))
        call = lambda: fa.attention(x, x, x[..., :8])
    """,
    "linear": """
        x, weight = np.ones((10_000, 4096), np.float32), np.ones((4096, 4096), np.float32)
        call = lambda: [fa.linear(x, weight) for _ in range(1000)]
    """,
    "encode": """
        model = fa.load("all-MiniLM-L6-v2")
        call = lambda: model.encode(["a text of some words " * 20] * 100_000)
    """,
}
INTERRUPTED = """
small = np.ones((2, 100, 64), np.float32)
before = fa.attention(small, small, small)
print("started", flush=True)
try:
    call()
except KeyboardInterrupt:
    caught = time.monotonic()
    assert (fa.attention(small, small, small) == before).all()
    print(caught)
"""


def seconds_until_ctrl_c_answers(call, **variables):
    """Start a process that calls, interrupt it in the middle, and see it go on."""
    script = "import time, numpy as np, fastattn as fa\n" + textwrap.dedent(call)
    with subprocess.Popen(
        [sys.executable, "-c", script + INTERRUPTED],
        cwd=ROOT,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "started\n"
            time.sleep(0.4)
            sent = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            return float(process.communicate(timeout=60)[0]) - sent
        finally:
            process.kill()


BEST = _cpu.available_isas()[0]


@pytest.mark.parametrize(
    ("call", "isa"),
    [("attention", BEST), ("attention", "portable"), ("linear", BEST), ("encode", BEST)],
)
def test_ctrl_c_answers_within_200_ms_and_the_process_goes_on(call, isa):
    # The best of some tries: the machine may be busy.
    tries = (
        seconds_until_ctrl_c_answers(LONG_CALLS[call], FASTATTN_ISA=isa) for _ in "123"
    )
    assert any(seconds < 0.2 for seconds in tries)
