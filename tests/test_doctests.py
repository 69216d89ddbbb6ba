"""Every example in a docstring is run."""

import doctest
import importlib
import pkgutil

import pytest
from support.stand_ins import fill_cache

import fastattn

# Running it is what it is for.
SCRIPTS = {"fastattn.__main__"}
# They import what they are named after, and .ci/integrations runs them.
ADAPTERS = {
    f"fastattn.integrations.{name}"
    for name in (
        *("langchain", "llama_index", "sklearn", "haystack"),
        *("chroma", "lancedb", "keybert", "bertopic"),
    )
}
MODULES = sorted(
    {module.name for module in pkgutil.walk_packages(fastattn.__path__, "fastattn.")}
    - SCRIPTS
    - ADAPTERS
)


# What examples need beside the packages of models.
NEEDS = {"fastattn.distributed": "distributed"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    cache = tmp_path_factory.mktemp("hub")
    fill_cache(cache)
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
