"""How many threads a call uses, and forks."""

import asyncio
import textwrap
import threading

import numpy as np
import pytest
from support.processes import printed
from support.strategies import normal

import fastattn as fa


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
        assert printed(script, OMP_NUM_THREADS="2000") == "1024"

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

    def test_a_limit_set_in_openmp_later_holds_for_what_was_set_before(self):
        script = """
            import ctypes
            import fastattn as fa
            with open("/proc/self/maps") as lines:
                paths = {line.split()[-1] for line in lines if "libgomp" in line}
            openmp = ctypes.CDLL(paths.pop())
            seen = []
            for limit in (1, 4, 8):
                fa.set_num_threads(6)
                openmp.omp_set_num_threads(limit)
                seen.append(fa.get_num_threads())
                with fa.num_threads(5):  # this is later than the limit
                    seen.append(fa.get_num_threads())
                openmp.omp_set_num_threads(8)
                seen.append(fa.get_num_threads())
                with fa.num_threads(7):
                    openmp.omp_set_num_threads(limit)
                    seen.append(fa.get_num_threads())
                    openmp.omp_set_num_threads(8)
            print(*seen)
        """
        expected = "1 5 6 1 4 5 6 4 6 5 6 7"
        assert printed(script, OMP_NUM_THREADS="8") == expected

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

    @pytest.mark.parametrize(
        "call", ["layer_norm(x)", "attention(x, x, x)", "matmul(x, x.T)"]
    )
    @pytest.mark.parametrize(("rows", "threads"), [(8, 1), (200, 4)])
    def test_a_call_that_is_not_told_has_as_many_as_are_worth_it(self, call, rows, threads):
        script = f"""
            import os
            import numpy as np
            import fastattn as fa
            x = np.ones(({rows}, 3000), np.float32)
            before = len(os.listdir("/proc/self/task"))
            fa.{call}
            print(len(os.listdir("/proc/self/task")) - before)
        """
        assert printed(script, OMP_NUM_THREADS="4") == str(threads - 1)

    @pytest.mark.parametrize("before", ["few", "many, few", "many, fork"])
    def test_where_no_more_threads_can_be_made_fewer_do_the_work(self, before):
        script = f"""
            import os, resource, warnings
            import numpy as np
            import fastattn as fa
            x = np.random.default_rng(0).standard_normal((4096, 256), np.float32)

            def norm(threads):
                with fa.num_threads(threads):
                    return fa.layer_norm(x)

            def fork():
                warnings.simplefilter("ignore")  # that forking with threads is dangerous
                child = os.fork() or os._exit(0)
                os.waitpid(child, 0)

            expected = norm(1)
            calls = {{"few": lambda: norm(2), "many": lambda: norm(100), "fork": fork}}
            for before in "{before}".split(", "):
                calls[before]()
            with open("/proc/self/statm") as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            # Room for a few stacks, not for a hundred.
            resource.setrlimit(resource.RLIMIT_AS, (size + 100 * 2**20,) * 2)
            print((norm(100) == expected).all())
        """
        assert printed(script) == "True"


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


def test_calls_at_once_share_the_threads():
    # A long call has all four threads. A call beside it, in a Python thread that OpenMP
    # has no team for yet, makes do with its own, unless a number is asked for it.
    script = """
        import os, threading
        import numpy as np
        import fastattn as fa

        fa.set_num_threads(4)
        x = np.ones((3000, 300), np.float32)
        long = np.broadcast_to(np.ones((20_000, 64), np.float32), (64, 20_000, 64))

        def tasks():
            return set(os.listdir("/proc/self/task"))

        def started_by(call):
            def count():
                before = tasks()
                call()
                started.append(len(tasks() - before))
            started = []
            thread = threading.Thread(target=count)
            thread.start()
            thread.join()
            return started[0]

        def asked():
            with fa.num_threads(3):
                fa.softmax(x)

        alone = started_by(lambda: fa.softmax(x))
        others = tasks()
        beside = threading.Thread(target=fa.attention, args=(long, long, long), daemon=True)
        beside.start()
        while len(tasks() - others) < 4:
            pass
        # Between two of its regions the long call uses no thread, and may get fewer after.
        shared = {started_by(lambda: fa.softmax(x)) for _ in range(10)}
        print(alone, min(shared), started_by(asked) >= 2, beside.is_alive(), flush=True)
        os._exit(0)
    """
    assert printed(script) == "3 0 True True"
