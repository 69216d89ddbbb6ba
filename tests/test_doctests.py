"""Every example in a docstring is run."""

import doctest
import importlib
import pkgutil
import shutil

import pytest
from support.folders import DATA

import fastattn

# Running it is what it is for.
SCRIPTS = {"fastattn.__main__"}
MODULES = sorted(
    {module.name for module in pkgutil.walk_packages(fastattn.__path__, "fastattn.")}
    - SCRIPTS
)


# What examples need beside the packages of models.
NEEDS = {"fastattn.distributed": "distributed"}

# Models that examples load, which no package carries: tiny ones stand in for them.
STAND_INS = {
    "cross-encoder/ms-marco-MiniLM-L6-v2": DATA / "cross" / "electra",
    "naver/splade-v3": DATA / "sparse" / "bert",
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Put the stand-ins into a cache of the Hugging Face hub."""
    cache = tmp_path_factory.mktemp("hub")
    for name, folder in STAND_INS.items():
        snapshots = cache / f"models--{name.replace('/', '--')}" / "snapshots"
        shutil.copytree(folder, snapshots / "main")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(cache))
        yield


@pytest.mark.parametrize("name", ["fastattn", *MODULES])
def test_examples(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_public_functions_have_examples():
    finder = doctest.DocTestFinder()
    without = [
        name
        for name in fastattn.__all__
        if callable(value := getattr(fastattn, name))
        and not any(test.examples for test in finder.find(value, name))
    ]
    assert without == []
