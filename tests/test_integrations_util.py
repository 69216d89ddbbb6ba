"""What searches and compares in the twin of sentence_transformers.util."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.torch_stub import Tensor

import fastattn as fa
from fastattn import similarity
from fastattn.integrations.sentence_transformers import SimilarityFunction, util


def whole_numbers(*shape, seed=0):
    """Give vectors whose products are exact in float32."""
    numbers = np.random.default_rng(seed).integers(-9, 10, shape)
    return numbers.astype(np.float32)


A, B = whole_numbers(7, 6), whole_numbers(5, 6, seed=1)


@pytest.mark.parametrize(
    ("name", "function"),
    [("cosine", "cos_sim"), ("dot", "dot_score")]
    + [(name, f"{name}_sim") for name in ("euclidean", "manhattan")],
)
class TestSimilarity:
    def test_each_with_each(self, name, function):
        compare = getattr(util, function)
        expected = similarity.every(name, A, B)
        for a in (A, A.tolist(), list(A), A.astype(np.float64), A.astype(np.int8)):
            assert_same_bits(compare(a, B), expected)
        assert_same_bits(compare(A[0], B), similarity.every(name, A[0], B))
        assert compare is SimilarityFunction.to_similarity_fn(name)

    def test_each_with_its_own(self, name, function):
        compare = getattr(util, f"pairwise_{function}")
        expected = similarity.pairwise(name, A[:5], B)
        assert_same_bits(compare(list(A[:5]), B.astype(np.float64)), expected)
        assert compare(A[0], B[0]) == expected[0]
        named = SimilarityFunction(name)
        assert compare is SimilarityFunction.to_similarity_pairwise_fn(named)

    def test_tensors_of_tensors(self, name, function, torch):
        compare = getattr(util, function)
        found = compare(torch.from_numpy(A.copy()), B)
        assert isinstance(found, Tensor)
        assert_same_bits(np.asarray(found), compare(A, B))


def test_names_of_functions():
    assert SimilarityFunction.possible_values() == [*similarity.FUNCTIONS]
    assert SimilarityFunction.DOT is SimilarityFunction.DOT_PRODUCT


class TestSearch:
    @pytest.mark.parametrize(
        ("metric", "score"), [("cosine", "cos_sim"), ("dot", "dot_score")]
    )
    def test_it_is_top_k(self, metric, score):
        scores, indices = fa.top_k(A, B, 3, metric=metric)
        found = util.semantic_search(A, B, top_k=3, score_function=getattr(util, score))
        assert [[x["corpus_id"] for x in row] for row in found] == indices.tolist()
        assert [[x["score"] for x in row] for row in found] == scores.tolist()
        assert util.information_retrieval(A[0].tolist(), B) == util.semantic_search(
            A[:1], B
        )

    def test_another_score(self, monkeypatch):
        monkeypatch.setattr(util, "BLOCK", 12)  # two queries at a time
        found = util.semantic_search(A, B, top_k=2, score_function=util.euclidean_sim)
        distances = np.abs(A[:, None] - B).astype(np.float64) ** 2
        expected = np.argsort(distances.sum(-1), axis=1, kind="stable")[:, :2]
        assert [[x["corpus_id"] for x in row] for row in found] == expected.tolist()

    def test_fewer_than_asked_for(self):
        assert [len(row) for row in util.semantic_search(A, B, top_k=99)] == [5] * 7

    @pytest.mark.parametrize("name", ["query_chunk_size", "corpus_chunk_size", "top_k"])
    def test_refused(self, name):
        for score in (util.cos_sim, util.manhattan_sim):
            with pytest.raises(ValueError, match="must be at least 1"):
                util.semantic_search(A, B, score_function=score, **{name: 0})


class TestMining:
    @staticmethod
    def pairs(vectors):
        """List all pairs by their dot products, the best first."""
        scores = vectors.astype(np.float64) @ vectors.T
        count = len(vectors)
        every = [[scores[i, j], i, j] for i in range(count) for j in range(i + 1, count)]
        return sorted(every, key=lambda each: -each[0])

    @pytest.mark.parametrize("max_pairs", [4, 1000])
    def test_all_pairs(self, max_pairs):
        vectors = np.vstack([A, A[:2]])  # two of them twice
        options = {"score_function": util.dot_score, "max_pairs": max_pairs}
        found = util.paraphrase_mining_embeddings(vectors, **options)
        assert found == self.pairs(vectors)[:max_pairs]

    def test_of_the_closest(self):
        found = util.paraphrase_mining_embeddings(A, top_k=1, score_function=util.dot_score)
        scores = A @ A.T
        np.fill_diagonal(scores, -np.inf)
        closest = {tuple(sorted((i, int(j)))) for i, j in enumerate(scores.argmax(1))}
        assert {(i, j) for _, i, j in found} == closest

    def test_one_has_no_pair(self):
        assert util.paraphrase_mining_embeddings(A[:1]) == []
        assert util.paraphrase_mining_embeddings(A[:0]) == []

    def test_of_texts(self, folder):
        model = fa.SentenceTransformer(folder)
        texts = ["the cat", "a dog", "the red cat", "a dog"]
        found = util.paraphrase_mining(model, texts, truncate_dim=8)
        vectors = model.encode(texts, truncate_dim=8)
        assert found == util.paraphrase_mining_embeddings(vectors)
        assert found[0][1:] == [1, 3]


class TestCommunities:
    def test_groups_around_axes(self):
        rng = np.random.default_rng(0)
        sizes = {0: 9, 1: 5, 2: 2}
        axes = np.repeat([*sizes], [*sizes.values()])
        rng.shuffle(axes)
        vectors = np.eye(8, dtype=np.float32)[axes] + rng.random((16, 8), np.float32) / 20
        for batch_size in (3, 1024):
            found = util.community_detection(vectors, 0.9, 3, batch_size)
            assert [len(group) for group in found] == [9, 5]
            for axis, group in enumerate(found):
                assert sorted(group) == np.flatnonzero(axes == axis).tolist()
                cosines = util.cos_sim(vectors[group[0]], vectors[group[1:]])[0]
                assert (np.diff(cosines) <= 0).all()

    def test_none(self):
        assert util.community_detection(A[:0]) == []
        assert util.community_detection(A, threshold=0.999, min_community_size=2) == []

    def test_none_is_in_two(self):
        angles = np.linspace(0, 1, 30, dtype=np.float32)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        found = util.community_detection(circle, np.cos(0.2), 3)
        members = [index for group in found for index in group]
        assert len(members) == len(set(members)) > 0


class TestForms:
    def test_scaled_and_cut(self):
        assert_same_bits(util.normalize_embeddings(A), similarity.unit_rows(A))
        assert util.normalize_embeddings(A[0]).shape == (6,)
        assert util.truncate_embeddings(A, 2).shape == (7, 2)
        assert util.truncate_embeddings(A, None) is not None

    @pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary", "float32"])
    def test_fewer_bits(self, precision):
        found = util.quantize_embeddings(A, precision)
        if precision.endswith("int8"):
            steps = (A.max(0) - A.min(0)).astype(np.float64) / 255
            expected = np.floor((A - A.min(0)) / steps) - 128 * (precision == "int8")
            assert np.abs(found - expected).max() <= 1  # a step is a rounded number
        elif precision != "float32":
            bits = np.packbits(A > 0, axis=1).astype(np.int16)
            np.testing.assert_array_equal(found, bits - 128 * (precision == "binary"))
        else:
            assert_same_bits(found, A)
        again = util.quantize_embeddings(list(A), precision, calibration_embeddings=A)
        np.testing.assert_array_equal(again, found)
