"""The examples in the docstrings of the real package run here, with the same results."""

import doctest
import inspect
import itertools
import re
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
            if (
                name[0] != "_"
                and name not in ATTRIBUTES
                and name != "model_card_data_class"
            ):
                yield f"{kind}.{name}", inspect.getdoc(member)
    for name in real.util.__all__:
        yield f"util.{name}", inspect.getdoc(getattr(real.util, name))


def examples():
    for name, text in documented():
        for block in BLOCK.findall(inspect.cleandoc(text or "")):
            code = at_its_indentation(block)
            if ">>>" in code:
                code = doctest.script_from_examples(code)
            if any(f"{kind}(" in code for kind in CLASSES):
                yield name, code


def at_its_indentation(block):
    """Give the lines of a block up to the first that stands further left."""
    lines = block.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    inside = itertools.takewhile(lambda x: not x.strip() or x[:margin].isspace(), lines)
    return textwrap.dedent("\n".join(inside))


EXAMPLES = list(examples())


def run(code, library):
    """Run an example with the classes of a library, on our folders; give its variables."""
    for kind, folder in FOLDERS.items():
        code = re.sub(rf"{kind}\((['\"]).*?\1", f"{kind}({str(folder)!r}", code)
    # A pool of the real class takes a process with torch for each.
    code = re.sub(r"model\.start_multi_process_pool\(\)", "None", code)
    code = re.sub(r".*stop_multi_process_pool.*", "", code)
    code = re.sub(r"\[\"cuda:0\", \"cuda:1\"\]", "'cpu'", code)
    code = re.sub(r"from sentence_transformers import .*", "", code)
    namespace = {name: getattr(library, name) for name in (*CLASSES, "util")}
    exec(code, namespace)
    return {k: v for k, v in namespace.items() if isinstance(v, VALUES) and k[0] != "_"}


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_example(name, code):
    results = [run(code, library) for library in (ours, PLAIN, EXACT)]
    assert_like(*results)


def test_there_are_examples():
    assert len(EXAMPLES) > 10
