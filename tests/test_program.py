"""Programs: steps in order, and the arrays that they hold on to."""

import sys
import weakref

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.strategies import normal

import fastattn as fa
from fastattn import _rowwise
from fastattn._program import Program


def test_an_empty_program_does_nothing():
    assert Program().run() is None


@pytest.mark.parametrize("n", [0, 2.0, "1"])
def test_checks_its_threads(n):
    with pytest.raises((TypeError, ValueError), match="number of threads"):
        Program(num_threads=n).run()


def test_steps_run_in_order(isa):
    x, y = normal(60, 40), np.empty((60, 40), np.float32)
    program = Program(num_threads=3)
    for _ in range(20):
        _rowwise.softmax(program, x, y)
        _rowwise.layer_norm(program, y, None, None, 1e-5, x)
    expected = x.copy()
    for _ in range(20):
        expected = fa.layer_norm(fa.softmax(expected))
    program.run()
    assert_same_bits(x, expected)


def test_an_array_is_asked_for_its_memory_once():
    x = normal(2, 3)
    expected, before = fa.softmax(fa.softmax(fa.softmax(x))), sys.getrefcount(x)
    program = Program()
    for _ in range(3):
        _rowwise.softmax(program, x, x)
    assert sys.getrefcount(x) == before + 1
    program.run()
    assert_same_bits(x, expected)
    del program
    assert sys.getrefcount(x) == before


def test_arrays_live_as_long_as_the_program():
    program, out, inputs = Program(), np.empty((100, 40), np.float32), []
    for i in range(100):
        x = normal(1, 40, seed=i)
        inputs.append(weakref.ref(x))
        _rowwise.softmax(program, x, out[i : i + 1])
    del x
    program.run()
    assert_same_bits(out, np.concatenate([fa.softmax(x()) for x in inputs]))
    del program
    assert all(x() is None for x in inputs)


def test_what_was_read_is_not_written_if_it_is_read_only():
    x, y = normal(2, 3), np.empty((2, 3), np.float32)
    x.flags.writeable = False
    program = Program()
    _rowwise.softmax(program, x, y)
    with pytest.raises(ValueError, match="read-only"):
        _rowwise.softmax(program, y, x)
