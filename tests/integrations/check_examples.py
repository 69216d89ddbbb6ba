"""The examples in the docstrings of the real package run here, with the same results."""

import doctest
import inspect
import re
import sys
import textwrap

import numpy as np
import pytest
import sentence_transformers as real
import torch
from side_by_side import CLASSES, EXACT, FOLDERS, PLAIN, assert_like

from fastattn.integrations import sentence_transformers as ours
from fastattn.integrations.sentence_transformers.left_out import ATTRIBUTES

BLOCK = re.compile(r"::\n\n((?: {4,}\S.*\n?|\s*\n)+)")
VALUES = torch.Tensor, np.ndarray, list, tuple, dict, float, int, str, bool


def documented():
    """Give the docstrings of the classes, their members and the functions of util."""
    for kind in CLASSES:
        value = getattr(real, kind)
        yield kind, value.__doc__
        for name in sorted({n for each in value.__mro__[:3] for n in vars(each)}):
            member = inspect.getattr_static(value, name)
            if not name.startswith("_") and name not in ATTRIBUTES:
                yield f"{kind}.{name}", inspect.getdoc(member)
    for name in real.util.__all__:
        yield f"util.{name}", inspect.getdoc(getattr(real.util, name))


def examples():
    for name, text in documented():
        for block in BLOCK.findall(inspect.cleandoc(text or "")):
            code = textwrap.dedent(block)
            if ">>>" in code:
                code = doctest.script_from_examples(code)
            if any(f"{kind}(" in code for kind in CLASSES):
                yield name, code


EXAMPLES = list(examples())


def run(code, library, monkeypatch):
    """Run an example with the classes of a library, on our folders; give its variables."""
    for kind, folder in FOLDERS.items():
        code = re.sub(rf"{kind}\((['\"]).*?\1", f"{kind}({str(folder)!r}", code)
    # A pool of the real class takes a process with torch for each.
    code = re.sub(r"model\.start_multi_process_pool\(\)", "None", code)
    code = re.sub(r".*stop_multi_process_pool.*", "", code)
    code = re.sub(r"\[\"cuda:0\", \"cuda:1\"\]", "'cpu'", code)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    namespace = {kind: getattr(library, kind) for kind in CLASSES}
    exec(code, namespace)
    return {k: v for k, v in namespace.items() if isinstance(v, VALUES) and k[0] != "_"}


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_example(name, code, monkeypatch):
    results = [run(code, library, monkeypatch) for library in (ours, PLAIN, EXACT)]
    assert_like(*results)


def test_there_are_examples():
    assert len(EXAMPLES) > 10
