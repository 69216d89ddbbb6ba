"""The classes of sentence-transformers for rerankers and for weights of words."""

import inspect
import re

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import DATA
from support.processes import ROOT
from support.torch_stub import Tensor

import fastattn as fa
from fastattn.integrations import sentence_transformers as theirs
from fastattn.integrations.loaded import loaded

TEXTS = ["the cat", "a dog is under the sky, and red", "", "the red sky"]
PAIRS = [["the cat", "a dog"], ["the sky", "is red"], ["the cat", ""]]
CROSS, SPARSE = DATA / "cross" / "electra", DATA / "sparse" / "bert"


def test_page_has_every_keyword():
    """The tables of docs/texts.md name what constructors and methods take."""
    kinds = theirs.SentenceTransformer, theirs.CrossEncoder, theirs.SparseEncoder
    functions = [vars(each).get("__init__") for kind in kinds for each in kind.__mro__[:-1]]
    methods = "encode", "predict", "rank"
    functions += [getattr(kind, name, None) for kind in kinds for name in methods]
    taken = {
        name
        for function in filter(None, functions)
        for name, told in inspect.signature(function).parameters.items()
        if name != "self" and told.kind != told.VAR_KEYWORD
    }
    text = (ROOT / "docs" / "texts.md").read_text(encoding="utf-8")
    section = text.partition("\n## Coming from sentence-transformers\n")[2]
    cells = re.findall(r"^\| (`[a-z].*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(cells)))
    assert named - set(methods) == taken


def test_adapters_take_a_model_or_its_name():
    model = loaded(fa.CrossEncoder, str(CROSS))
    assert loaded(fa.CrossEncoder, model) is model
    with pytest.raises(fa.ModelFormatError, match="holds a CrossEncoder"):
        loaded(fa.TextEncoder, CROSS)
    for other in (model, None):
        kind = type(other).__name__
        with pytest.raises(TypeError, match=rf"a fastattn\.TextEncoder, .* got {kind}"):
            loaded(fa.TextEncoder, other)


class TestCrossEncoder:
    @pytest.mark.parametrize(
        "inputs",
        [{"a": "b"}, {("a", "b")}, [{"query": "a", "document": "b"}], [{"a", "b"}]],
    )
    def test_refuses_what_has_no_order_or_is_more_than_keys(self, inputs):
        model = theirs.CrossEncoder(CROSS)
        with pytest.raises(TypeError, match=r"must be a list, got (dict|set)"):
            model.predict(inputs)

    @pytest.mark.parametrize("documents", [{"a": 1}, {"a", "b"}, "abc", None])
    def test_refuses_documents_that_are_no_list(self, documents):
        ranker = DATA / "cross" / "bert"
        with pytest.raises(TypeError, match="documents must be a list"):
            theirs.CrossEncoder(ranker).rank("q", documents)

    def test_refuses_what_is_no_text(self):
        ranker = theirs.CrossEncoder(DATA / "cross" / "bert")
        with pytest.raises(TypeError, match=r"query must be a str, got NoneType$"):
            ranker.rank(None, ["a"])
        with pytest.raises(
            TypeError, match=r"documents\[1\] must be a str, got nan: leave"
        ):
            ranker.rank("a", ["a", float("nan")])

    @pytest.fixture
    def model(self):
        return theirs.CrossEncoder(CROSS, num_labels=1, max_length=20)

    def test_pairs_may_be_lists(self, model):
        expected = model.encoder.predict([tuple(pair) for pair in PAIRS])
        for pairs in (PAIRS, [tuple(p) for p in PAIRS], np.array(PAIRS), iter(PAIRS)):
            assert_same_bits(model.predict(pairs), expected)
        for pair in (PAIRS[0], tuple(PAIRS[0])):
            assert model.predict(pair) == expected[0]
        assert model.predict([]).shape == (0,)

    def test_activations(self, model):
        logits = model.encoder.predict([tuple(p) for p in PAIRS], activation="identity")
        found = model.predict(PAIRS, activation_fn=np.tanh, num_workers=2)
        assert_same_bits(found, np.tanh(logits))
        assert_same_bits(model.predict(PAIRS, activation_fn=lambda x: x[:, 0]), logits)
        other = theirs.CrossEncoder(CROSS, activation_fn=np.negative)
        assert_same_bits(other.predict(PAIRS), -logits)
        with pytest.raises(TypeError, match="activation_fn must be a function"):
            other.activation_fn = "tanh"
        with pytest.raises(TypeError, match="activation_fn must be a function"):
            model.predict(PAIRS, activation_fn="tanh")

    def test_tensors(self, model, torch):
        expected = model.predict(PAIRS)
        tensor = model.predict(PAIRS, convert_to_tensor=True)
        assert isinstance(tensor, Tensor)
        assert_same_bits(np.asarray(tensor), expected)
        listed = model.predict(PAIRS, convert_to_numpy=False)
        assert [each.shape for each in listed] == [()] * len(PAIRS)

    def test_rank(self, model):
        query, documents = "the cat", ["a dog", "the red cat", "the cat"]
        expected = model.encoder.rank(query, documents, top_k=2, return_documents=True)
        found = model.rank(query, documents, 2, True, convert_to_tensor=True)
        assert found == expected
        assert len(model.rank(query, documents)) == 3

    def test_several_labels(self):
        folder = next(
            path.parent
            for path in sorted((DATA / "cross").glob("*/config.json"))
            if len(fa.load(path.parent).labels) > 1
        )
        model = theirs.CrossEncoder(folder)
        pairs = [tuple(pair) for pair in PAIRS]
        assert_same_bits(model.predict(PAIRS), model.encoder.predict(pairs))
        logits = model.encoder.predict(pairs)
        assert_same_bits(model.predict(PAIRS, apply_softmax=True), fa.softmax(logits))
        with pytest.raises(ValueError, match="rank is about one score"):
            model.rank("a", ["b"])
        with pytest.raises(ValueError, match="num_labels must be"):
            theirs.CrossEncoder(folder, num_labels=1)


class TestSparseEncoder:
    @pytest.fixture
    def model(self):
        return theirs.SparseEncoder(SPARSE)

    def test_without_torch(self, model, no_torch):
        expected = model.encoder.encode(TEXTS)
        found = model.encode(TEXTS)
        assert_same_bits(found.toarray(), expected.toarray())
        assert model.encode(TEXTS[0]).shape == (model.get_embedding_dimension(),)
        dense = model.encode(TEXTS, convert_to_sparse_tensor=False)
        assert_same_bits(dense, expected.toarray())
        listed = model.encode(TEXTS, convert_to_tensor=False)
        assert model.decode([]) == []
        assert model.similarity([], found).shape == (0, len(TEXTS))
        for given in (found, dense, listed):
            assert model.decode(given, 3) == model.encoder.decode(expected, 3)
            similarities = model.encoder.similarity(expected, expected)
            assert_same_bits(model.similarity(given, given), similarities)
            pairwise = model.similarity_pairwise(given, given)
            np.testing.assert_allclose(pairwise, similarities.diagonal(), rtol=1e-6)
        active = np.count_nonzero(dense, axis=1).mean()
        ratio = 1 - active / dense.shape[1]
        assert model.sparsity(found) == {"active_dims": active, "sparsity_ratio": ratio}
        both = model.intersection(model.encode(TEXTS[0]), found)
        assert_same_bits(both.toarray(), dense[0] * dense)

    def test_with_torch(self, model, torch):
        expected = model.encoder.encode(TEXTS, max_active_dims=4)
        found = model.encode(TEXTS, max_active_dims=4)
        rows, columns = found.indices
        assert columns.tolist() == expected.indices.tolist()
        assert np.bincount(rows).tolist() == np.diff(expected.indptr).tolist()
        dense = model.encode(TEXTS, convert_to_sparse_tensor=False)
        assert isinstance(dense, Tensor)
        assert isinstance(model.similarity(dense, dense), Tensor)

    def test_of_nothing(self, model):
        assert model.encode([]).shape == (0, model.get_embedding_dimension())
