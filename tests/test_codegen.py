"""The compiled micro-kernels: multiply-adds in registers, no vector on the stack."""

import functools
import math
import platform
import re
import subprocess

import pytest
from support.processes import ROOT

from fastattn import _cpu

# Per machine: its tables with FMA, the instruction on a vector of theirs, and anything on
# its way to the stack or back, or kept in a vector register for want of others.
SPILL = r"\(%rsp|\(%rbp.*%[xyz]mm|%[xyz]mm.*\(%rbp|vmov[dq] "
MACHINES = {
    "x86_64": {
        "avx512": (r"vfmadd\d+ps .*%zmm", SPILL),
        "avx2": (r"vfmadd\d+ps .*%ymm", SPILL),
    },
    "aarch64": {"neon": (r"fmla\s+v\d+\.4s", r"\[sp")},
}
# On a machine that this file knows nothing about, pytest skips what has no table.
TABLES = MACHINES.get(platform.machine(), {})


def geometry(isa):
    """Return the micro-tiles that a stub asks for, the main one first: (rows, vectors)."""
    text = (ROOT / "csrc/isa" / f"{isa}.c").read_text()
    rows, panels, most_panels, lanes, registers = (
        int(re.search(rf"#define {name} (\d+)", text)[1])
        for name in ("MR", "PANELS", "MAX_PANELS", "LANES", "REGISTERS")
    )
    vectors = [16 // lanes * n for n in range(panels, most_panels + 1)]
    # Beside the accumulators, a row of B and an element of A stand in registers.
    wider = [((registers - 1) // count - 1, count) for count in vectors[1:]]
    return (rows, vectors[0]), *wider


@functools.cache
def listing():
    """Disassemble the extension that holds the kernels."""
    return subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", _cpu.__file__],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def functions(name):
    """Yield the functions of this name, one or more for each table: address and text."""
    for body in listing().split("\n\n"):
        if re.match(rf"[0-9a-f]+ <{name}[.>]", body):
            lines = re.findall(r"^ *([0-9a-f]+):\s+(\S.*)$", body, re.MULTILINE)
            yield [(int(address, 16), text) for address, text in lines]


def innermost_loops(function):
    """Cut out what lies between a jump back and where it goes, if no other loop does."""
    jump = re.compile(r"(?:j|b\.?|cb|tb)\w*\s.*?\b([0-9a-f]{3,}) <")
    loops = []
    for end, text in function:
        target = jump.match(text)
        if target and function[0][0] <= int(target[1], 16) < end:
            loops.append((int(target[1], 16), end))
    for start, end in loops:
        if not any((s, e) != (start, end) and start <= s and e <= end for s, e in loops):
            yield [text for address, text in function if start <= address <= end]


def multiplying_loops(isa, name):
    """Yield the innermost loops of a function that multiply-add, with how often."""
    fma = TABLES[isa][0]
    for function in functions(name):
        for loop in innermost_loops(function):
            count = sum(bool(re.match(fma, text)) for text in loop)
            if count:
                yield count, loop


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("name", ["multiply_tile", "multiply_tile_transposed"])
def test_every_tile_stays_in_registers(isa, name):
    spilled = [
        (count, text)
        for count, loop in multiplying_loops(isa, name)
        for text in loop
        if re.search(TABLES[isa][1], text)
    ]
    assert spilled == []


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("name", ["multiply_tile", "multiply_tile_transposed"])
def test_every_height_of_a_tile_has_its_loop(isa, name):
    # A compiler may unroll over k: then a loop has a multiple.
    counts = {count for count, _ in multiplying_loops(isa, name)}
    for most_rows, vectors in geometry(isa):
        for rows in range(1, most_rows + 1):
            multiply_adds = rows * vectors
            assert any(count % multiply_adds == 0 for count in counts), multiply_adds


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("name", ["multiply_tile", "multiply_tile_transposed"])
def test_the_main_tile_loads_nothing_twice(isa, name):
    # Per k: a vector of B is loaded once, and one further on prefetched; an element of A
    # is broadcast once, out of memory; a line that comes later is asked for; beside them
    # the addresses move, one of B, one of that line and one for each four rows of A, and
    # the loop compares and jumps.
    rows, vectors = geometry(isa)[0]
    found = [
        len(loop) / (count // (rows * vectors))
        for count, loop in multiplying_loops(isa, name)
        if count % (rows * vectors) == 0
    ]
    assert found
    others = 1 + 2 + math.ceil(rows / 4) + 2
    assert min(found) <= rows * vectors + 2 * vectors + rows + others


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("name", ["multiply_tile", "multiply_tile_transposed"])
def test_the_main_tile_asks_for_what_comes_after_it(isa, name):
    rows, vectors = geometry(isa)[0]
    asked = [
        any(re.match(r"prefetcht1|prfm\s+pldl2", text) for text in loop)
        for count, loop in multiplying_loops(isa, name)
        if count % (rows * vectors) == 0
    ]
    assert any(asked)
