"""The bounds that docs/accuracy.md promises."""

import re

from support.processes import ROOT

ROW = re.compile(r"^\| ([^|]+?) \| `?([^|`]+?)`? \|", re.M)

# What each function's result may be off by, and in which unit: "function": "bound".
BOUNDS = dict(ROW.findall((ROOT / "docs" / "accuracy.md").read_text()))
