"""KeyBERT: our backend, and its own by our class."""

import sys

import pytest
from keybert import KeyBERT

import fastattn as fa
from fastattn.integrations import install_as_sentence_transformers
from fastattn.integrations.keybert import FastattnBackend

TEXT = (
    "Supervised learning is the machine learning task of learning a function that maps an "
    "input to an output based on example pairs of an input and an output."
)


def test_our_backend_and_our_class_find_the_same(encoder):
    ours = KeyBERT(FastattnBackend(encoder)).extract_keywords(TEXT)
    install_as_sentence_transformers()
    for model in (fa.SentenceTransformer("all-MiniLM-L6-v2"), "all-MiniLM-L6-v2"):
        assert KeyBERT(model).extract_keywords(TEXT) == ours
    assert len(ours) == 5
    assert any("learning" in word or "supervised" in word for word, _ in ours)
    assert "torch" not in sys.modules


@pytest.mark.parametrize("options", [{"use_mmr": True}, {"use_maxsum": True}])
def test_its_ways_to_choose(encoder, options):
    model = KeyBERT(FastattnBackend(encoder))
    found = model.extract_keywords([TEXT, TEXT], keyphrase_ngram_range=(1, 2), **options)
    assert found[0] == found[1] != []
