"""Look at the page of fastattn explain in Chromium, and hold it to fa.trace.

    python tests/browser/check_explain.py [FOLDER]

checks the page; with a folder it writes the pictures that docs/images has of it there.
It needs chromium (Debian: apt install chromium) and the MiniLM package.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from chromium import Browser, browser

import fastattn as fa

TEXT = "The animal didn't cross the street because it was too tired."
MARKUP = "<script>document.title = 'run'</script> & <!-- </SCRIPT>"
PAIR = "<img src=x onerror=\"document.title = 'run'\">"
SIZES = {"desktop": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}
# Name, size, scheme, and what is at the top.
PICTURES = (
    ("explain", (1060, 740), "light", "body"),
    ("explain-numbers", (820, 700), "dark", "#steps"),
    ("explain-phone", SIZES["phone"], "light", "body"),
)
ROWS = (
    "[...document.querySelectorAll('#key-rows tr')]"
    ".map((row) => [row.dataset.token, ...[...row.cells].map((c) => c.textContent)])"
)


def text_of(page: Browser, selector: str) -> str:
    """Read what an element shows."""
    return str(page.evaluate(f"document.querySelector({selector!r}).textContent"))


def number(shown: str) -> float:
    return float(shown.replace("\N{MINUS SIGN}", "-"))


def assert_shown(shown: str, value: float, digits: int) -> None:
    """Hold a number on the page to a value, rounded to so many digits."""
    assert len(shown.partition(".")[2]) == digits, shown
    assert abs(number(shown) - value) <= 0.5000001 * 10.0**-digits, (shown, value)


def choose(page: Browser, layer: int, head: int, token: int) -> None:
    """Click a picture of a head, then a token on the left."""
    page.mouse(f"[data-layer='{layer}'][data-head='{head}']", click=True)
    page.mouse(f"[data-side=queries][data-token='{token}']", click=True)


def check_opening(page: Browser, traced: fa.Trace) -> None:
    """The first thing to be seen is the head that tells most, and its word."""
    it, tired = (traced.tokens.index(token) for token in ("it", "tired"))
    assert "“it”: layer 2, head 1" in text_of(page, "#steps-title")
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map((x) => x.dataset)"
    chosen, picture = page.evaluate(f"{pressed}.map((x) => ({{...x}}))")
    assert chosen == {"side": "queries", "token": str(it)}
    assert picture == {"layer": "2", "head": "1"}
    largest = page.evaluate(ROWS)[0]
    assert largest[0] == str(tired)


def check_numbers(page: Browser, traced: fa.Trace) -> None:
    """Compare every number of some queries with the trace."""
    length, dim = len(traced.tokens), traced.layers[0]["queries"].shape[-1]
    page.mouse("#all", click=True)
    for step, (layer, head) in enumerate(np.ndindex(len(traced.layers), 12)):
        token, c = step % length, step % dim
        values = {name: value[head] for name, value in traced.layers[layer].items()}
        choose(page, layer, head, token)
        page.evaluate(
            f"document.querySelector('#component').value = {c};"
            "document.querySelector('#component').dispatchEvent(new Event('input'))"
        )
        rows = page.evaluate(ROWS)
        assert sorted(int(row[0]) for row in rows) == list(range(length))
        weights = [number(row[5]) for row in rows]
        assert weights == sorted(weights, reverse=True)
        for at, name, key, product, score, weight, value, weighted in rows:
            j = int(at)
            assert name == traced.tokens[j]
            q, k = (values[part].astype(float) for part in ("queries", "keys"))
            assert_shown(key, k[j, c], 2)
            assert_shown(product, q[token] @ k[j], 2)
            assert_shown(score, values["scores"][token, j], 2)
            assert_shown(weight, values["weights"][token, j], 4)
            assert_shown(value, values["values"][j, c], 2)
            assert_shown(weighted, number(weight) * number(value), 3)
        query = text_of(page, "#query-row .strip")
        assert_shown(query, values["queries"][token, c], 2)
        assert_shown(text_of(page, "#sum-row .strip"), values["context"][token, c], 2)
        assert f"layer {layer}, head {head}" in text_of(page, "#steps-title")


def check_lines(page: Browser, traced: fa.Trace) -> None:
    """Point at tokens: the weights shown are those of the trace, and change."""
    choose(page, 1, 8, 3)
    weights = traced.layers[1]["weights"][8]
    for side, other, token in (("queries", "keys", 5), ("keys", "queries", 2)):
        before = page.evaluate("document.querySelector('#links').innerHTML")
        page.mouse(f"[data-side={side}][data-token='{token}']")
        assert page.evaluate("document.querySelector('#links').innerHTML") != before
        shares = page.evaluate(
            f"[...document.querySelectorAll('#{other} .share')].map((x) => x.textContent)"
        )
        expected = weights[token] if side == "queries" else weights[:, token]
        for shown, weight in zip(shares, expected, strict=True):
            assert abs(number(shown) - weight) <= 0.00506  # of 4 digits, rounded to 2
    page.mouse("h1")
    assert "active" in page.evaluate(
        "document.querySelector('[data-side=queries][data-token=\"3\"]').className"
    ), "what is pinned is shown again"


def check_keys(page: Browser, traced: fa.Trace) -> None:
    """Do without a mouse: arrows and Enter in both groups of buttons."""
    page.evaluate("document.querySelector('#queries [data-token=\"3\"]').focus()")
    page.key("ArrowDown")
    page.key("Enter")
    assert f"“{traced.tokens[4]}”" in text_of(page, "#steps-title")
    page.key("ArrowRight")
    focused = "({...document.activeElement.dataset})"
    assert page.evaluate(focused) == {"side": "keys", "token": "4"}
    page.evaluate("document.querySelector('#thumbnails [aria-pressed=true]').focus()")
    page.key("ArrowDown")
    page.key("ArrowLeft")
    page.key("Enter")
    assert "layer 2, head 7" in text_of(page, "#steps-title")
    for group in ("#tokens", "#thumbnails"):
        stops = f"document.querySelectorAll('{group} [tabindex=\"0\"]').length"
        assert page.evaluate(stops) == 1


def check_choices(page: Browser, traced: fa.Trace) -> None:
    """Hide special tokens, sort by text, change the theme and the select boxes."""
    special = int(np.sum(traced.encoding.special_tokens_mask))
    count = "document.querySelectorAll('#queries button').length"
    page.mouse("#special", click=True)
    assert page.evaluate(count) == len(traced.tokens) - special
    assert "[CLS]" not in [row[1] for row in page.evaluate(ROWS)]
    page.mouse("#special", click=True)
    assert page.evaluate(count) == len(traced.tokens)
    change = "dispatchEvent(new Event('change'))"
    for name, value in (("order", "text"), ("layer", "5"), ("head", "2")):
        box = f"document.querySelector('#{name}')"
        page.evaluate(f"{box}.value = '{value}'; {box}.{change}")
    assert [row[1] for row in page.evaluate(ROWS)] == traced.tokens
    assert "layer 5, head 2" in text_of(page, "#steps-title")
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.mouse("#theme", click=True)
    assert page.evaluate(background) != before


def check_markup(page: Browser, file: Path) -> None:
    """Hold a text that looks like markup to being text."""
    page.open(file, 1280, 900)
    assert text_of(page, "#text") == MARKUP
    assert text_of(page, "#pair") == PAIR
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.title").startswith("Attention: <script>")


def check_sizes(page: Browser, file: Path) -> None:
    """Open the page on every kind of device: nothing is wider than its window."""
    for width, height in SIZES.values():
        for scheme in ("light", "dark"):
            page.open(file, width, height, scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for selector in ("#tokens", ".scroll", "#thumbnails"):
                overflow = f"document.querySelector('{selector}')"
                assert (
                    page.evaluate(f"{overflow}.scrollWidth - {overflow}.clientWidth") <= 0
                )


def draw(page: Browser, file: Path, folder: Path) -> None:
    """Write the pictures for the documents."""
    for name, size, scheme, top in PICTURES:
        page.open(file, *size, scheme=scheme)
        page.evaluate(f"document.querySelector('{top}').scrollIntoView()")
        page.screenshot(folder / f"{name}.png")


def main(arguments: list[str]) -> None:
    """Run all checks."""
    model = fa.load("all-MiniLM-L6-v2")
    checks: tuple[Callable[[Browser, fa.Trace], None], ...] = (
        check_opening,
        check_numbers,
        check_lines,
        check_keys,
        check_choices,
    )
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        file, markup = Path(folder, "text.html"), Path(folder, "markup.html")
        file.write_text(fa.explain(model, TEXT, name="all-MiniLM-L6-v2"))
        markup.write_text(fa.explain(model, MARKUP, PAIR))
        page.open(file, *SIZES["desktop"])
        for check in checks:
            check(page, fa.trace(model, TEXT))
        check_markup(page, markup)
        check_sizes(page, file)
        for path in map(Path, arguments):
            draw(page, file, path)
        assert page.complaints == []
    print("the page of fastattn explain shows what fa.trace computes")


if __name__ == "__main__":
    main(sys.argv[1:])
