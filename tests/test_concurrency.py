"""Many Python threads at once, little memory, few threads, and very many calls."""

import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.calls import CALLS, MODEL
from support.processes import printed
from support.scale import scaled

TEXTS = ["one text", "another one, which is longer", ""]


def everything(seed):
    """Call every public function and layer; return the bits of all results."""
    rng = np.random.default_rng(seed)
    results = [MODEL.encode(TEXTS)]
    for function, arguments in CALLS.values():
        given = function(**arguments(rng))
        results += given if isinstance(given, tuple) else [given]
    return [np.asarray(result).tobytes() for result in results]


def test_32_threads_call_everything_at_once():
    expected = [everything(seed) for seed in range(8)]
    end = time.monotonic() + scaled(3, 60)
    right = []

    def work(seed):
        while time.monotonic() < end:
            right.append(everything(seed % 8) == expected[seed % 8])
            seed += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(right)
    assert len(right) >= 32


# Everything but texts: the library of the tokenizer may end a process without memory.
IN_A_PROCESS = f"""
import os, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, fastattn as fa
from support.calls import CALLS

x = np.random.default_rng(0).standard_normal((90, 48), np.float32)
calls = [lambda f=f, a=a: f(**a(np.random.default_rng(0))) for f, a in CALLS.values()]
calls.append(lambda: fa.nn.Encoder(48, 4, 96, 2, rng=0)(x))

def bits(call):
    given = call()
    parts = given if isinstance(given, tuple) else (given,)
    return [np.asarray(part).tobytes() for part in parts]

def memory(column):
    with open("/proc/self/statm") as file:
        return int(file.read().split()[column]) * resource.getpagesize()
"""


def in_a_process(script):
    return printed(IN_A_PROCESS + textwrap.dedent(script))


@pytest.mark.memory
def test_every_call_works_or_says_that_memory_is_short():
    limits = scaled(10, 200)
    script = f"""
        # Megabytes of weights, and a result larger than anything malloc keeps.
        wide, large = np.resize(x, (1500, 1600)), np.resize(x, (3000, 3000))
        calls += [lambda: fa.linear(wide, wide), lambda: fa.gelu(large)]
        fa.set_num_threads(8)
        with fa.num_threads(1):
            expected = [bits(call) for call in calls]
        refused = 0
        for room in np.linspace(0, 200e6, {limits}).astype(int).tolist():
            child = os.fork()
            if not child:
                resource.setrlimit(resource.RLIMIT_AS, (memory(0) + room,) * 2)
                refusals = wrong = 0
                for call, right in zip(calls, expected):
                    try:
                        wrong += bits(call) != right
                    except MemoryError:
                        refusals += 1
                os._exit(101 if wrong else refusals)
            status = os.waitpid(child, 0)[1]
            assert os.WIFEXITED(status) and os.WEXITSTATUS(status) <= len(calls), status
            refused += os.WEXITSTATUS(status)
        print(refused > 0, os.WEXITSTATUS(status))
    """
    # Some of the limits are too low for some calls, the last is for none.
    assert in_a_process(script) == "True 0"


@pytest.mark.parametrize("threads", [1, 3, 6])
def test_few_threads_may_be_made(threads):
    # Root is not limited: give it up. For other users 1 is below what they have already.
    script = f"""
        expected = [bits(call) for call in calls]
        if os.getuid() == 0:
            os.setuid(65534)
        limit = {threads} if os.getuid() == 65534 else 1
        resource.setrlimit(resource.RLIMIT_NPROC, (limit,) * 2)
        with fa.num_threads(20):
            print([bits(call) for call in calls] == expected)
    """
    assert in_a_process(script) == "True"


@pytest.mark.memory
def test_memory_does_not_grow():
    script = f"""
        fa.set_num_threads(1)
        for rounds in (100, {scaled(100, 10_000)}):
            before = memory(1)
            for _ in range(rounds):
                for call in calls:
                    call()
        print(memory(1) - before)
    """
    assert int(in_a_process(script)) < 1e6
