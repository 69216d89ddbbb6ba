"""The command line's input: lines, records of files, and what is wrong with them."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.command_line import TEXTS, assert_one_line, encode
from support.folders import TINY

from fastattn.display import vector_line
from fastattn.files import read_lines


def test_lines_of_a_file(tmp_path, model):
    path, output = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    path.write_bytes("\ufeffthe cat\r\n\nfox 狐\n \nlast".encode())
    texts = ["the cat", "", "fox 狐", " ", "last"]
    numbered = [(f"{path}, line {i}", text) for i, text in enumerate(texts, 1)]
    assert list(read_lines(str(path))) == numbered
    assert encode("--input", path, "--output", output) == 0
    assert_same_bits(np.load(output), model.encode(texts))


@pytest.mark.parametrize(
    ("name", "field", "content", "texts"),
    [
        ("a.csv", [], b'id,text\n1,"the\ncat"\n\n2,\n', ["the\ncat", ""]),
        ("a.TSV", ["--field", "id"], b"text\tid\n1\ta dog\n", ["a dog"]),
        ("a.jsonl", [], b'{"text": "the cat"}\n\n{"text": ""}', ["the cat", ""]),
        ("b.csv", ["--field", ""], b",text\nthe cat,no\n", ["the cat"]),
        ("a.txt.gz", [], gzip.compress(b"the cat\n\na dog"), ["the cat", "", "a dog"]),
    ],
)
def test_records(tmp_path, model, name, field, content, texts):
    path, output = tmp_path / name, tmp_path / "vectors.npy"
    path.write_bytes(content)
    assert encode("--input", path, "--output", output, *field) == 0
    assert_same_bits(np.load(output), model.encode(texts))


def test_the_name_of_a_file_as_a_text(capsys, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    assert encode("a") == 0
    shown = capsys.readouterr()
    assert shown.out == f"{vector_line(model.encode('a'))}\n"
    advice = "a is taken for a text: --input a reads the file"
    assert shown.err == f"fastattn: warning: {advice}\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,text\n1,a\n2,b,c\n", ", line 3: 3 cells, and there are 2"),
        ("a.csv", "id,body\n1,a\n", ": no column 'text': there are id, body"),
        ("a.jsonl", '{"text": "a"}\n{}\n', ", line 2: expected a string in the field"),
        ("a.gz", "", ": the name of a file of texts must end in .txt"),
    ],
)
def test_bad_records(capsys, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    assert encode("--input", path) == 2
    assert_one_line(capsys, f"{path}{message}")


def test_a_field_of_json_lines(tmp_path, model):
    path, output = tmp_path / "texts", tmp_path / "vectors.npy"
    rows = [{"id": i, "text": text} for i, text in enumerate([*TEXTS, "two\nlines"])]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert encode("--input", path, "--field", "text", "--output", output) == 0
    assert_same_bits(np.load(output), model.encode([*TEXTS, "two\nlines"]))


def test_standard_input(tmp_path, model):
    output = tmp_path / "vectors.npy"
    arguments = ["--model", TINY, "--input", "-", "--output", output]
    command = [sys.executable, "-m", "fastattn", "encode", *map(str, arguments)]
    subprocess.run(command, input=b"the cat\na dog\n", check=True)
    assert_same_bits(np.load(output), model.encode(["the cat", "a dog"]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"text": nothing}', "not JSON: Expecting value (column 10)"),
        ('["text"]', "expected an object with a string 'text'"),
        ('{"other": "a"}', "expected an object with a string 'text'"),
        ('{"text": 1}', "expected an object with a string 'text'"),
    ],
)
def test_bad_json_lines(capsys, tmp_path, line, message):
    path = tmp_path / "texts"
    path.write_text('{"text": "good"}\n' + line)
    assert encode("--input", path, "--field", "text") == 2
    assert_one_line(capsys, f"{path}, line 2: {message}")


@pytest.mark.parametrize("end", ["\r", "\r\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_nothing_else_ends_a_line(tmp_path, end):
    path = tmp_path / "texts.txt"
    path.write_bytes(f"a{end}b\nc{end}".encode())
    assert [text for _, text in read_lines(str(path))] == [f"a{end}b", f"c{end}"]


@pytest.mark.parametrize("field", [[], ["--field", "text"]])
def test_not_utf8(capsys, tmp_path, field):
    path = tmp_path / "latin"
    path.write_bytes(b'{"text": "a"}\n' * 9999 + b'{"text": "caf\xe9"}')
    assert encode("--input", path, *field) == 2
    assert_one_line(capsys, f"{path}, line 10000: not UTF-8: byte 14 of it is 0xe9")


def test_a_lone_surrogate(capsys, tmp_path):
    path = tmp_path / "texts"
    path.write_text('{"text": "a"}\n\n{"text": "b\\ud83d"}\n')
    assert encode("--input", path, "--field", "text") == 2
    assert_one_line(capsys, f"{path}, line 3: not Unicode: character 2 is a lone")


def test_standard_input_has_lines():
    arguments = ["--model", str(TINY), "--input", "-", "--field", "text"]
    command = [sys.executable, "-m", "fastattn", "encode", *arguments]
    done = subprocess.run(
        command, input=b'{"text": "a"}\n{', capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"fastattn: error: standard input, line 2: not JSON: ")
    assert done.stderr.count(b"\n") == 1


def test_no_standard_input():
    command = f"{sys.executable} -m fastattn encode --input - <&-"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    message = "fastattn: error: standard input: Bad file descriptor\n"
    assert done.stderr == message


def test_a_folder(capsys, tmp_path):
    assert encode("--input", tmp_path) == 2
    assert_one_line(capsys, f"{tmp_path}: Is a directory")


def test_an_empty_name(capsys):
    assert encode("--input", "") == 2
    assert_one_line(capsys, "--input is empty: name a file, or - for standard input")


def test_a_folder_that_is_called_like_a_file(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.mkdir()
    assert encode("--input", path) == 2
    assert_one_line(capsys, f"{path}: is there, but no file: a folder, or a pipe")
