"""The blocks of docs/integrations.md, which the ordinary suite leaves out."""

import re
from pathlib import Path

import pytest
from support.stand_ins import fill_cache

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    fill_cache(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", BLOCKS)
def test_block_prints_what_its_comments_say(block, capsys):
    exec(compile(block, "integrations.md", "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected
