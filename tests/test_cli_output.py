"""The file of `fastattn encode --output`: there as a whole, or not at all."""

import contextlib
import json
import os
import signal

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.command_line import TEXTS, assert_one_line, encode
from support.folders import TINY
from support.processes import python

import fastattn as fa
from fastattn import cli, files


@pytest.fixture
def path(tmp_path):
    """Give the path of a file that is there already."""
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"before")
    return path


def test_vectors(capsys, tmp_path, path, model):
    assert encode(*TEXTS, "--output", path) == 0
    assert capsys.readouterr().out == f"{path}: 3 vectors of 32 values\n"
    assert_same_bits(np.load(path), model.encode(TEXTS))
    assert os.listdir(tmp_path) == ["vectors.npy"]


def test_no_texts(tmp_path, path):
    (tmp_path / "empty").write_text("")
    assert encode("--input", tmp_path / "empty", "--output", path) == 0
    assert np.load(path).shape == (0, 32)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("nameless", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, path, monkeypatch, error, nameless):
    def fail(file, header):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(files, "write_array_header_1_0", fail)
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    interrupted = isinstance(error, KeyboardInterrupt)
    assert encode("a", "--output", path) == (130 if interrupted else 2)
    assert os.listdir(tmp_path) == ["vectors.npy"]
    assert path.read_bytes() == b"before"


def test_where_every_file_has_a_name(tmp_path, path, model, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    assert encode(*TEXTS, "--output", path) == 0
    assert_same_bits(np.load(path), model.encode(TEXTS))
    assert os.listdir(tmp_path) == ["vectors.npy"]


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGKILL", "SIGHUP"])
def test_a_killed_process_leaves_what_was_there(tmp_path, path, signal_name):
    killed = python(f"""
        import os, signal
        from fastattn import cli, files

        def fail(file, header):
            file.write(b"half of it")
            file.flush()
            os.kill(os.getpid(), signal.{signal_name})

        files.write_array_header_1_0 = fail
        cli.main(["encode", "--model", {str(TINY)!r}, "a", "--output", {str(path)!r}])
    """)
    assert killed.returncode == -signal.Signals[signal_name]
    assert path.read_bytes() == b"before"
    with files.open_nameless(tmp_path) or contextlib.nullcontext() as nameless:
        left = [name for name in os.listdir(tmp_path) if name != "vectors.npy"]
        assert len(left) == (0 if nameless else 1)
    assert all(name.startswith(".vectors.npy.") for name in left)


def test_no_room_leaves_what_was_there(tmp_path, path):
    """A limit to the size of files stands for a disk that is full."""
    done = python(f"""
        import resource
        from fastattn.cli import main

        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        arguments = ["--model", {str(TINY)!r}, "a", "--output", {str(path)!r}]
        raise SystemExit(main(["encode", *arguments]))
    """)
    assert done.returncode == 2
    assert done.stderr == f"fastattn: error: {path}: File too large\n"
    assert os.listdir(tmp_path) == ["vectors.npy"]
    assert path.read_bytes() == b"before"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.npy").symlink_to(tmp_path / "there" / "real.npy")
    assert encode("a", "--output", tmp_path / "link.npy") == 0
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "there" / "real.npy").shape == (1, 32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/folder.npy", "there is no folder"),
        ("folder.npy", "not a regular file"),
        ("vectors", "must end in .npy (- is standard output: JSON Lines; a folder ends in"),
        ("vectors.csv", "must end in .npy"),
        ("/dev/null", "must end in .npy"),
    ],
)
def test_nowhere_to_write_fails_before_the_work(capsys, tmp_path, name, message):
    """Before the model is looked for, and before the input is read."""
    (tmp_path / "folder.npy").mkdir()
    for arguments in (["--input", "no/file"], ["a"]):
        command = ["encode", "--model", "no-such-model", *arguments]
        assert cli.main([*command, "--output", f"{tmp_path}/{name}"]) == 2
        assert_one_line(capsys, f"{tmp_path}/{name}: ", message)
    assert os.listdir(tmp_path) == ["folder.npy"]


def test_a_folder_that_cannot_be_written_to(capsys, tmp_path, monkeypatch):
    # The superuser may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    path = tmp_path / "vectors.npy"
    assert cli.main(["encode", "--model", "no-such-model", "a", "--output", str(path)]) == 2
    assert_one_line(capsys, f"{path}: the folder {tmp_path} cannot be written to")


class TestStandardOutput:
    def test_lines_of_json(self, capsys, tmp_path, monkeypatch, model):
        monkeypatch.chdir(tmp_path)
        texts = [*TEXTS, 'a "狐"\nand\x85more']
        assert encode(*texts, "--output", "-") == 0
        shown = capsys.readouterr()
        rows = [json.loads(line) for line in shown.out.split("\n")[:-1]]
        assert [row["text"] for row in rows] == texts
        vectors = np.array([row["vector"] for row in rows], np.float32)
        assert_same_bits(vectors, model.encode(texts))
        assert shown.err == ""
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("precision", ["float16", "ubinary"])
    def test_precision(self, capsys, path, model, precision):
        expected = model.encode(TEXTS, precision=precision)
        assert encode(*TEXTS, "--precision", precision, "--output", path) == 0
        np.testing.assert_array_equal(np.load(path), expected)
        capsys.readouterr()
        assert encode(*TEXTS, "--precision", precision, "--output", "-") == 0
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        found = np.array([row["vector"] for row in rows], expected.dtype)
        np.testing.assert_array_equal(found, expected)

    def test_no_texts(self, capsys, tmp_path):
        (tmp_path / "empty").write_text("")
        assert encode("--input", tmp_path / "empty", "--output", "-") == 0
        assert capsys.readouterr().out == ""

    def test_numbers_are_short(self, capsys, monkeypatch, model):
        vectors = np.array([[0.1, 1e-30, -3e38, 0]], np.float32)
        monkeypatch.setattr(type(model), "encode", lambda self, inputs, **options: vectors)
        encode("a", "--output", "-")
        expected = '{"text": "a", "vector": [0.1, 1e-30, -3e+38, 0.0]}\n'
        assert capsys.readouterr().out == expected

    def test_a_page(self, capsys, model):
        assert cli.main(["explain", "--model", str(TINY), "a cat", "-o", "-"]) == 0
        assert capsys.readouterr().out == fa.explain(model, "a cat", name="tiny_bert")

    def test_closed(self, capsys, monkeypatch):
        monkeypatch.setattr("sys.stdout", None)
        assert encode("--input", "no/file", "--output", "-") == 2
        assert_one_line(capsys, "standard output is closed")
