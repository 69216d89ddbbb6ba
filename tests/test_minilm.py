"""The real all-MiniLM-L6-v2 against transformers in float64, and promises of bits."""

import mmap
import pickle
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.folders import DATA, memory_of
from support.promises import BOUNDS

import fastattn as fa
from fastattn.models.model import TABLES

# What may differ from transformers in float64.
HIDDEN_TOLERANCE = float(BOUNDS["hidden states"])
VECTOR_TOLERANCE = float(BOUNDS["unit vectors"])


@pytest.fixture(scope="module")
def model():
    return fa.load("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "minilm.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def texts(expected):
    return [str(text) for text in expected["texts"]]


@pytest.fixture(scope="module")
def many(texts):
    """Make 64 different texts of all lengths, none of them too long."""
    words = " ".join(re.findall(r"\w+", fa.attention.__doc__)).split()
    return [" ".join(words[i : i + 1 + i * i % 97]) for i in range(64)]


def run(model, expected):
    names = ("input_ids", "attention_mask", "token_type_ids")
    return model.model(*(expected[name] for name in names))


class TestParity:
    def test_hidden_states_of_a_ragged_batch(self, model, expected, isa):
        lengths = expected["attention_mask"].sum(axis=1)
        assert (lengths.min(), lengths.max()) == (1, 512)
        hidden = run(model, expected)
        assert not hidden[expected["attention_mask"] == 0].any()
        kept = np.take_along_axis(hidden, expected["columns"][..., None], axis=1)
        np.testing.assert_allclose(kept, expected["hidden"], rtol=0, atol=HIDDEN_TOLERANCE)

    def test_unit_vectors(self, model, expected, texts, isa):
        vectors = model.encode(texts, on_truncation="ignore")
        np.testing.assert_allclose(
            vectors, expected["vectors"], rtol=0, atol=VECTOR_TOLERANCE
        )
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)

    def test_which_texts_are_cut(self, model, texts):
        with pytest.warns(fa.TruncationWarning, match="2 of 20 texts cut at 256 tokens"):
            model.encode(texts)
        assert model.max_length == 256
        (states,) = model.encode(texts[-1:], output="tokens", on_truncation="ignore")
        assert states.shape == (256, 384)

    def test_length_is_not_that_of_the_tokenizer_file(self, model):
        # tokenizer.json pads everything to 128 tokens, and cuts at 128.
        assert model.encode("one", output="tokens").shape == (3, 384)
        assert model.encode("one " * 200, output="tokens").shape == (202, 384)

    def test_what_the_folder_says(self, model):
        assert (list(model.modules), model.prompt) == (["1_Pooling", "2_Normalize"], "")
        assert model.model.hidden_size == model.config.hidden_size == 384
        raw = model.encode("a text", normalize=False)
        assert abs(np.linalg.norm(raw) - 1) > 0.1
        np.testing.assert_allclose(
            raw,
            model.encode("a text", output="tokens").mean(axis=0),
            rtol=1e-4,
            atol=1e-6,
        )


class TestBits:
    def test_alone_in_a_batch_and_on_one_thread(self, model, many):
        vectors = model.encode(many)
        alone = [model.encode(text, num_threads=1) for text in many]
        assert len(set(map(bytes, alone))) == len(set(many))
        assert_same_bits(vectors, np.array(alone))

    @pytest.mark.parametrize("threads", THREADS)
    def test_threads(self, model, texts, threads):
        vectors = model.encode(texts, on_truncation="ignore")
        other = model.encode(texts, on_truncation="ignore", num_threads=threads)
        assert_same_bits(other, vectors)

    @pytest.mark.parametrize("batch_tokens", [1, 700, 10**6])
    def test_batch_tokens(self, model, many, batch_tokens):
        assert_same_bits(model.encode(many, batch_tokens=batch_tokens), model.encode(many))

    def test_order(self, model, many):
        assert_same_bits(model.encode(many[::-1]), model.encode(many)[::-1])

    def test_padding(self, model, expected):
        mask = expected["attention_mask"]
        hidden = run(model, expected)
        for row, length in enumerate(mask.sum(axis=1)):
            alone = model.model(
                expected["input_ids"][row : row + 1, :length],
                token_type_ids=expected["token_type_ids"][row : row + 1, :length],
            )
            assert_same_bits(hidden[row, :length], alone[0])

    def test_instruction_sets(self, model, texts):
        assert_same_on_fma_isas(lambda: model.encode(texts, on_truncation="ignore"))

    def test_pickle(self, model, many):
        copy = pickle.loads(pickle.dumps(model))
        assert copy.config == model.config
        assert copy.max_length == model.max_length
        assert_same_bits(copy.encode(many), model.encode(many))

    def test_used_from_many_threads(self, model, many):
        vectors = model.encode(many)
        slices = [slice(start, start + 1 + start % 7) for start in range(48)]
        with ThreadPoolExecutor(8) as pool:
            results = pool.map(lambda part: model.encode(many[part]), slices)
            for part, result in zip(slices, results, strict=True):
                assert_same_bits(result, vectors[part])


class TestLoad:
    def test_both_names(self, model):
        other = fa.load("sentence-transformers/all-MiniLM-L6-v2")
        assert_same_bits(other.encode("a text"), model.encode("a text"))

    def test_the_network_is_never_touched(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        assert fa.load("all-MiniLM-L6-v2").encode("a text").shape == (384,)

    def test_embedding_tables_stay_in_the_file(self, model):
        # A word's row is a page of the map, which is read-only, not a copy of 47 MB.
        state = model.model.state_dict()
        for name in TABLES:
            assert isinstance(memory_of(state[f"{name}.weight"]), mmap.mmap)
