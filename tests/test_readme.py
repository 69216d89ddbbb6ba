"""What the documents show runs, and shows what it says."""

import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Never

import pytest
from support.criterion import assert_accurate
from support.stand_ins import fill_cache

import fastattn as fa
from fastattn.models.families import MODULES
from fastattn.models.tokenizer_classes import CLASSES

ROOT = Path(__file__).parents[1]
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/*.md"))
# Its blocks are one program: tests/test_self_attention_page.py runs it.
ONE_PROGRAM = "docs/self_attention.md"
# Its blocks are programs of others: .ci/integrations runs them.
OF_OTHERS = "docs/integrations.md"


def blocks(document, language):
    """List the fenced code blocks of a document in one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PYTHON = [
    (document, block)
    for document in ("README.md", "CONTRIBUTING.md", *PAGES)
    if document not in (ONE_PROGRAM, OF_OTHERS)
    for block in blocks(document, "python")
]


@pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning")  # stand-ins read little
@pytest.mark.parametrize(
    "document, block", PYTHON, ids=[f"{name}-{i}" for i, (name, _) in enumerate(PYTHON)]
)
def test_python_block_prints_what_its_comments_say(
    document, block, capsys, tmp_path, monkeypatch
):
    fill_cache(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    if "__main__" in block:  # which other processes import
        (program := tmp_path / "program.py").write_text(block)
        shown = subprocess.check_output([sys.executable, program], text=True)
    else:
        exec(compile(block, document, "exec"), {"__name__": "__main__"})
        shown = capsys.readouterr().out
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert shown.splitlines() == expected


@pytest.mark.parametrize("block", [block for _, block in PYTHON if "expected" in block])
def test_python_block_computes_what_it_says_is_expected(block):
    namespace = {"__name__": "__main__"}
    exec(block, namespace)
    assert_accurate(namespace["out"], namespace["expected"])


def table_names(page, heading):
    """List the names in the first column of the tables behind a heading."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    cells = re.findall(r"^\| (`.*?) \|", text.partition("\n## ")[0], re.MULTILINE)
    code = re.findall(r"`(.*?)`", " ".join(cells))
    return {name for part in code for name in re.findall(r"(?:^|, )([a-z_]+)", part)}


def parameters(function):
    """List what a function takes, but for what it refuses by name."""
    return {
        each.name: (each.kind, each.default)
        for each in inspect.signature(function).parameters.values()
        if each.annotation is not Never
    }


def keywords(function):
    kind = inspect.Parameter.KEYWORD_ONLY
    return {name for name, told in parameters(function).items() if told[0] == kind}


def test_attention_page_has_every_keyword():
    [shown] = blocks("docs/attention.md", "text")
    namespace = {}
    exec(f"def {shown.strip().removeprefix('fa.')}: pass", namespace)
    assert parameters(namespace["attention"]) == parameters(fa.attention)
    named = table_names("docs/attention.md", "## Keywords")
    assert named == keywords(fa.attention) - {"out", "num_threads"} | {"mask"}


def test_attention_page_has_every_keyword_of_the_layers():
    layer = fa.nn.MultiHeadAttention
    named = table_names("docs/attention.md", "## Layers")
    assert named == keywords(layer.__call__) | keywords(layer) - {"init", "rng"}


def first_column(page, heading):
    """List all that is code in the first column of the table behind a heading."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    cells = re.findall(r"^\| (`.*?) \|", text.partition("\n## ")[0], re.MULTILINE)
    return sorted(re.findall(r"`(.*?)`", " ".join(cells)))


def test_models_page_has_every_family_and_every_tokenizer():
    assert first_column("docs/models.md", "## What runs") == sorted(MODULES)
    assert first_column("docs/models.md", "## Their tokenizers") == sorted(CLASSES)


def test_readme_shows_attention_layers_and_texts():
    shown = "\n".join(blocks("README.md", "python"))
    for name in ("fa.attention(", "fa.nn.Encoder(", "fa.load("):
        assert name in shown


def test_readme_starts_with_two_commands_of_one_line():
    for command in blocks("README.md", "sh")[:2]:
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv")


def test_readme_shows_the_table_that_its_first_command_prints(capsys):
    from fastattn.cli import main

    command = blocks("README.md", "sh")[0]
    texts = re.findall(r"'([^'\[]*)'", command.partition("fastattn encode")[2])
    assert main(["encode", *texts]) == 0
    assert capsys.readouterr().out == blocks("README.md", "text")[0]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_linked_and_link_to_what_there_is(page):
    assert f"]({page})" in (ROOT / "README.md").read_text(encoding="utf-8")
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).is_file(), target


def test_pictures_are_what_attention_weights_draws():
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_masks.py"))
    page = (ROOT / "docs" / "attention.md").read_text(encoding="utf-8")
    for name in drawing["PICTURES"]:
        image = drawing["IMAGES"] / f"{name}.svg"
        assert image.read_text(encoding="utf-8") == drawing["picture"](name)
        assert f"](images/{name}.svg)" in page
