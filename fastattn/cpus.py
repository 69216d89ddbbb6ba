"""How many CPUs this process may use: its affinity mask and its cgroup's quota.

OpenMP looks at the affinity mask alone, so in a container with a quota of one CPU on a
machine of sixty-four it would start sixty-four threads that wait for each other.
"""

import functools
import math
import os
from pathlib import Path


@functools.cache
def available_cpus() -> int:
    """Return the CPUs that affinity and cgroup quotas leave, at least 1; read once."""
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def cgroup_quota(
    proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Return the CPUs' worth of time that the tightest enclosing cgroup allows.

    Parameters
    ----------
    proc, root : Path
        The file that names this process's cgroups and where their trees are mounted.

    Returns
    -------
    float or None
        None where there is no quota or it cannot be read.
    """
    quotas = []
    for line in _text(proc).splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if not controllers:
            tree, read = root, _quota_v2
        elif "cpu" in controllers.split(","):
            tree, read = root / "cpu", _quota_v1
        else:
            continue
        folder = tree / path.lstrip("/")
        # A quota of any group above limits this one. Inside a container the path may be
        # the host's and not exist: then only the root is there to read.
        for group in (folder, *folder.parents):
            quotas.append(read(group))
            if group == tree:
                break
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _quota_v2(group: Path) -> float | None:
    """Read "quota period" in microseconds; quota may be the word max."""
    quota, period, *_ = [*_words(group / "cpu.max"), "", ""]
    return _ratio(quota, period)


def _quota_v1(group: Path) -> float | None:
    """Read the two files of the first version; a quota of -1 means none."""
    quota = _text(group / "cpu.cfs_quota_us")
    return _ratio(quota.strip(), _text(group / "cpu.cfs_period_us").strip())


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    """Read what the kernel wrote; a file that is not there says nothing."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _ratio(quota: str, period: str) -> float | None:
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return None
    return int(quota) / int(period)
