"""`fastattn encode --output FOLDER/`, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.command_line import TEXTS, assert_one_line, encode
from support.folders import TINY
from support.processes import environment

import fastattn as fa
from fastattn.corpus import progress


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = [json.dumps({"body": text, "key": text[-3:]}) for text in TEXTS]
    path.write_text("\n".join([*lines, "{"]))
    return path


def test_a_folder(capsys, tmp_path, source, model):
    out = f"{tmp_path / 'out'}/"
    options = "--field", "body", "--id-field", "key", "--shard-rows", 2
    for _ in range(2):
        assert encode("--input", source, "--output", out, *options) == 0
        assert capsys.readouterr().out == f"{out}: 4 vectors of 32 values, 1 of them NaN\n"
    vectors = fa.open_vectors(out)
    assert_same_bits(vectors[:3], model.encode(TEXTS))
    assert vectors.ids[:] == ["cat", "dog", "red", None]
    assert encode("--input", source, "--output", out, *options, "--prompt-name", "x") == 2


def test_machines(capsys, tmp_path, source, model):
    options = "--input", source, "--field", "body", "--shard-rows", 2
    out = f"{tmp_path / 'out'}/"
    for shards in "3/4", "1/2":  # of two shards there is none for the first
        assert encode(*options, "--output", out, "--shards", shards) == 0
        assert capsys.readouterr().out == f"{out}: shards of others are not there yet\n"
    assert encode(*options, "--output", out, "--shards", "0/2") == 0
    np.testing.assert_array_equal(fa.open_vectors(out)[:3], model.encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--output", "{out}/"), "a folder is for the texts of --input FILE"),
        (("--output", "{out}/", "a text"), "a folder is for the texts of --input FILE"),
        (("--output", "{out}/", "--input", "-"), "the texts of --input FILE"),
        (("a text", "--processes", "2"), "--processes is about a folder of vectors"),
        (("a text", "--shards", "x"), "argument --shards: expected I/N, got 'x'"),
        (("--output", "{out}/", "--input", "{source}"), "must be"),
        (("--output", "{out}/", "--input", "no.txt", "--model", "no"), "no.txt: No such"),
        (("--output", "{out}/", "--input", "a.md", "--model", "no"), "a.md: the name of"),
        (("--output", "{out}/", "--input", "{source}", "--model", "no"), "no field 'text'"),
    ],
)
def test_wrong_options(capsys, tmp_path, source, options, says):
    names = {"out": tmp_path / "out", "source": source}
    given = [option.format(**names) for option in options]
    if says == "must be":
        given += ["--field", "body", "--precision", "binary"]
    try:
        assert encode(*given) == 2
    except SystemExit as stopped:
        assert stopped.code == 2
    assert_one_line(capsys, says)


def start(tmp_path, processes):
    """Start to encode more than a test waits for; give it when there is a shard."""
    source, out = tmp_path / "a.txt", tmp_path / "out"
    source.write_text("the cat and the dog run\n" * 200_000)
    command = [sys.executable, "-m", "fastattn", "encode", "--model", str(TINY)]
    command += ["--input", str(source), "--output", f"{out}/", "--shard-rows", "100"]
    command += ["--processes", str(processes)]
    encoder = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, start_new_session=True
    )
    while not list(out.glob("*.npy")):
        assert encoder.poll() is None
        time.sleep(0.01)
    return encoder, out


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_that_is_killed(tmp_path):
    encoder, _ = start(tmp_path, 2)
    children = Path(f"/proc/{encoder.pid}/task/{encoder.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)
    complaints = encoder.communicate(timeout=60)[1].decode()
    assert encoder.returncode == 2
    assert complaints.startswith("fastattn: error: a process that encoded was killed")
    assert complaints.count("\n") == 1


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_leave_whole_shards(tmp_path, processes, name):
    encoder, out = start(tmp_path, processes)
    encoder.send_signal(signal.Signals[name])
    complaints = encoder.communicate(timeout=60)[1]
    assert encoder.returncode == (130 if name == "SIGINT" else -signal.SIGTERM)
    assert complaints == b""
    while True:  # the other processes end, too
        try:
            os.killpg(encoder.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    for path in out.glob("*.npy"):
        assert np.load(path).shape == (100, 32)


def test_a_log_has_a_line_a_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Meter(True) as meter:
        for now[0] in range(0, 130, 10):
            meter.advance(100, 108_000)
        now[0] = 180
        meter.advance(0, None)
    assert capsys.readouterr().err.splitlines() == [
        "fastattn: 700 texts, 12 a second, about 2 h 34 min left",
        "fastattn: 1,300 texts, 11 a second, about 2 h 46 min left",
        "fastattn: 1,300 texts, 7 a second",
    ]
