"""Pictures, looked at: what is written where, and in which colour."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot
from support.processes import printed

import fastattn as fa

WORDS = (
    "the quick brown fox antidisestablishmentarianism jumps over $x_1$ and 5 $ of ##ing "
    "[SEP] WWWWWWWWWWWWWWWWWWWWWWWW"
).split()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def words(count):
    return list(itertools.islice(itertools.cycle(WORDS), count))


def weights(queries, keys=None):
    rng = np.random.default_rng(queries)
    query = rng.standard_normal((queries, 16), np.float32)
    key = rng.standard_normal((keys or queries, 16), np.float32)
    return fa.attention_weights(query, key)


def extent(ax, artist):
    """Return (left, bottom, right, top) in pixels."""
    return artist.get_window_extent(ax.figure.canvas.get_renderer()).extents


def texts_on(ax):
    """Give what is written on a picture, after it is drawn."""
    ax.figure.canvas.draw()
    texts = [ax.xaxis.label, ax.yaxis.label, *ax.texts]
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = axis.get_major_ticks()
        shown = [tick for tick in ticks if low <= tick.get_loc() <= high]
        texts += [text for tick in shown for text in (tick.label1, tick.label2)]
    return [text for text in texts if text.get_text() and text.get_visible()]


def assert_readable(ax):
    """No text covers another one or leaves the figure."""
    texts = texts_on(ax)
    low, high = np.split(np.array([extent(ax, text) for text in texts]), 2, axis=1)
    assert (low < high).all()
    assert (low >= -1).all()
    assert (high <= ax.figure.bbox.size + 1).all()
    apart = ((low[:, None] >= high) | (high[:, None] <= low)).any(axis=-1)
    covered = [(texts[i], texts[j]) for i, j in np.argwhere(~apart) if i < j]
    assert covered == []


def pixels(ax, places):
    """Return the colours (0 to 255) that the picture has at places (x, y) of its Axes."""
    ax.figure.canvas.draw()
    picture = np.asarray(ax.figure.canvas.buffer_rgba())[::-1, :, :3].astype(int)
    columns, rows = ax.transData.transform(places).astype(int).T
    return picture[rows, columns]


def luminance(colour):
    """Return the relative luminance of WCAG 2.1, 0 to 1."""
    return np.power(np.asarray(colour)[..., :3] / 255, 2.2) @ (0.2126, 0.7152, 0.0722)


# ---- Labels -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 15, 40, 60, 200])
def test_labels_of_any_number_of_tokens_are_readable(count):
    ax = fa.plot.attention(weights(count), words(count))
    assert_readable(ax)
    assert len(ax.get_yticklabels()) == (count if count <= 60 else 100)


@pytest.mark.parametrize("queries, keys", [(1, 40), (40, 1), (2, 15), (60, 30)])
def test_labels_of_cross_attention_are_readable(queries, keys):
    ax = fa.plot.attention(weights(queries, keys), words(queries), words(keys)[::-1])
    assert_readable(ax)
    assert len(ax.get_xticklabels()) == keys
    assert len(ax.get_yticklabels()) == queries
    assert ax.get_xticklabels()[-1].get_text() == "the"


def test_labels_fit_the_axes_that_are_given():
    figure, both = pyplot.subplots(1, 2, figsize=(7, 4), layout="constrained")
    for ax, count in zip(both, (40, 5), strict=True):
        assert fa.plot.attention(weights(count), words(count), ax=ax) is ax
    for ax in both:
        assert_readable(ax)
    assert pyplot.get_fignums() == [figure.number]


def test_tokens_are_data_and_long_ones_are_shortened():
    ax = fa.plot.attention(weights(3), ["$x^2$", "two\nlines", "a" * 30])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        shown = [label.get_text() for label in labels]
        assert shown == ["$x^2$", "two lines", "a" * 15 + "…"]
        assert not any(label.get_parse_math() for label in labels)


def test_cells_without_tokens_have_their_indices():
    ax = fa.plot.attention(weights(3))
    shown = {text.get_text() for text in texts_on(ax)}
    assert {"0", "1", "2", "key", "query"} <= shown
    assert not any("." in text for text in shown)


# ---- Colours ------------------------------------------------------------------------


def test_cells_are_darker_the_larger_the_weight():
    array = weights(6)
    ax = fa.plot.attention(array, words(6))
    cells = sorted(np.ndindex(6, 6), key=array.__getitem__)
    light = luminance(pixels(ax, [(column, row) for row, column in cells])).tolist()
    assert light == sorted(light, reverse=True)
    assert light[0] > 0.9 > 0.1 > light[-1]


def test_colours_of_signed_values():
    ax = fa.plot.matrix([[-2, -1, 0, 1, 2]])
    assert ax.images[0].get_clim() == (-2, 2)
    colours = pixels(ax, [(column, 0) for column in range(5)])
    light = luminance(colours)
    assert light[0] < light[1] < light[2] > light[3] > light[4]
    for red, blue in zip(colours[:2], colours[:2:-1], strict=True):
        assert red[0] > red[2] + 50
        assert blue[2] > blue[0] + 50
    assert np.ptp(colours[2]) < 5


def test_what_is_hidden_is_grey_and_takes_no_part_in_the_scale():
    scores = np.array([[1, -np.inf], [np.nan, 3]], np.float32)
    ax = fa.plot.attention(scores, digits=0)
    assert ax.images[0].get_clim() == (0, 3)
    assert (np.ptp(pixels(ax, [(1, 0), (0, 1)]), axis=1) == 0).all()
    assert [text.get_text() for text in ax.texts] == ["1", "3"]


@pytest.mark.parametrize("array", [[[0, 0]], [[-np.inf]]])
def test_a_picture_of_nothing(array):
    ax = fa.plot.attention(array)
    assert ax.images[0].get_clim() == (0, 1)
    ax.figure.canvas.draw()


@pytest.mark.parametrize("dtype", [bool, int, np.float16, np.float32, np.float64])
def test_dtypes(dtype):
    ax = fa.plot.attention(np.eye(2, dtype=dtype))
    dark, light = luminance(pixels(ax, [(0, 0), (1, 0)]))
    assert dark < light


@pytest.mark.parametrize("count", [2, 12])
def test_numbers_stand_out_in_their_cells(count):
    array = weights(count)
    array[0, 0] = -array.max()
    ax = fa.plot.matrix(array, digits=3)
    assert_readable(ax)
    assert [text.get_text() for text in ax.texts] == [f"{x:.3f}" for x in array.flat]
    for text in ax.texts:
        column, row = text.get_position()
        left, bottom, right, top = extent(ax, text)
        (x0, y1), (x1, y0) = ax.transData.transform(
            [(column - 0.5, row - 0.5), (column + 0.5, row + 0.5)]
        )
        assert x0 < left < right < x1
        assert y0 < bottom < top < y1
        cell = luminance(255 * np.array(ax.images[0].to_rgba(array[row, column])))
        ink = {"black": 0, "white": 1}[text.get_color()]
        contrast = (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05)
        assert contrast > 4.5  # what WCAG 2.1 asks of small text


def test_no_negative_zero():
    ax = fa.plot.matrix([[-0.001, 1]], digits=1)
    assert [text.get_text() for text in ax.texts] == ["0.0", "1.0"]


# ---- The other pictures -------------------------------------------------------------


def test_heads_stand_in_the_row_of_their_layer():
    array = np.zeros((3, 5, 4, 2))
    array[2, 4, 0, 1] = 1
    ax = fa.plot.heads(array)
    assert_readable(ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == list("01234")
    assert [label.get_text() for label in ax.get_yticklabels()] == list("012")
    places = list(
        itertools.product(np.arange(-0.25, 4.5, 0.5), np.arange(-0.375, 2.5, 0.25))
    )
    light = luminance(pixels(ax, places))
    assert [places[i] for i in np.flatnonzero(light < 0.5)] == [(4.25, 1.625)]


def test_positions_are_rows():
    table = fa.sinusoidal_positions(20, 8)
    ax = fa.plot.positions(table)
    assert_readable(ax)
    assert ax.images[0].get_clim() == (-1, 1)
    np.testing.assert_array_equal(ax.images[0].get_array(), table)
    position, dimension = np.unravel_index(table.argmin(), table.shape)
    [[red, _, blue]] = pixels(ax, [(dimension, position)])
    assert red > blue


@pytest.mark.parametrize("count", [1, 15, 40, 120])
def test_links_lead_to_the_largest_weights(count):
    array = weights(count, 30)
    ax = fa.plot.links(array, words(count), -1, words(30), count=4)
    assert_readable(ax)
    strongest = np.argsort(-array[-1])[:4]
    ends = [line.get_ydata().tolist() for line in ax.lines]
    assert ends == [[count - 1, key] for key in strongest]
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths == sorted(widths, reverse=True)
    dark = [text for text in ax.texts if text.get_alpha() == 1]
    assert len(dark) == 1 + 4
    for text in dark[1:]:
        key = text.get_position()[1]
        assert text.get_text().endswith(f"  {array[-1, key]:.2f}")


def test_links_of_weight_zero_are_not_drawn():
    ax = fa.plot.links([[0.75, 0, 0.25]], ["a"], 0, ["b", "c", "d"])
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0, 0], [0, 2]]
    assert fa.plot.links([[0, 0]], ["a"], 0, ["b", "c"]).lines[:] == []


# ---- Bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda p: p.attention("no"), TypeError, "weights must be an array of real"),
        (lambda p: p.attention([[1j]]), TypeError, "weights must be an array of real"),
        (lambda p: p.attention([1, 2]), ValueError, r"\(Lq, Lk\) of one head, got \(2,\)"),
        (lambda p: p.attention(np.ones((0, 3))), ValueError, r"got \(0, 3\)"),
        (lambda p: p.attention([[1]], "a"), TypeError, "tokens must be a sequence of str"),
        (lambda p: p.attention([[1]], [3]), TypeError, r"tokens\[0\] must be a str"),
        (lambda p: p.attention([[1]], 3), TypeError, "tokens must be a sequence of str"),
        (lambda p: p.attention([[1]], ["a", "b"]), ValueError, "tokens must be 1 words"),
        (lambda p: p.attention([[1, 2]], ["a"]), ValueError, "keys must be 2 words, got 1"),
        (lambda p: p.attention([[1]], digits=0.5), TypeError, "digits must be an integer"),
        (lambda p: p.attention([[1]], digits=-1), ValueError, "digits must be at least 0"),
        (lambda p: p.attention([[1]], ax=[1]), TypeError, "ax must be one matplotlib Axes"),
        (lambda p: p.matrix([[1]], ["a", "b"]), ValueError, "rows must be 1 words, got 2"),
        (lambda p: p.matrix([[1]], None, []), ValueError, "columns must be 1 words, got 0"),
        (lambda p: p.heads([[1]]), ValueError, r"\(layers, heads, Lq, Lk\), got \(1, 1\)"),
        (lambda p: p.heads([[1], [1, 2]]), TypeError, "weights cannot be read"),
        (lambda p: p.positions([1]), ValueError, r"table must have shape \(length, dim\)"),
        (lambda p: p.links([[-1]], ["a"], 0), ValueError, "weights must be 0 or more"),
        (lambda p: p.links([[np.nan]], ["a"], 0), ValueError, "weights must be 0 or more"),
        (lambda p: p.links([[1]], None, 0), TypeError, "tokens must be a sequence of str"),
        (lambda p: p.links([[1]], ["a"], 1), IndexError, "query must be from -1 to 0"),
        (lambda p: p.links([[1]], ["a"], -2), IndexError, "query must be from -1 to 0"),
        (lambda p: p.links([[1]], ["a"], "a"), TypeError, "query must be an integer"),
        (lambda p: p.links([[1]], ["a"], 0, count=0), ValueError, "count must be at least"),
    ],
)
def test_bad_input_is_refused_in_the_words_of_the_caller(call, error, words):
    with pytest.raises(error, match=words):
        call(fa.plot)
    assert pyplot.get_fignums() == []


def test_matplotlib_is_imported_by_the_first_picture():
    script = """
        import sys, fastattn as fa
        fa.plot
        print("matplotlib" in sys.modules)
        sys.modules["matplotlib"] = None
        try:
            fa.plot.attention([[1]])
        except ImportError as error:
            print(error)
    """
    assert printed(script).splitlines() == [
        "False",
        "pictures need the package matplotlib: pip install 'fastattn[plot]'",
    ]
