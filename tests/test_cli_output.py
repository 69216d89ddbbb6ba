"""The file of `fastattn encode --output`: there as a whole, or not at all."""

import contextlib
import os
import signal

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.command_line import TEXTS, assert_one_line, encode
from support.folders import TINY
from support.processes import python

import fastattn as fa
from fastattn import cli


@pytest.fixture(scope="module")
def model():
    return fa.load(TINY)


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

    monkeypatch.setattr(cli, "write_array_header_1_0", fail)
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    interrupted = isinstance(error, KeyboardInterrupt)
    assert encode("a", "--output", path) == (130 if interrupted else 2)
    assert os.listdir(tmp_path) == ["vectors.npy"]
    assert path.read_bytes() == b"before"


def test_where_every_file_has_a_name(tmp_path, path, model, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    (tmp_path / f".vectors.npy.{os.getpid()}.tmp").write_bytes(b"of a killed process")
    assert encode(*TEXTS, "--output", path) == 0
    assert_same_bits(np.load(path), model.encode(TEXTS))
    assert os.listdir(tmp_path) == ["vectors.npy"]


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGKILL", "SIGHUP"])
def test_a_killed_process_leaves_what_was_there(tmp_path, path, signal_name):
    killed = python(f"""
        import os, signal
        from fastattn import cli

        def fail(file, header):
            file.write(b"half of it")
            file.flush()
            os.kill(os.getpid(), signal.{signal_name})

        cli.write_array_header_1_0 = fail
        cli.main(["encode", "--model", {str(TINY)!r}, "a", "--output", {str(path)!r}])
    """)
    assert killed.returncode == -signal.Signals[signal_name]
    assert path.read_bytes() == b"before"
    with cli.open_nameless(tmp_path) or contextlib.nullcontext() as nameless:
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
    assert done.stderr.startswith("fastattn: error: ")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["vectors.npy"]
    assert path.read_bytes() == b"before"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.npy").symlink_to(tmp_path / "there" / "real.npy")
    assert encode("a", "--output", tmp_path / "link.npy") == 0
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "there" / "real.npy").shape == (1, 32)


@pytest.mark.parametrize("name", ["no/folder.npy", ".", "/dev/null"])
def test_nowhere_to_write_fails_before_the_work(capsys, tmp_path, name):
    path = tmp_path / name
    arguments = ["encode", "--model", "no-such-model", "a", "--output", str(path)]
    assert cli.main(arguments) == 2
    assert_one_line(capsys, str(path))
