"""scikit-learn: a pipeline, cross-validation, copies, pickles, names of features."""

import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from fastattn.integrations.sklearn import TextVectorizer

ANIMALS = ["cat", "dog", "kitten", "puppy", "horse", "sheep", "goat", "rabbit"]
MONEY = ["bank", "rates", "shares", "stocks", "bonds", "loans", "taxes", "prices"]
TEXTS = [f"All about {word}" for word in ANIMALS + MONEY]
LABELS = np.repeat([0, 1], 8)


def pipeline():
    return make_pipeline(TextVectorizer("all-MiniLM-L6-v2"), LogisticRegression())


def test_cross_validation(texts):
    assert cross_val_score(pipeline(), TEXTS, LABELS, cv=4).mean() > 0.8
    assert "torch" not in sys.modules


def test_search_over_settings_in_processes():
    grid = {"textvectorizer__truncate_dim": [8, None]}
    search = GridSearchCV(pipeline(), grid, cv=2, n_jobs=2).fit(TEXTS, LABELS)
    assert search.predict(["All about pets"]) == [0]


def test_copies(encoder):
    vectorizer = TextVectorizer("all-MiniLM-L6-v2", truncate_dim=7, normalize=False)
    other = clone(vectorizer)
    assert other.get_params() == vectorizer.get_params()
    expected = encoder.encode(TEXTS, truncate_dim=7, normalize=False)
    np.testing.assert_array_equal(other.fit_transform(TEXTS), expected)


def test_pickle_holds_no_model():
    fitted = pipeline().fit(TEXTS, LABELS)
    pickled = pickle.dumps(fitted)
    print(f"pickle of the fitted pipeline: {len(pickled)} bytes")
    assert len(pickled) < 6000
    np.testing.assert_array_equal(
        pickle.loads(pickled).predict(TEXTS), fitted.predict(TEXTS)
    )


def test_names_of_features():
    vectorizer = TextVectorizer("all-MiniLM-L6-v2", truncate_dim=3).fit(TEXTS)
    names = [f"textvectorizer{i}" for i in range(3)]
    assert vectorizer.get_feature_names_out().tolist() == names


def test_a_column_of_a_table():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": TEXTS, "n": range(16)})
    columns = make_column_transformer(
        (TextVectorizer("all-MiniLM-L6-v2"), "text"), ("passthrough", ["n"])
    )
    assert columns.fit_transform(table).shape == (16, 385)
    assert columns.get_feature_names_out()[-1] == "passthrough__n"
