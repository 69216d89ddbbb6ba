"""BERTopic: our backend, and its own by our class."""

import sys

import numpy as np
from bertopic import BERTopic
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import fastattn as fa
from fastattn.integrations import install_as_sentence_transformers
from fastattn.integrations.bertopic import FastattnBackend

ANIMALS = ("cat", "dog", "horse", "sheep", "rabbit")
MONEY = ("bank", "stock", "loan", "tax", "bond")
THINGS = ("food", "price", "history", "colour", "future", "size")
TEXTS = [f"The {thing} of the {word}" for word in (*ANIMALS, *MONEY) for thing in THINGS]


def topics(model):
    """Find two topics, by steps that give the same each time."""
    topic_model = BERTopic(
        embedding_model=model,
        umap_model=PCA(5, random_state=0),
        hdbscan_model=KMeans(2, n_init=5, random_state=0),
        calculate_probabilities=False,
    )
    found, _ = topic_model.fit_transform(TEXTS)
    return topic_model, np.array(found)


def test_our_backend_and_our_class_find_the_same(encoder):
    model, ours = topics(FastattnBackend(encoder))
    halves = ours[:30], ours[30:]
    assert all(np.bincount(half).max() >= 24 for half in halves)
    install_as_sentence_transformers()
    other, theirs = topics(fa.SentenceTransformer("all-MiniLM-L6-v2"))
    np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_array_equal(other.topic_embeddings_, model.topic_embeddings_)
    assert "torch" not in sys.modules


def test_with_its_own_steps(encoder):
    found, _ = BERTopic(embedding_model=FastattnBackend(encoder)).fit_transform(TEXTS * 2)
    assert len(found) == 2 * len(TEXTS)
