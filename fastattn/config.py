"""What this installation is and what it found on this machine."""

import platform
from typing import Any

import numpy as np

from . import _cpu, _threads
from .arrays import as_choice
from .cpus import available_cpus, cgroup_quota


def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Show version, CPU, instruction set, threads and OpenMP runtime.

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
