"""The page of fastattn explain: one file, text as data, the numbers of the trace."""

import base64
import json
import os
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from support.folders import DATA, TINY, change_json, change_tensors, copy_tiny

import fastattn as fa
from fastattn.cli import main
from fastattn.page.opening import opening

TEXT = "the big fox jumped over a small dog"
MARKUP = "</script><script>a & b<!-- \u2028狐"
# Those that have a tokenizer.
FAMILIES = sorted(path.parent for path in DATA.glob("families/*/tokenizer.json"))
# The digits behind the point that the page shows.
DIGITS = {"weights": 4}


class Reader(HTMLParser):
    """What an HTML parser finds: elements, attributes, and the text of scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.scripts = [], {}, []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        if self.elements and self.elements[-1] == "script":
            self.scripts.append(data)


def data_of(page):
    return json.loads(Reader(page).scripts[0])


def unpacked(stored, *shape):
    memory = zlib.decompress(base64.b64decode(stored["base64"]))
    return np.frombuffer(memory, f"<{np.dtype(stored['kind']).str[1:]}").reshape(shape)


def numbers_of(stored, heads, length, dim):
    """Compute what the page shows of a layer, as numbers.js does."""

    def vectors(name):
        return unpacked(stored[name], heads, length, dim).astype(float)

    def matrix(name):
        return unpacked(stored[name], heads, length, length)

    def rounded(x):
        return np.floor(x + 0.5)

    q, k, v = map(vectors, ("queries", "keys", "values"))
    products = rounded(q @ k.swapaxes(1, 2) / 100) + matrix("products")
    scores = rounded(products / np.sqrt(dim)) + matrix("scores")
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) / 100)
    shares = rounded(10000 * powers / powers.sum(axis=-1, keepdims=True))
    weights = shares + matrix("weights")
    context = rounded(weights @ v / 10000) + vectors("contexts")
    hundredths = {"queries": q, "keys": k, "values": v, "products": products}
    hundredths |= {"scores": scores, "context": context}
    return {name: x / 100 for name, x in hundredths.items()} | {"weights": weights / 10000}


@pytest.mark.parametrize("folder", [TINY, *FAMILIES], ids=lambda path: path.name)
def test_numbers_are_those_of_the_trace(folder):
    model = fa.load(folder)
    text = TEXT[:15]
    data, traced = data_of(fa.explain(model, text)), fa.trace(model, text)
    assert data["tokens"] == traced.tokens
    assert len(data["layers"]) == len(traced.layers)
    sizes = data["heads"], len(traced.tokens), data["dim"]
    for stored, layer in zip(data["layers"], traced.layers, strict=True):
        grouped = data["heads"] // len(layer["keys"])
        keys, values = (np.repeat(layer[name], grouped, 0) for name in ("keys", "values"))
        products = layer["queries"].astype(float) @ keys.astype(float).swapaxes(1, 2)
        expected = {**layer, "keys": keys, "values": values, "products": products}
        # What a query may not look at.
        expected["scores"] = np.where(layer["scores"] == -np.inf, -1e5, layer["scores"])
        for name, shown in numbers_of(stored, *sizes).items():
            half = 0.5 * 10.0 ** -DIGITS.get(name, 2)
            assert np.abs(shown - expected[name]).max() <= half * (1 + 1e-6), name


@pytest.mark.parametrize("text", ["", "a", "a " * 100])
def test_any_length(model, text, recwarn):
    data = data_of(fa.explain(model, text))
    assert len(data["tokens"]) == min(2 + len(text.split()), 48)
    assert all(len(layer) == 7 for layer in data["layers"])
    assert len(recwarn) == (len(text) > 100)


def heads_of(length):
    """Give heads that look at one token, at one place, everywhere, and at certain words."""
    everywhere = np.full((length, length), 1 / length)
    same_token = 0.1 * everywhere + 0.9 * (np.arange(length) == 0)
    diagonals = [0.1 * everywhere + 0.9 * np.eye(length, k=k) for k in (0, 1, -3)]
    certain = everywhere.copy()
    certain[2] = 0.5 * everywhere[2] + 0.5 * (np.arange(length) == 7)
    return np.array([everywhere, same_token, *diagonals, certain], np.float32)


@pytest.mark.parametrize("layer", [0, 1])
def test_opens_on_a_head_in_which_words_look_at_certain_words(layer):
    dull, telling = heads_of(10)[:-1], heads_of(10)[[0, 1, 2, 3, 5]]
    layers = [telling, dull] if layer == 0 else [dull, telling]
    expected = {"layer": layer, "head": 4, "token": 2}
    assert opening(layers, [0] * 10) == expected
    # Special tokens do not count, on either side.
    assert opening(layers, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]) == expected
    assert opening(layers, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) != expected
    assert opening(layers, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]) != expected


@pytest.mark.parametrize("special", [[1, 1], [1, 0, 1], [1, 0, 0, 1]])
def test_opens_on_the_first_head_where_no_word_has_another_to_look_at(special):
    length = len(special)
    weights = np.random.default_rng(0).random((2, 3, length, length), np.float32)
    expected = {"layer": 0, "head": 0, "token": special.index(0) if 0 in special else 0}
    assert opening(weights, special) == expected


def test_opens_on_what_the_weights_say():
    text = "The animal didn't cross the street because it was too tired."
    data = data_of(fa.explain(fa.load("all-MiniLM-L6-v2"), text))
    it = data["tokens"].index("it")
    assert data["opening"] == {"layer": 2, "head": 1, "token": it}  # it -> tired


def with_values_times(factor, folder):
    """Load the tiny model with the values of its first layer made larger."""
    name = "encoder.layer.0.attention.self.value.weight"

    def grow(tensors):
        (found,) = (key for key in tensors if key.endswith(name))
        return tensors | {found: tensors[found] * np.float32(factor)}

    change_tensors(copy_tiny(folder), grow)
    return fa.load(folder / "tiny")


def test_large_numbers(tmp_path):
    model = with_values_times(1e3, tmp_path)
    data = data_of(fa.explain(model, TEXT))
    sizes = data["heads"], len(data["tokens"]), data["dim"]
    assert data["layers"][0]["values"]["kind"] == "int32"
    shown = numbers_of(data["layers"][0], *sizes)["values"]
    exact = fa.trace(model, TEXT).layers[0]["values"]
    assert np.abs(shown - exact).max() <= 0.00501


@pytest.mark.parametrize("factor", [1e7, 1e38])
def test_numbers_that_are_too_large(tmp_path, factor):
    with pytest.raises(ValueError, match=r"not below 1e\+05"):
        fa.explain(with_values_times(factor, tmp_path), TEXT)


def test_a_pair(model):
    data = data_of(fa.explain(model, "a cat", "the dog", name="tiny"))
    assert (data["text"], data["pair"], data["model"]) == ("a cat", "the dog", "tiny")
    assert data["tokens"] == ["[CLS]", "a", "cat", "[SEP]", "the", "dog", "[SEP]"]
    assert data["special"] == [1, 0, 0, 1, 0, 0, 1]
    assert data["second"] == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("folder", FAMILIES, ids=lambda path: path.name)
def test_the_second_of_a_pair(folder):
    """Where a model tells its tokens apart by no type, too."""
    model = fa.load(folder)
    second = data_of(fa.explain(model, "the", "fox"))["second"]
    sequences = model.tokenizer.encode("the", "fox").sequence_ids
    start = sequences.index(1)
    assert second == [0] * start + [1] * (len(sequences) - start)


def test_what_follows_the_layers(model):
    modules = data_of(fa.explain(model, "a cat"))["modules"]
    assert modules == [repr(module) for module in model.modules.values()]
    assert modules[0] == "Pooling('mean')"


def test_text_is_data(model):
    plain, page = fa.explain(model, "a"), fa.explain(model, MARKUP, "<b>", name=MARKUP)
    data = data_of(page)
    assert [data[x] for x in ("text", "pair", "model")] == [MARKUP, "<b>", MARKUP]
    assert Reader(page).elements == Reader(plain).elements
    outside = [
        re.sub(r'(?s)<script type="application/json".*?</script>', "", each)
        for each in (plain, page)
    ]
    assert outside[0] == outside[1]


def test_nothing_outside_is_referred_to(model):
    page = fa.explain(model, TEXT)
    assert not {"src", "href", "action"} & Reader(page).attributes.keys()
    urls = re.findall(r"https?://[^\"']+|url\(|@import|import ", page)
    assert urls == ["http://www.w3.org/2000/svg"]  # the name of SVG, no address
    assert "default-src 'none'" in page
    assert "/* data */" not in page


def test_size():
    model = fa.load("all-MiniLM-L6-v2")
    rng = np.random.default_rng(0)
    words = [word for word in model.tokenizer.get_vocab() if word.isalpha()]
    text = " ".join(rng.choice(sorted(words), 126))
    page = fa.explain(model, text)
    assert len(data_of(page)["tokens"]) >= 128
    assert len(page) < 4e6


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, "a"), TypeError, "model must be a TextEncoder, a Cross.*, got NoneType"),
        (("model", 3), TypeError, "text must be a str, got int"),
        (("model", "a", ["b"]), TypeError, "pair must be a str, got list"),
        (("model", "\ud800"), ValueError, "lone surrogate"),
    ],
)
def test_wrong_arguments(model, arguments, error, message):
    arguments = [model if x == "model" else x for x in arguments]
    with pytest.raises(error, match=message):
        fa.explain(*arguments)


class TestCommand:
    def run(self, *arguments):
        return main(["explain", "--model", str(TINY), *map(str, arguments)])

    def test_writes_a_page(self, capsys, tmp_path, model):
        path = tmp_path / "page.html"
        assert self.run(TEXT, "--pair", "a cat", "-o", path) == 0
        assert path.read_text() == fa.explain(model, TEXT, "a cat", name="tiny_bert")
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        assert capsys.readouterr().out == f"{path}: {size}, opens in a browser\n"
        assert os.listdir(tmp_path) == ["page.html"]

    def test_the_name_of_the_page(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert self.run("a") == 0
        assert os.listdir(tmp_path) == ["attention.html"]

    def test_a_text_that_is_cut(self, capsys, tmp_path):
        assert self.run("a " * 100, "-o", tmp_path / "page.html") == 0
        warning = "fastattn: warning: the text was cut at 48 tokens\n"
        assert capsys.readouterr().err == warning

    def test_a_tokenizer_that_fails_over_a_text(self, capsys, tmp_path):
        folder = copy_tiny(tmp_path)
        nothing = {"type": "FixedLength", "length": 0}
        change_json(folder / "tokenizer.json", pre_tokenizer=nothing)
        name = "PreTrainedTokenizerFast"
        change_json(folder / "tokenizer_config.json", tokenizer_class=name)
        assert self.run("a", "--model", folder, "-o", tmp_path / "page.html") == 2
        message = "fastattn: error: tokenizer.json: chunk size must be non-zero\n"
        assert capsys.readouterr().err == message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["\udcff"], "lone surrogate"),
            (["a", "--pair", "\udcff"], "the text of --pair: not Unicode"),
            (["a", "-o", "no/folder.html"], "there is no folder"),
            (["a", "-o", "page.pdf"], "page.pdf: a file that is written must end in .html"),
            (["a", "--model", "no-such-model"], "no-such-model"),
        ],
    )
    def test_errors(self, capsys, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        assert self.run(*arguments) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("fastattn: error: ")
        assert shown.err.count("\n") == 1
        assert message in shown.err
        assert os.listdir(tmp_path) == []
