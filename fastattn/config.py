"""What this installation is and what it found on this machine."""

import platform
from typing import Any

import numpy as np

from . import _cpu, _threads
from .arrays import as_choice
from .cpus import available_cpus, cgroup_quota

# The engines with an instruction for products of bfloat16, of x86 and of Arm.
MULTIPLIES_BFLOAT16 = ("avx512bf16", "bf16")


def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Show version, CPU, instruction set, engines, threads and OpenMP runtime.

    Engines are what multiplies in lower precision; where bfloat16 has no instruction, the
    bits are the same and the time is longer than float32's, as is said there.

    Parameters
    ----------
    mode : {"print", "dicts"}, default "print"
        "print" writes lines to standard output; "dicts" returns a dictionary.

    Returns
    -------
    dict or None
        The facts by name for "dicts", None for "print".

    Raises
    ------
    ValueError
        If `mode` is anything else.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.show_config("dicts")["threads"] == fa.get_num_threads()
    True
    """
    as_choice(mode, "mode", ("print", "dicts"))
    from . import __version__

    facts = {
        "fastattn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": cpu_name(),
        "instruction set": _cpu.get_isa(),
        "instruction sets available": _cpu.available_isas(),
        "engines": [f"{name} {engine}" for name, engine in _cpu.get_engines().items()],
        "engines available": _cpu.available_engines(),
        "bfloat16 products": cost_of_bfloat16(),
        "threads": _threads.get_num_threads(),
        "cpus available": available_cpus(),
        "cgroup quota": cgroup_quota(),
        "openmp runtime": _threads.openmp_runtime(),
        "compiler": _cpu.build_flags(),
    }
    if mode == "dicts":
        return facts
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:28}{'none' if shown is None else shown}")
    return None


def cost_of_bfloat16() -> str:
    """Say what computing in bfloat16 costs here, beside float32."""
    if _cpu.get_engines()["bfloat16"] in MULTIPLIES_BFLOAT16:
        return "by an instruction, in no more time than float32"
    return "without an instruction, in up to twice float32's time"


def cpu_name() -> str:
    """Return the model name that the operating system gives for the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
