"""Every example in a docstring is run."""

import doctest
import importlib
import pkgutil

import pytest

import fastattn

# Running it is what it is for.
SCRIPTS = {"fastattn.__main__"}
MODULES = sorted(
    {module.name for module in pkgutil.walk_packages(fastattn.__path__, "fastattn.")}
    - SCRIPTS
)


@pytest.mark.parametrize("name", ["fastattn", *MODULES])
def test_examples(name):
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
