"""The command line: what it prints, what it writes, and how it fails."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.command_line import TEXTS, assert_one_line, encode
from support.folders import TINY, copy_tiny

import fastattn as fa
from fastattn.cli import main

# What is left in a buffer at the exit is what Python complains of.
BUFFERED = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}


class TestInfo:
    def test_prints_the_configuration(self, capsys):
        fa.show_config()
        expected = capsys.readouterr().out
        assert main(["info"]) == 0
        assert capsys.readouterr().out == expected
        assert fa.show_config("dicts")["instruction set"] in expected

    @pytest.mark.parametrize(
        ("command", "description"),
        [
            ("info", "Show this machine and this installation."),
            ("encode", "Turn texts into vectors."),
            ("rank", "Order texts by how they answer a query."),
            ("explain", "Draw what attends to what in a text."),
            ("download", "Get a model from the Hugging Face hub."),
        ],
    )
    def test_help(self, capsys, command, description):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"\n\n{description}\n\n" in capsys.readouterr().out

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as info:
            main(["--version"])
        assert info.value.code == 0
        assert capsys.readouterr().out == f"fastattn {fa.__version__}\n"


class TestAnswers:
    def test_table_of_a_few_texts(self, capsys, model):
        assert encode(*TEXTS) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 4
        assert len(set(map(len, lines))) == 1
        assert lines[0].split() == ["1", "2", "3"]
        vectors = model.encode(TEXTS)
        for i, line in enumerate(lines[1:]):
            assert line.startswith(f"{i + 1}  {TEXTS[i]} ")
            values = [float(value) for value in line.split()[-3:]]
            exact = vectors.astype(float) @ vectors[i].astype(float)
            np.testing.assert_allclose(values, exact, atol=0.00501)

    def test_one_text(self, capsys, model):
        assert encode("the cat") == 0
        values = " ".join(f"{value:.4f}" for value in model.encode("the cat")[:8])
        assert capsys.readouterr().out == f"32 values, length 1.0000: {values} ...\n"

    def test_many_texts(self, capsys):
        texts = [f"text {i}" for i in range(12)]
        assert encode(*texts, "the cat", "THE CAT!") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("14 texts in ")
        assert len(lines) == 7
        assert all(len(line) < 80 for line in lines)

    def test_no_texts_in_the_input(self, capsys, tmp_path):
        (tmp_path / "empty").write_text("")
        assert encode("--input", tmp_path / "empty") == 0
        assert capsys.readouterr().out.startswith("0 texts")

    def test_truncation_is_one_line(self, capsys):
        assert encode("run " * 100) == 0
        warning = "fastattn: warning: 1 of 1 texts cut at 48 tokens\n"
        assert capsys.readouterr().err == warning

    def test_options_reach_encode(self, model, monkeypatch):
        seen = {}

        def spy(self, inputs, **options):
            seen.update(options)
            return np.ones((1, 32), np.float32)

        monkeypatch.setattr(type(model), "encode", spy)
        assert encode("a", "--threads", 3, "--batch-tokens", 7) == 0
        assert {name: value for name, value in seen.items() if value is not None} == {
            "num_threads": 3,
            "batch_tokens": 7,
        }
        assert encode("a", "--prompt-name", "query", "--truncate-dim", 5) == 0
        assert (seen["prompt_name"], seen["truncate_dim"]) == ("query", 5)

    def test_weights_reach_load(self, tmp_path):
        output = tmp_path / "vectors.npy"
        assert encode("the cat", "--weights", "int8", "--output", output) == 0
        expected = fa.load(TINY, weights="int8").encode(["the cat"])
        np.testing.assert_array_equal(np.load(output), expected)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "COMMAND"),
            (["decode"], "invalid choice: 'decode'"),
            (["info", "more"], "unrecognized arguments: more"),
            (["encode", "--threads", "two", "a"], "--threads: invalid int value"),
            (["encode", "--unknown", "a"], "--unknown"),
            (["encode", "--weights", "int4", "a"], "--weights: invalid choice: 'int4'"),
            (["encode", "--precision", "int8", "a"], "--precision: invalid choice: 'int8'"),
        ],
    )
    def test_usage(self, capsys, arguments, message):
        with pytest.raises(SystemExit) as info:
            main(arguments)
        assert info.value.code == 2
        assert_one_line(capsys, message)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "no texts: give some"),
            (["a", "--input", "b"], "give texts or --input, not both"),
            (["a", "--field", "text"], "give --input FILE"),
            (["--input", "no/file"], "no/file: No such file or directory"),
            (["a", "--threads", "0"], "number of threads"),
            (["a", "--batch-tokens", "0"], "batch_tokens must be at least 1"),
            (
                ["a", "--prompt-name", "b"],
                "prompt_name: the model has no prompts: give fastattn.load some",
            ),
            (["a", "--truncate-dim", "33"], "truncate_dim must be from 1 to 32"),
            (["a", "--precision", "binary"], "--precision is about vectors that are"),
            (["a", "\udcff"], "text 2: not Unicode: character 1 is a lone surrogate"),
        ],
    )
    def test_encode(self, capsys, arguments, message):
        assert encode(*arguments) == 2
        assert_one_line(capsys, message)

    @pytest.mark.parametrize("name", ["no-such-model", "no/such/folder"])
    def test_no_model(self, capsys, name):
        assert main(["encode", "--model", name, "a"]) == 2
        assert_one_line(capsys, name)

    def test_damaged_model(self, capsys, tmp_path):
        folder = copy_tiny(tmp_path)
        (folder / "model.safetensors").write_bytes(b"")
        assert main(["encode", "--model", str(folder), "a"]) == 2
        assert_one_line(capsys, "model.safetensors: ")

    def test_an_unforeseen_error_is_one_line_too(self, capsys, model, monkeypatch):
        def fail(self, inputs, **options):
            raise MemoryError

        monkeypatch.setattr(type(model), "encode", fail)
        assert encode("a") == 2
        assert_one_line(capsys, "MemoryError")


class TestSignals:
    def test_control_c(self):
        program = (
            "import fastattn.cli as cli; print('ready', flush=True); "
            "raise SystemExit(cli.main(['encode', '--input', '-']))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            # It reads until the line that never ends, and waits there.
            process.stdin.write(b"x" * 100_000)
            process.stdin.flush()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
            assert process.stderr.read() == b""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["encode", "--model", str(TINY), *TEXTS],
            ["encode", "--model", str(TINY), *TEXTS, "--output", "-"],
            ["explain", "--model", str(TINY), "a cat", "--output", "-"],
            ["info"],
            ["--help"],
        ],
    )
    def test_closed_pipe(self, arguments):
        read, write = os.pipe()
        os.close(read)
        result = subprocess.run(
            [sys.executable, "-m", "fastattn", *arguments],
            env=BUFFERED,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(write)
        assert result.returncode == 141
        assert result.stderr == b""

    @pytest.mark.parametrize(
        ("redirection", "status", "message"),
        [
            ("> /dev/full", 2, "fastattn: error: standard output: No space left"),
            (">&-", 0, ""),
            (">&- 2>&-", 0, ""),
        ],
    )
    def test_standard_output_that_takes_nothing(self, redirection, status, message):
        command = f"{sys.executable} -m fastattn info {redirection}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=False, env=BUFFERED
        )
        assert done.returncode == status
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == bool(message)

    def test_an_error_without_standard_error(self):
        command = f"{sys.executable} -m fastattn encode --input no/file 2>&-"
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (2, b"")

    def test_a_terminal_that_lacks_letters(self):
        command = [sys.executable, "-m", "fastattn", "encode", "--model", str(TINY)]
        result = subprocess.run(
            [*command, "fox", "狐"],
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=True,
        )
        assert b"2  ?" in result.stdout
