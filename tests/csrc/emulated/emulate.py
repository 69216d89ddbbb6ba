"""Run tiles of every engine on an emulated processor and hold them to NumPy.

``tests/csrc/emulated/check.sh`` builds what this runs.
"""

import ctypes
import os
import struct
import sys

import bochscpu
import bochscpu.cpu
import numpy as np
from bochscpu import memory

PAGE = 4096
CODE, STACK, JOB, A, B, C = range(0x400000, 0xA00000, 0x100000)
SIZE = 0x40000  # of each of them
PAGE_TABLE = 0x10000000
STORED = {"int8": (4, np.uint8, np.int8), "int16": (2, np.int16, np.int16)}
STORED["bfloat16"] = 2, np.uint16, np.uint16
JOB_FORMAT = "<2q3qQqQqQ2q32s"


class Machine:
    """A processor in its 64-bit mode, ring 0, and the memory of one flat program."""

    def __init__(self, program):
        self.session, self.pages = bochscpu.Session(), {}
        self.hook = bochscpu.Hook()
        self.hook.hlt = lambda session, _: self.stop(session, "hlt")
        self.hook.exception = lambda session, _, *what: self.stop(session, what)
        self.table = table = memory.PageMapLevel4Table()  # owns what the processor reads
        for start in (CODE, STACK, JOB, A, B, C):
            for page in range(start, start + SIZE, PAGE):
                self.pages[page] = memory.allocate_host_page()
                memory.page_insert(page, self.pages[page])
                table.insert(page, page, 7)
        for host, guest in table.commit(PAGE_TABLE):
            memory.page_insert(guest, host)
        self.write(CODE, program)

    def stop(self, session, why):
        self.stopped = why
        session.stop()

    def write(self, at, data):
        for i in range(0, len(data), PAGE):
            part = data[i : i + PAGE]
            ctypes.memmove(self.pages[at + i], part, len(part))

    def read(self, at, size):
        parts = range(at, at + size, PAGE)
        return b"".join(ctypes.string_at(self.pages[i], PAGE) for i in parts)[:size]

    def run(self, *job):
        """Run the program with a job; return what it writes into it."""
        self.write(JOB, struct.pack(JOB_FORMAT, *job, 0, 0, b""))
        state = bochscpu.State()
        bochscpu.cpu.set_long_mode(state)
        state.cr3, state.rip, state.rdi = PAGE_TABLE, CODE, JOB
        state.rsp, state.rflags = STACK + SIZE - PAGE - 8, 2
        # Emulation of the coprocessor off, and write protection, which marks pages; the
        # registers of SSE, AVX and AVX-512 on.
        state.cr0 &= ~(1 << 2 | 1 << 3 | 1 << 16)
        state.cr4 |= 1 << 9 | 1 << 10 | 1 << 18
        state.xcr0, state.mxcsr = 0xE7, 0x1F80
        state.cs, data = segment(0x10, 0xA09B), segment(0x18, 0xC093)
        for name in ("ds", "es", "fs", "gs", "ss"):
            setattr(state, name, data)
        self.session.cpu.state = state
        self.session.run([self.hook])
        if self.stopped != "hlt":
            raise RuntimeError(f"the program stopped by {self.stopped}")
        size = struct.calcsize(JOB_FORMAT)
        rows, panels, name = struct.unpack(JOB_FORMAT, self.read(JOB, size))[-3:]
        return rows, panels, name.rstrip(b"\0").decode()


def segment(selector, attributes):
    made = bochscpu.Segment()
    made.present, made.selector, made.base = True, selector, 0
    made.limit, made.attr = 0xFFFFFFFF, attributes
    return made


def operands(rng, precision, rows, columns, k):
    """Return A and B with their terms padded with zeros to whole groups."""
    terms, of_a, of_b = STORED[precision]
    a = np.zeros((rows, -(-k // terms) * terms), of_a)
    b = np.zeros((a.shape[1], columns), of_b)
    for x in (a[:, :k], b[:k]):
        if precision == "bfloat16":
            normal = rng.standard_normal(x.shape, dtype=np.float32)
            x[...] = normal.view(np.uint32) >> 16
        elif precision == "int16":
            x[...] = rng.integers(-2047, 2048, x.shape)
        else:  # two neighbours of a column must not exceed 129
            x[...] = rng.integers(
                *((0, 255) if x.dtype == np.uint8 else (-64, 65)), x.shape
            )
    return a, b


def product(precision, a, b):
    """Return the sums as the engines promise them, as int32."""
    if precision != "bfloat16":
        return a.astype(np.int32) @ b.astype(np.int32)
    a, b = ((x.astype(np.uint32) << 16).view(np.float32).astype(float) for x in (a, b))
    sums = np.zeros((len(a), b.shape[1]), np.float32)
    for first in range(0, len(b), 2):
        for k in (first + 1, first):  # exact in float64, then rounded once
            sums = (sums + np.outer(a[:, k], b[k])).astype(np.float32)
    return sums.view(np.int32)


def is_right(machine, rng, engine, precision, rows, panels, k):
    a, b = operands(rng, precision, rows, 16 * panels, k)
    terms = STORED[precision][0]
    groups = len(b) // terms
    packed = b.reshape(groups, terms, panels, 16).transpose(2, 0, 3, 1)
    machine.write(A, a.tobytes())
    machine.write(B, packed.tobytes())
    number = list(STORED).index(precision)
    at = A, 4 * groups, B, 64 * groups, C
    machine.run(engine, number, rows, panels, groups, *at)
    size = panels * 16 * 16
    sums = np.frombuffer(machine.read(C, 4 * size), np.int32).reshape(panels, 16, 16)
    got = sums[:, :rows].transpose(1, 0, 2).reshape(rows, -1)
    return np.array_equal(got, product(precision, a, b))


def main(program, engines):
    with open(program, "rb") as file:
        machine = Machine(file.read())
    rng, wrong = np.random.default_rng(0), 0
    for engine in range(engines):
        for number, precision in enumerate(STORED):
            most, panels, name = machine.run(engine, number, 0, 0, 0, A, 0, B, 0, C)
            right = [
                is_right(machine, rng, engine, precision, rows, width, k)
                for rows in range(1, most + 1)
                for width in sorted({1, panels})
                for k in (1, 2, 3, 4, 5, 63, 384)
            ]
            wrong += len(right) - sum(right)
            if right:
                print(f"{name} {precision}: {sum(right)} of {len(right)} tiles are right")
    sys.stdout.flush()
    os._exit(wrong > 0)  # the emulator does not survive its own end


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
