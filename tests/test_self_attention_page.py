"""The tutorial: it computes, prints and draws what it says, also as a notebook."""

import ast
import re

import draw_self_attention
import make_notebook
import pytest
from matplotlib import pyplot
from matplotlib.text import Text

import fastattn as fa

PAGE = draw_self_attention.PAGE.read_text(encoding="utf-8")


def numbers(*texts):
    return {float(x) for text in texts for x in re.findall(r"\d+(?:\.\d+)?", text)}


def test_every_block_prints_and_draws_what_stands_below_it():
    blocks = []
    for block in draw_self_attention.run():
        blocks.append(block)
        assert block.printed == block.output, block.code
        assert len(block.figures) == bool(block.image), block.code
        texts = [text for figure in block.figures for text in figure.findobj(Text)]
        written = numbers(block.printed, *(text.get_text() for text in texts))
        assert numbers(block.alt) <= written, f"{block.image}: {block.alt}"
    assert len(blocks) == PAGE.count("```python")
    images = [block.image for block in blocks if block.image]
    images.append(draw_self_attention.DIAGRAM)
    assert sorted(images) == sorted(re.findall(r"\]\(images/(.+?)\)", PAGE))
    assert len(images) == len(set(images))


def test_a_block_has_no_figures_that_others_left_open():
    pyplot.figure()
    first = next(draw_self_attention.run())
    assert len(first.figures) == bool(first.image)
    pyplot.close("all")


def test_the_page_shows_all_kinds_of_pictures():
    for name in fa.plot.__all__:
        assert f"fa.plot.{name}(" in PAGE


def test_terms_are_not_used_before_they_are_explained():
    text = re.sub(r"^#+ .*", "", PAGE, flags=re.MULTILINE)  # headings name what comes
    italic = re.compile(r"(?<!\*)\*(\w[^*\n]*\w)\*(?!\*)")
    explained = list(italic.finditer(text))
    assert {"heads", "Training"} <= {match[1] for match in explained}
    for match in explained:
        before = italic.sub("", text[: match.start()])
        assert not re.search(rf"\b{match[1]}\b", before, re.IGNORECASE), match[1]


@pytest.mark.parametrize("step", range(1, 9))
def test_steps_of_self_attention_have_an_equation_code_and_a_picture(step):
    _, heading, rest = PAGE.partition(f"### Step {step}: ")
    assert heading
    section = rest.partition("\n#")[0]
    for part in ("\n$$\n", "\n```python\n", f"](images/step{step}_"):
        assert part in section


def test_equations_have_nothing_that_markdown_would_take_away():
    text = draw_self_attention.BLOCK.sub("", PAGE)
    equations = re.findall(r"\$\$\n(.+?)\n\$\$|\$(.+?)\$", text, re.DOTALL)
    assert len(equations) > 30
    assert re.findall(r"\\[^a-zA-Z ]|[*<`]", "".join(map("".join, equations))) == []


def test_pictures_are_compared_by_what_they_show(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw_self_attention, "IMAGES", tmp_path)
    page = tmp_path / "page.md"
    monkeypatch.setattr(draw_self_attention, "PAGE", page)
    code = "import fastattn as fa\nax = fa.plot.matrix([[1, {}]])\n"
    text = f"```python\n{code}```\n\n![](images/picture.png)\n"
    page.write_text(text.format(0))
    draw_self_attention.main([])
    before = (tmp_path / "picture.png").read_bytes()
    draw_self_attention.main(["--check"])
    page.write_text(text.format(0.5))
    with pytest.raises(SystemExit, match="different: picture"):
        draw_self_attention.main(["--check"])
    assert (tmp_path / "picture.png").read_bytes() == before


def test_notebook_has_the_text_and_the_code_of_the_page():
    notebook = make_notebook.notebook(PAGE)
    cells = {kind: [] for kind in ("markdown", "code")}
    for cell in notebook["cells"]:
        cells[cell["cell_type"]].append(cell["source"])
    code = [block for block, *_ in draw_self_attention.BLOCK.findall(PAGE)]
    assert cells["code"] == [block.strip() for block in code]
    for source in cells["code"]:
        # Jupyter would show the value of any other expression below the picture.
        last = ast.parse(source).body[-1]
        assert not isinstance(last, ast.Expr) or source.splitlines()[-1].startswith(
            "print("
        )
    assert not any("```" in text for text in cells["markdown"])
    shown = re.findall(r"\]\(images/(.+?)\)", "".join(cells["markdown"]))
    assert shown == [draw_self_attention.DIAGRAM]  # the others are drawn by the notebook
    headings = [
        line for line in PAGE.splitlines() if line.startswith(("# ", "## ", "### "))
    ]
    text = "\n".join(cells["markdown"]).splitlines()
    assert [line for line in text if line in headings] == headings
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
