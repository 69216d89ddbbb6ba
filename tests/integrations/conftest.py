"""What the checks share: a real model, and a reranker as small as can be."""

import sys
from pathlib import Path

import pytest

import fastattn as fa

sys.path.insert(0, str(Path(__file__).parents[1]))

DATA = Path(__file__).parents[1] / "data"
TEXTS = [
    "A cat sleeps on the warm roof.",
    "Kittens like to sleep in the sun.",
    "The central bank raised interest rates.",
    "Shares fell after the bank's decision.",
]


@pytest.fixture(scope="session")
def texts():
    return TEXTS


@pytest.fixture(scope="session")
def encoder():
    return fa.load("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def reranker():
    return fa.load(DATA / "cross" / "electra")
