"""The command line, called as a function, with the tiny model."""

from fastattn.cli import main
from support.folders import TINY

TEXTS = ["the cat", "a dog", "the sun is red"]


def encode(*arguments):
    return main(["encode", "--model", str(TINY), *map(str, arguments)])


def rank(query, *arguments):
    folder = TINY.parent / "cross" / "electra"
    return main(["rank", "--model", str(folder), query, *map(str, arguments)])


def assert_one_line(capsys, *parts):
    """Hold standard error to one line of an error, and standard output to nothing."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fastattn")
    assert shown.err.count("\n") == 1
    assert ": error: " in shown.err
    for part in parts:
        assert part in shown.err
