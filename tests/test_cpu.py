"""Instruction sets, threads and programs: the process that fastattn lives in."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from bits import assert_same_bits
from processes import ROOT, environment, printed, python
from strategies import normal

import fastattn as fa
from fastattn import _cpu
from fastattn._cpu import Program


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


class TestThreads:
    def test_the_innermost_setting_wins(self):
        default = fa.get_num_threads()
        fa.set_num_threads(5)
        try:
            assert fa.get_num_threads() == 5
            with fa.num_threads(3) as block:
                assert fa.get_num_threads() == 3
                with fa.num_threads(7):
                    assert fa.get_num_threads() == 7
                with block:
                    assert fa.get_num_threads() == 3
                fa.set_num_threads(6)
                assert fa.get_num_threads() == 3
            assert fa.get_num_threads() == 6
        finally:
            fa.set_num_threads(None)
        assert fa.get_num_threads() == default

    def test_a_block_ends_with_an_error(self):
        default = fa.get_num_threads()
        with pytest.raises(RuntimeError), fa.num_threads(default + 1):
            raise RuntimeError
        assert fa.get_num_threads() == default

    def test_a_block_is_for_its_own_thread(self):
        seen = []
        with fa.num_threads(fa.get_num_threads() + 2):
            other = threading.Thread(target=lambda: seen.append(fa.get_num_threads()))
            other.start()
            other.join()
        assert seen == [fa.get_num_threads()]

    def test_a_block_is_for_its_own_task(self):
        async def task(n):
            with fa.num_threads(n):
                await asyncio.sleep(0)
                return fa.get_num_threads()

        async def tasks():
            return await asyncio.gather(*map(task, range(1, 5)))

        assert asyncio.run(tasks()) == [1, 2, 3, 4]

    @pytest.mark.parametrize("use", [fa.set_num_threads, fa.num_threads])
    @pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
    def test_numbers_out_of_range(self, use, n):
        with pytest.raises(ValueError, match="number of threads"):
            use(n)

    @pytest.mark.parametrize("use", [fa.set_num_threads, fa.num_threads])
    @pytest.mark.parametrize("n", [1.0, "2", True, [1], np.float32(2)])
    def test_what_is_no_number(self, use, n):
        with pytest.raises(TypeError, match="number of threads"):
            use(n)

    @pytest.mark.parametrize("n", [0, 1.5, True, "1"])
    def test_a_call_checks_its_number(self, n):
        x = normal(1, 1, 2, 4)
        with pytest.raises((TypeError, ValueError), match="number of threads"):
            fa.attention(x, x, x, num_threads=n)

    def test_numpy_integers_are_numbers(self):
        with fa.num_threads(np.int64(2)):
            assert fa.get_num_threads() == 2

    def test_omp_num_threads_is_obeyed_beyond_the_cpus(self):
        script = "import fastattn as fa; print(fa.get_num_threads())"
        assert printed(script, OMP_NUM_THREADS="37") == "37"
        assert printed(script, OMP_NUM_THREADS="1") == "1"

    def test_the_default_is_the_affinity_mask(self):
        script = """
            import os
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            import fastattn as fa
            print(fa.get_num_threads())
        """
        assert printed(script) == "1"

    def test_a_limit_that_others_set_in_openmp_is_obeyed(self):
        # This is what threadpoolctl does.
        script = """
            import ctypes
            import fastattn as fa
            with open("/proc/self/maps") as lines:
                paths = {line.split()[-1] for line in lines if "libgomp" in line}
            ctypes.CDLL(paths.pop()).omp_set_num_threads(1)
            print(fa.get_num_threads())
        """
        assert printed(script) == "1"

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_as_many_run_as_are_asked_for(self, threads):
        script = f"""
            import os
            import numpy as np
            import fastattn as fa
            x = np.ones((3000, 300), np.float32)
            before = len(os.listdir("/proc/self/task"))
            with fa.num_threads({threads}):
                fa.layer_norm(x)
            print(len(os.listdir("/proc/self/task")) - before)
        """
        assert printed(script) == str(threads - 1)

    def test_where_no_more_threads_can_be_made_fewer_do_the_work(self):
        script = """
            import resource
            import numpy as np
            import fastattn as fa
            x = np.random.default_rng(0).standard_normal((4096, 256), np.float32)
            expected = fa.layer_norm(x)
            with open("/proc/self/statm") as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            # Room for a few stacks, not for a hundred.
            resource.setrlimit(resource.RLIMIT_AS, (size + 100 * 2**20,) * 2)
            with fa.num_threads(100):
                print((fa.layer_norm(x) == expected).all())
        """
        assert printed(script) == "True"


class TestPrograms:
    def test_an_empty_program_does_nothing(self):
        assert Program().run() is None

    @pytest.mark.parametrize("n", [0, 2.0, "1"])
    def test_checks_its_threads(self, n):
        with pytest.raises((TypeError, ValueError), match="number of threads"):
            Program().run(n)

    def test_steps_run_in_order(self, isa):
        from fastattn import _rowwise

        x, y = normal(60, 40), np.empty((60, 40), np.float32)
        program = Program()
        for _ in range(20):
            _rowwise.softmax(program, x, y)
            _rowwise.layer_norm(program, y, None, None, 1e-5, x)
        expected = x.copy()
        for _ in range(20):
            expected = fa.layer_norm(fa.softmax(expected))
        program.run(3)
        assert_same_bits(x, expected)


def test_import_loads_neither_extras_nor_layers():
    script = "import sys, fastattn; print(' '.join(sys.modules))"
    loaded = set(printed(script).split())
    unwanted = {"tokenizers", "safetensors", "tqdm", "huggingface_hub", "matplotlib"}
    assert "fastattn._attention" in loaded
    assert not loaded & (unwanted | {"fastattn.nn", "fastattn.text", "fastattn.models"})
    # Only the test of the package needs it.
    assert "fastattn.reference" not in loaded


def test_the_floating_point_environment_is_left_alone():
    script = """
        import ctypes, platform
        import numpy as np

        def control():
            # What rounding and subnormals depend on, without the flags of past results.
            state = ctypes.create_string_buffer(64)
            ctypes.CDLL(None).fegetenv(state)
            if platform.machine() != "x86_64":
                return state.raw[:4]
            mxcsr = int.from_bytes(state.raw[28:32], "little")
            return state.raw[:2], mxcsr & ~0x3F

        def subnormals():
            least, product = np.float32(1e-45), np.float32(1e-38) * np.float32(0.1)
            return float(least), float(product), bool(least / np.float32(1) > 0)

        before = control(), subnormals()
        import fastattn as fa
        assert (control(), subnormals()) == before
        x = np.full((2, 3, 70, 40), 1e-39, np.float32)
        fa.attention(x, x, x, causal=True, num_threads=2)
        fa.softmax(fa.gelu(fa.layer_norm(fa.linear(x, x[0, 0]))))
        assert (control(), subnormals()) == before
        print("the same")
    """
    assert printed(script) == "the same"


# Every child must have its parent's result, with threads of its own.
FORK = """
    import multiprocessing, os, threading, warnings
    import numpy as np
    import fastattn as fa

    warnings.simplefilter("ignore")  # that forking with threads is dangerous
    x = np.random.default_rng(0).standard_normal((2, 4, 200, 32), np.float32)

    def same(_=None):
        return fa.attention(x, x, x, num_threads=3).tobytes() == expected

    expected = fa.attention(x, x, x, num_threads=3).tobytes()
"""


def test_fork_after_use():
    script = """
    for _ in range(3):
        child = os.fork()
        if not child:
            # A grandchild, too.
            grandchild = os.fork()
            if grandchild:
                os._exit(os.waitpid(grandchild, 0)[1] or not same())
            os._exit(not same())
        assert os.waitpid(child, 0)[1] == 0
        assert same()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(same, range(6)))
    """
    assert printed(textwrap.dedent(FORK) + textwrap.dedent(script)) == str([True] * 6)


def test_fork_while_another_thread_computes():
    script = """
    done = threading.Event()
    results = []

    def work():
        while not done.is_set():
            results.append(same())

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(10):
        child = os.fork()
        if not child:
            os._exit(not same())
        assert os.waitpid(child, 0)[1] == 0
        assert same()
    done.set()
    worker.join()
    print(all(results), len(results) > 0)
    """
    assert printed(textwrap.dedent(FORK) + textwrap.dedent(script)) == "True True"


def test_ctrl_c_answers_and_the_process_goes_on():
    script = """
        import numpy as np
        import fastattn as fa
        # Minutes of work on any machine.
        x = np.ones((1, 1, 100_000, 64), np.float32)
        small = x[:, :, :100]
        before = fa.attention(small, small, small)
        x = np.broadcast_to(x, (1, 64, 100_000, 64))
        print("started", flush=True)
        try:
            fa.attention(x, x, x[..., :1])
        except KeyboardInterrupt:
            assert (fa.attention(small, small, small) == before).all()
            print("interrupted", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.5)  # into the middle of the work
        os.kill(process.pid, signal.SIGINT)
        sent = time.monotonic()
        try:
            assert process.communicate(timeout=30)[0] == "interrupted\n"
        finally:
            process.kill()
        # Signals are looked at every tenth of a second; the rest is for a busy machine.
        assert time.monotonic() - sent < 10
