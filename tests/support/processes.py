"""Python programs of their own, for what a test cannot do to its own process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Set by whoever runs the tests, they would change what is tested.
UNSET = ("FASTATTN_ISA", "OMP_NUM_THREADS")


def environment(**variables: str) -> dict[str, str]:
    """Give the variables of this process, without those that steer fastattn."""
    inherited = {k: v for k, v in os.environ.items() if k not in UNSET}
    return {**inherited, **variables}


def python(script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a script to its end; what it prints stands in stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=environment(**variables),
        text=True,
        timeout=120,
    )


def printed(script: str, **variables: str) -> str:
    """Return what a script prints; it must not fail."""
    done = python(script, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
