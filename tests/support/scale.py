"""How much the tests try: what fits into every run, or, once in a while, very much.

`FASTATTN_TEST=long pytest tests/test_hostile_arrays.py` is the long form of a file.
"""

import os
from typing import TypeVar

T = TypeVar("T")


def scaled(short: T, long: T) -> T:
    """Choose between the two."""
    return long if os.environ.get("FASTATTN_TEST") == "long" else short
