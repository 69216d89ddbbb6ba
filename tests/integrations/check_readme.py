"""The blocks of README.md that need torch, which the ordinary suite leaves out."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```py\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_block_prints_what_its_comments_say(block, capsys):
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected


def test_there_is_one():
    assert len(BLOCKS) == 1
