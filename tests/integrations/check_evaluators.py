"""Evaluators of the real sentence-transformers, on our models."""

import pytest
from sentence_transformers.cross_encoder import evaluation as of_pairs
from sentence_transformers.sentence_transformer import evaluation as of_vectors
from sentence_transformers.sparse_encoder import evaluation as of_words
from side_by_side import EXACT, FOLDERS, PLAIN, TEXTS, assert_like

from fastattn.integrations import sentence_transformers as ours

NAMED = dict(enumerate(TEXTS))
QUERIES = {0: "the cat", 1: "a dog is under the sky"}
RELEVANT = {0: {0, 2}, 1: {1}}
SAMPLES = [{"query": "the cat", "positive": TEXTS[:2], "negative": TEXTS[2:]}]
EVALUATORS = {
    "SentenceTransformer": [
        of_vectors.InformationRetrievalEvaluator(QUERIES, NAMED, RELEVANT),
        of_vectors.RerankingEvaluator(SAMPLES),
        of_vectors.TripletEvaluator(TEXTS, TEXTS, TEXTS[::-1]),
    ],
    "CrossEncoder": [of_pairs.CrossEncoderRerankingEvaluator(SAMPLES)],
    "SparseEncoder": [
        of_words.SparseInformationRetrievalEvaluator(QUERIES, NAMED, RELEVANT),
        of_words.SparseRerankingEvaluator(SAMPLES),
    ],
}


@pytest.mark.parametrize(
    ("kind", "evaluator"), [(kind, e) for kind, es in EVALUATORS.items() for e in es]
)
def test_they_give_what_they_give_for_real_models(kind, evaluator):
    folder = str(FOLDERS[kind])
    models = (getattr(each, kind)(folder) for each in (ours, PLAIN, EXACT))
    assert_like(*(model.evaluate(evaluator) for model in models))
