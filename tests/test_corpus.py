"""fa.encode_corpus: shards, going on, what is refused; fa.open_vectors; fewer bits."""

import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import drop_json

import fastattn as fa
from fastattn import files
from fastattn.corpus import shards

TEXTS = [f"the dog {i} " + "cat " * (i % 7) for i in range(25)]


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = (json.dumps({"text": text, "key": f"k{i}"}) for i, text in enumerate(TEXTS))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def lose(out, number):
    """Take a shard away, and the manifest's word that all are there."""
    (out / f"part-{number:06d}.npy").unlink()
    drop_json(out / "manifest.json", "rows")


def encode(model, source, out, **options):
    fa.encode_corpus(model, source, out, **{"shard_rows": 10} | options)


def test_shards_hold_the_vectors_of_encode(model, source, out):
    encode(model, source, out, id_field="key")
    vectors = fa.open_vectors(out)
    assert_same_bits(vectors[:], model.encode(TEXTS))
    assert list(vectors.ids) == [f"k{i}" for i in range(25)]
    kinds = "ids.jsonl", "npy"
    names = {f"part-{n:06d}.{kind}" for n in range(3) for kind in kinds}
    assert contents(out).keys() == names | {"manifest.json"}


def test_options_are_those_of_encode(model, source, out):
    options = {"prompt": "one ", "truncate_dim": 7, "precision": "float16"}
    encode(model, source, out, **options)
    expected = model.encode(TEXTS, **options)
    np.testing.assert_array_equal(fa.open_vectors(out)[:], expected, strict=True)


@pytest.mark.parametrize("rows", [0, 10, 11])
def test_number_of_texts(model, out, rows):
    encode(model, iter(TEXTS[:rows]), out, source_id="texts")
    vectors = fa.open_vectors(out)
    assert len(vectors) == rows
    assert [len(shard) for shard in vectors.shards] == [10, 1][: -(-rows // 10)]
    assert vectors[:].shape == (rows, 32)


def test_vectors_are_a_sequence(model, source, out):
    encode(model, source, out)
    vectors, whole = fa.open_vectors(out), model.encode(TEXTS)
    for index in 0, 10, 24, -1, slice(5, 21), slice(None, None, -7), slice(22, 3, -4):
        assert_same_bits(np.ascontiguousarray(vectors[index]), whole[index].copy())
    assert vectors[30:].shape == (0, 32)
    assert vectors.ids[8:11] == [8, 9, 10]
    with pytest.raises(IndexError):
        vectors[25]
    with pytest.raises(IndexError):
        vectors.ids[25]


def test_going_on_makes_only_what_is_missing(model, source, out, monkeypatch):
    encode(model, source, out)
    whole = contents(out)
    lose(out, 1)
    (out / ".part-000002.npy.77.tmp").write_bytes(b"of a killed process")
    made, write = [], shards.Folder.write

    def recorded(self, number, *arguments):
        made.append(number)
        write(self, number, *arguments)

    monkeypatch.setattr(shards.Folder, "write", recorded)
    encode(model, source, out)
    assert made == [1]
    assert contents(out) == whole


def test_kills():
    script = Path(__file__).with_name("kill_corpus.py")
    subprocess.run([sys.executable, script, "10"], check=True, timeout=100)


def test_machines_share_a_corpus(model, source, tmp_path):
    encode(model, source, tmp_path / "alone")
    for i in 1, 0:
        encode(model, source, tmp_path / "both", shards=(i, 2))
        if i == 1:
            with pytest.raises(ValueError, match="not all shards are there"):
                fa.open_vectors(tmp_path / "both")
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


def test_a_full_disk(model, source, out, monkeypatch):
    encode(model, source, out)
    whole = contents(out)
    lose(out, 2)

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"part-000002\.npy"):
        patch.setattr(files, "write_array_header_1_0", fail)
        encode(model, source, out)
    encode(model, source, out)
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"prompt": "one "}, r"options\.prompt \('' there, 'one ' here\)"),
        ({"shard_rows": 9}, r"shard_rows \(10 there, 9 here\)"),
        ({"truncate_dim": 8}, "dim"),
        ({"precision": "float16"}, "precision"),
        ({"field": "key"}, r"source\.text"),
        ({"normalize": False}, "normalize"),
    ],
)
def test_another_job(model, source, out, change, differs):
    encode(model, source, out)
    with pytest.raises(ValueError, match=differs):
        encode(model, source, out, **change)


def test_another_source_or_model(model, source, out, folder):
    encode(model, source, out)
    with pytest.raises(ValueError, match="model"):
        encode(fa.load(folder, max_length=9), source, out)
    with source.open("a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(ValueError, match=r"source\.bytes"):
        encode(model, source, out)


def test_what_is_no_folder_of_vectors(model, source, out, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no folder of vectors"):
        fa.open_vectors(tmp_path)
    with pytest.raises(FileExistsError):
        encode(model, source, source)
    out.mkdir()
    (out / "part-000000.npy").write_bytes(b"of somebody")
    with pytest.raises(ValueError, match=r"no manifest\.json tells"):
        encode(model, source, out)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written to"):
        encode(model, source, tmp_path / "read-only")


BAD = {
    b"{": "not JSON: Expecting property name",
    b"[]": "expected an object with a string 'text'",
    b'{"id": 1}': "expected a string in the field 'text', it is missing",
    b'{"text": null}': "expected a string in the field 'text', got None",
    b'{"text": "\\ud800"}': "lone surrogate",
    b'{"text": "\xff"}': "not UTF-8: byte 11 of it is 0xff",
    b"[" * 100_000: "not JSON",
}


def test_bad_records(model, out, tmp_path):
    source = tmp_path / "bad.jsonl"
    good = b'{"text": "the cat"}\n\n'
    source.write_bytes(b"\xef\xbb\xbf" + b"".join(good + bad + b"\n" for bad in BAD))
    encode(model, source, out)
    vectors = fa.open_vectors(out)[:]
    assert np.isnan(vectors[1::2]).all()
    for vector in vectors[::2]:
        assert_same_bits(vector, model.encode("the cat"))
    errors = [
        json.loads(line)
        for path in sorted(out.glob("*.errors.jsonl"))
        for line in path.read_text().splitlines()
    ]
    for i, (error, says) in enumerate(zip(errors, BAD.values(), strict=True)):
        assert error["file"] == str(source)
        assert (error["row"], error["line"]) == (2 * i + 1, 3 * i + 3)
        assert says in error["error"]
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 3: not JSON"):
        encode(model, source, tmp_path / "raise", errors="raise")


def test_texts_that_are_too_long(model, source, out, tmp_path):
    texts = ["the cat", "run " * 100, "the dog"]
    with pytest.warns(fa.TruncationWarning, match="1 of 3 texts cut at 48 tokens"):
        encode(model, texts, out, source_id="texts")
    assert_same_bits(fa.open_vectors(out)[:], model.encode(texts, on_truncation="ignore"))
    encode(model, texts, tmp_path / "2", source_id="texts", on_truncation="error")
    vectors = fa.open_vectors(tmp_path / "2")[:]
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="texts, line 2: more than 48 tokens"):
        other = {"errors": "raise", "on_truncation": "error"}
        encode(model, texts, tmp_path / "3", source_id="texts", **other)


def rows_of(rows, delimiter):
    return "".join(f"{delimiter.join(row)}\r\n" for row in rows).encode()


TABLE = [["key", "text"], ["a", "the cat"], ["b", '"a ""dog""\r\n, red"'], ["c", "sun"]]
FILES = {
    "a.txt": "the cat\r\n\nsun\x85red".encode(),
    "a.jsonl.gz": gzip.compress(b'{"text": "the cat"}\n'),
    "a.csv": rows_of(TABLE, ","),
    "a.tsv": rows_of(TABLE, "\t"),
    "a.CSV.gz": gzip.compress(rows_of(TABLE, ",")),
}
FOUND = {
    "a.txt": ["the cat", "", "sun\x85red"],
    "a.jsonl.gz": ["the cat"],
    "a.csv": ["the cat", 'a "dog"\r\n, red', "sun"],
}


@pytest.mark.parametrize("name", FILES)
def test_files(model, out, tmp_path, name):
    source = tmp_path / name
    source.write_bytes(FILES[name])
    encode(model, source, out, shard_rows=2)
    expected = FOUND.get(name, FOUND["a.csv"])
    assert_same_bits(fa.open_vectors(out)[:], model.encode(expected))
    whole = contents(out)
    lose(out, len(expected) // 2)
    encode(model, source, out, shard_rows=2)
    assert contents(out) == whole


def test_a_row_that_is_no_csv(model, out, tmp_path):
    source = tmp_path / "a.csv"
    long = "x" * 200_000
    source.write_text(f"text\nthe cat\n{long}\nsun\n")
    encode(model, source, out)
    vectors = fa.open_vectors(out)[:]
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False]


def test_a_damaged_file(model, out, tmp_path):
    source = tmp_path / "a.txt.gz"
    source.write_bytes(gzip.compress(b"the cat\n" * 5)[:-9])
    with pytest.raises(OSError, match=r"a\.txt\.gz: "):
        encode(model, source, out)


@pytest.mark.parametrize(
    ("inputs", "options", "error"),
    [
        (["a"], {}, "need source_id"),
        (3, {}, "must be a file or an iterable, got int"),
        ("a.docx", {}, "must end in"),
        ("no.txt", {}, "No such file"),
        (["a"], {"source_id": "a", "processes": 2}, "processes share a file"),
        (["a"], {"source_id": "a", "shards": (2, 2)}, r"shards\[0\]"),
        (["a"], {"source_id": "a", "shards": 2}, "two integers"),
        (["a"], {"source_id": "a", "output": "tokens"}, "has no output"),
        (["a"], {"source_id": "a", "precision": "int8"}, "precision"),
        (["a"], {"source_id": "a", "batch_size": 2}, "batch_tokens"),
    ],
)
def test_wrong_calls(model, out, inputs, options, error):
    with pytest.raises((TypeError, ValueError, OSError), match=error):
        encode(model, inputs, out, **options)
    assert not out.exists()


def test_a_table_without_the_column(model, out, tmp_path):
    source = tmp_path / "a.csv"
    source.write_bytes(FILES["a.csv"])
    with pytest.raises(ValueError, match="no column 'body': there are key, text"):
        encode(model, source, out, field="body")


def test_processes(model, source, tmp_path):
    encode(model, source, tmp_path / "one")
    encode(model, source, tmp_path / "two", processes=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    source.write_text(source.read_text() + "{\n")
    with pytest.raises(ValueError, match="line 26: not JSON"):
        encode(model, source, tmp_path / "raise", processes=2, errors="raise")


def test_parquet(model, source, out, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    encode(model, source, out, id_field="key", format="parquet")
    table = parquet.read_table(out / "part-000002.parquet")
    assert table["id"].to_pylist() == [f"k{i}" for i in range(20, 25)]
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 32)
    assert_same_bits(vectors, model.encode(TEXTS[20:]))
    encode(model, out / "part-000002.parquet", tmp_path / "ids", field="id")
    assert len(fa.open_vectors(tmp_path / "ids")) == 5


def test_a_shard_that_is_gone_is_made_again(model, source, out, tmp_path):
    encode(model, source, out)
    whole = contents(out)
    (out / "part-000001.npy").unlink()
    encode(model, source, out)
    assert contents(out) == whole
    narrow = tmp_path / "narrow"
    fa.quantize_vectors(out, narrow, precision="int8")
    whole = contents(narrow)
    (narrow / "part-000002.npy").unlink()
    fa.quantize_vectors(out, narrow, precision="int8")
    assert contents(narrow) == whole


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_fewer_bits(model, out, tmp_path, precision):
    encode(model, [*TEXTS, None], out, source_id="texts")
    fa.quantize_vectors(out, tmp_path / "narrow", precision=precision)
    narrow, full = fa.open_vectors(tmp_path / "narrow"), fa.open_vectors(out)[:25]
    ranges = np.stack([full.min(0), full.max(0)]) if "int8" in precision else None
    expected = model.encode(TEXTS, precision=precision, ranges=ranges)
    np.testing.assert_array_equal(narrow[:25], expected, strict=True)
    if ranges is not None:
        assert_same_bits(np.load(tmp_path / "narrow" / "ranges.npy"), ranges)
    with pytest.raises(ValueError, match="already"):
        fa.quantize_vectors(tmp_path / "narrow", tmp_path / "more")
    with pytest.raises(ValueError, match="precision"):
        fa.quantize_vectors(out, out, precision=precision)


def test_memory_is_that_of_a_shard(model, out):
    import tracemalloc

    def peak(texts):
        tracemalloc.start()
        inputs = (TEXTS[i % 25] for i in range(texts))
        folder = out / str(texts)
        encode(model, inputs, folder, source_id="many", shard_rows=10)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)
    assert peak(300) < 1.5 * peak(60)
