"""From a name or a folder to the object that it is."""

import pytest
from support.folders import TINY
from support.processes import printed

import fastattn as fa


def test_load_and_the_class_give_the_same():
    texts = ["a text", "another"]
    loaded, of_class = fa.load(TINY), fa.TextEncoder.load(TINY, weights="float32")
    assert type(loaded) is type(of_class) is fa.TextEncoder
    assert loaded.encode(texts).tobytes() == of_class.encode(texts).tobytes()
    assert fa.TextEncoder.load(TINY, weights="int8").nbytes < of_class.nbytes


def test_the_class_checks_its_arguments_first(tmp_path):
    with pytest.raises(ValueError, match="weights must be one of"):
        fa.TextEncoder.load(tmp_path / "nowhere", weights="int4")
    with pytest.raises(FileNotFoundError):
        fa.TextEncoder.load(tmp_path / "nowhere")


def test_names_stay_what_they_are_once_they_were_imported():
    # A submodule of the name of a function would take its place in the package.
    kinds = printed(
        """
        import fastattn as fa
        for name in fa.__all__ * 2:
            print(type(getattr(fa, name)).__name__)
        """
    ).split()
    modules = [n for n, kind in zip(fa.__all__ * 2, kinds, strict=True) if kind == "module"]
    assert modules == ["nn", "plot"] * 2
