"""TextEncoder.encode and similarity: options, order, bits, memory, errors."""

import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits
from support.folders import TINY

import fastattn as fa
from fastattn.models.batches import WINDOW_BATCHES
from fastattn.models.tokenization import SLICE_TEXTS

TEXTS = ["the cat", "a dog is under the sky, and it is red", "", "x", "the cat"]
LONG = "run " * 100


class TestShapes:
    def test_one_text(self, model):
        vector = model.encode("the cat")
        assert vector.shape == (32,)
        assert_same_bits(vector, model.encode(["the cat"])[0])

    def test_no_texts(self, model):
        vectors = model.encode([])
        assert vectors.shape == (0, 32)
        assert vectors.dtype == np.float32
        assert model.encode([], truncate_dim=5).shape == (0, 5)
        assert model.encode([], output="tokens") == []

    def test_tokens(self, model):
        states = model.encode(TEXTS, output="tokens")
        assert [len(state) for state in states] == [4, 13, 2, 3, 4]
        for text, state in zip(TEXTS, states, strict=True):
            ids = model.tokenizer.encode(text).ids
            assert_same_bits(state, model.model([ids])[0])
        assert_same_bits(model.encode("x", output="tokens"), states[3])


class TestBits:
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
    def test_any_texts_alone_and_together(self, model, texts):
        vectors = model.encode(texts, on_truncation="ignore")
        assert vectors.shape == (len(texts), 32)
        for vector, text in zip(vectors, texts, strict=True):
            alone = model.encode(text, on_truncation="ignore", num_threads=1)
            assert_same_bits(vector, alone)

    @pytest.mark.parametrize("batch_tokens", [1, 7, 100, sys.maxsize])
    def test_batch_tokens_over_several_windows(self, model, batch_tokens):
        # More texts than are tokenized at once, and more tokens than a window has.
        texts = [f"{i} " + "the dog " * (i * i % 11) for i in range(2 * SLICE_TEXTS + 9)]
        size = sum(len(model.tokenizer.encode(text).ids) for text in texts)
        assert size > 2 * WINDOW_BATCHES * 100
        vectors = model.encode(texts, batch_tokens=batch_tokens)
        alone = [model.encode(text, num_threads=1) for text in texts]
        assert_same_bits(vectors, np.array(alone))

    @pytest.mark.parametrize("threads", THREADS)
    def test_threads(self, model, threads):
        vectors = model.encode(TEXTS, num_threads=threads)
        assert_same_bits(vectors, model.encode(TEXTS))

    def test_many_threads_share_a_model(self, model):
        vectors = model.encode(TEXTS)
        with ThreadPoolExecutor(32) as pool:
            for result in pool.map(lambda _: model.encode(TEXTS), range(200)):
                assert_same_bits(result, vectors)


class TestOptions:
    def test_prompt(self, model):
        expected = model.encode(["one the cat", "one x"])
        assert_same_bits(model.encode(["the cat", "x"], prompt="one "), expected)

    def test_normalize(self, model):
        raw = model.encode(TEXTS, normalize=False)
        norms = np.linalg.norm(raw.astype(float), axis=1, keepdims=True)
        assert (np.abs(norms - 1) > 0.1).all()
        unit = model.encode(TEXTS, normalize=True)
        np.testing.assert_allclose(unit, raw / norms, rtol=1e-6)
        assert_same_bits(unit, model.encode(TEXTS))

    @pytest.mark.parametrize("dim", [1, 5, 31, 32])
    def test_truncate_dim(self, model, dim):
        raw = model.encode(TEXTS, normalize=False)
        cut = model.encode(TEXTS, normalize=False, truncate_dim=dim)
        assert_same_bits(cut, raw[:, :dim])
        unit = model.encode(TEXTS, truncate_dim=dim)
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(
            unit, cut / np.linalg.norm(cut, axis=1, keepdims=True), rtol=1e-6
        )

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"output": "words"},
                ValueError,
                "output must be one of 'sentence', 'tokens'",
            ),
            (
                {"on_truncation": None},
                ValueError,
                "on_truncation must be one of 'warn'",
            ),
            ({"batch_tokens": 0}, ValueError, "batch_tokens must be at least 1"),
            ({"batch_tokens": 1.5}, TypeError, "batch_tokens must be an integer"),
            ({"batch_tokens": True}, TypeError, "batch_tokens must be an integer"),
            ({"normalize": 1}, TypeError, "normalize must be True or False, got 1"),
            ({"show_progress": "no"}, TypeError, "show_progress must be True or False"),
            (
                {"truncate_dim": 0},
                ValueError,
                "truncate_dim must be from 1 to 32, got 0",
            ),
            ({"truncate_dim": 33}, ValueError, "truncate_dim must be from 1 to 32"),
            ({"truncate_dim": "8"}, TypeError, "truncate_dim must be an integer"),
            ({"prompt": 1}, TypeError, "prompt must be a str, got int"),
            ({"prompt": "\ud800"}, ValueError, "prompt is not valid Unicode"),
            ({"num_threads": 0}, ValueError, "number of threads"),
            ({"num_threads": "2"}, TypeError, "number of threads"),
            ({"output": "tokens", "normalize": True}, ValueError, "sentence vectors"),
            ({"output": "tokens", "truncate_dim": 8}, ValueError, "sentence vectors"),
        ],
    )
    def test_bad_values(self, model, options, error, message):
        with pytest.raises(error, match=message):
            model.encode(["a"], **options)


class TestTruncation:
    @pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
    def test_one_warning_counts_them_all(self, model, method):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encode = getattr(model, method)
            vectors = encode([LONG, "x", LONG + "cat"], batch_tokens=8)
        (warning,) = caught
        assert warning.category is fa.TruncationWarning
        assert str(warning.message) == "2 of 3 texts cut at 48 tokens"
        assert warning.filename == __file__
        assert_same_bits(vectors[0], vectors[2])

    def test_ignore(self, model):
        assert model.encode(LONG, on_truncation="ignore").shape == (32,)

    def test_error_names_the_text(self, model):
        with pytest.raises(ValueError, match=r"inputs\[1\] has more than 48 tokens"):
            model.encode(["x", LONG, LONG], on_truncation="error")

    def test_the_limit_itself_is_not_cut(self, model):
        text = "run " * 46
        assert model.encode(text, output="tokens").shape == (48, 32)
        with pytest.warns(fa.TruncationWarning, match="1 of 1 texts"):
            model.encode(text + "run")

    def test_a_prompt_counts(self, model):
        with pytest.warns(fa.TruncationWarning, match="1 of 1 texts"):
            model.encode("run " * 46, prompt="the ")


class TestBadInput:
    @pytest.mark.parametrize("wrong", [None, 1, b"text", ["a"], float("nan"), np.int64(1)])
    def test_a_text_that_is_none(self, model, wrong):
        with pytest.raises(TypeError, match=r"inputs\[2\] must be a str, got"):
            model.encode(["a", "b", wrong])

    @pytest.mark.parametrize("gap", [None, float("nan"), np.float64("nan")])
    def test_a_gap_has_a_cure(self, model, gap):
        cure = r"inputs\[1\] must be a str, got .*: leave gaps out, or put ''"
        with pytest.raises(TypeError, match=cure):
            model.encode(["a", gap])
        with pytest.raises(TypeError, match=cure):
            [*model.encode_stream(["a", gap])]
        with pytest.raises(TypeError, match=r"must be a str, got float$"):
            model.encode(["a", 1.5])

    @pytest.mark.parametrize("wrong", ["\ud800", "a\udfffb"])
    def test_lone_surrogates(self, model, wrong):
        texts = ["a"] * (SLICE_TEXTS + 3) + [wrong]
        message = rf"inputs\[{SLICE_TEXTS + 3}\] is not valid Unicode"
        with pytest.raises(ValueError, match=message):
            model.encode(texts)


class TestSimilarity:
    def test_cosine(self, model):
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((2, 3, 7)).astype(np.float32)
        b = np.concatenate([b, [[1e-20] * 7, [1e18] * 7, a[0] * 5]]).astype(np.float32)
        exact = a.astype(float) @ b.T.astype(float)
        exact /= np.outer(np.linalg.norm(a.astype(float), axis=1), [1] * 6)
        exact /= np.linalg.norm(b.astype(float), axis=1)
        result = model.similarity(a, b)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, exact, rtol=0, atol=1e-6)

    def test_single_vectors_and_zeros(self, model):
        one = np.array([3, 4], np.float32)
        result = model.similarity(one, [[6, 8], [-4, 3], [-3, -4], [0, 0]])
        np.testing.assert_allclose(result, [[1, 0, -1, 0]], rtol=0, atol=1e-6)
        assert result[0, 3] == 0
        assert model.similarity([[0, 0]], one).tolist() == [[0]]

    def test_no_vectors(self, model):
        vectors = model.encode(TEXTS)
        assert model.similarity(model.encode([]), vectors).shape == (0, len(TEXTS))

    def test_bad_values(self, model):
        with pytest.raises(ValueError, match="vectors of one length, got 2 and 3"):
            model.similarity([[1, 2]], [[1, 2, 3]])
        with pytest.raises(ValueError, match="b must have 1 or 2 dimensions, got 3"):
            model.similarity([1], [[[1]]])
        with pytest.raises(TypeError, match="a must be float32"):
            model.similarity(np.ones((2, 2)), [[1, 2]])


class TestProgress:
    def test_shown_when_asked_for(self, model, capsys):
        model.encode(TEXTS, show_progress=True)
        shown = capsys.readouterr().err
        assert "5/5" in shown
        assert "texts" in shown

    @pytest.mark.parametrize("show", [None, False])
    def test_not_shown_where_there_is_no_terminal(self, model, capsys, show):
        model.encode(["x"] * (SLICE_TEXTS + 1), show_progress=show)
        assert capsys.readouterr() == ("", "")

    def test_shown_by_itself_on_long_work_on_a_terminal(self, model, capsys, monkeypatch):
        monkeypatch.setattr("fastattn.text_base.PROGRESS_DELAY_SECONDS", 0)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        model.encode(["x"] * SLICE_TEXTS)
        assert capsys.readouterr().err == ""
        model.encode(["x"] * (SLICE_TEXTS + 1))
        assert f"{SLICE_TEXTS + 1}/{SLICE_TEXTS + 1}" in capsys.readouterr().err


class TestMissingPackages:
    """A machine without the extra is told what to install."""

    @pytest.mark.parametrize("package", ["tokenizers", "safetensors"])
    def test_load(self, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        message = rf"package {package}: pip install 'fastattn\[text\]"
        with pytest.raises(ImportError, match=message):
            fa.load(TINY)

    def test_progress_bar(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        with pytest.raises(ImportError, match=r"package tqdm: pip install 'fastattn\[text"):
            model.encode("a", show_progress=True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert model.encode(["a"] * (SLICE_TEXTS + 1)).shape == (SLICE_TEXTS + 1, 32)


def test_memory_does_not_grow_with_the_texts(model):
    def peak(count):
        texts = ["the cat is red"] * count
        tracemalloc.start()
        try:
            vectors = model.encode(texts, batch_tokens=256, num_threads=1)
            return (
                tracemalloc.get_traced_memory()[1] - vectors.nbytes - sys.getsizeof(texts)
            )
        finally:
            tracemalloc.stop()

    peak(1000)
    assert peak(8_000) < 1.2 * peak(2_000)


def test_repr_says_what_matters(model):
    shown = repr(model)
    assert shown.startswith("TextEncoder(EncoderModel(")
    assert "max_length=48, modules={'1_Pooling': Pooling('mean'), '2_Norm" in shown
