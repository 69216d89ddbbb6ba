"""fa.encode_corpus: shards, going on, what is refused."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.corpus import TEXTS, contents, encode, lose

import fastattn as fa
from fastattn import files
from fastattn.corpus import shards


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = (json.dumps({"text": text, "key": f"k{i}"}) for i, text in enumerate(TEXTS))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


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


def fail(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk(model, source, out, monkeypatch):
    encode(model, source, out)
    whole = contents(out)
    lose(out, 2)
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


def test_a_job_without_a_shard_holds_nobody_up(model, source, out, tmp_path, monkeypatch):
    wrong = tmp_path / "a.csv"
    wrong.write_text("text\nthe cat\n")
    with pytest.raises(ValueError, match="no column 'body'"):
        encode(model, wrong, out, field="body")
    with pytest.raises(ValueError, match="line 2: expected an object"):
        encode(model, ["the cat", None], out, source_id="texts", errors="raise")
    # As if it had been killed, or the disk were full, where nothing but vectors is missing.
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(shards, "write_vectors", fail)
        encode(model, ["the cat", None], out, source_id="texts")
    assert (out / "part-000000.errors.jsonl").exists()
    encode(model, source, out)
    encode(model, source, tmp_path / "alone")
    assert contents(out) == contents(tmp_path / "alone")


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
    with pytest.raises(FileExistsError, match="is a file: name a folder"):
        encode(model, source, source)
    out.mkdir()
    (out / "part-000000.npy").write_bytes(b"of somebody")
    with pytest.raises(ValueError, match=r"no manifest\.json tells"):
        encode(model, source, out)
    for out_dir, error in ((3, "must be a str or a path, got int"), ("", "is empty")):
        with pytest.raises((TypeError, ValueError), match=f"out_dir {error}"):
            encode(model, source, out_dir)
        with pytest.raises((TypeError, ValueError), match=f"out_dir {error}"):
            fa.open_vectors(out_dir)
        with pytest.raises((TypeError, ValueError), match=f"folder {error}"):
            fa.quantize_vectors(out_dir, out)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written to"):
        encode(model, source, tmp_path / "read-only")


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


class Frame(list):
    """A table, over the names of whose columns one iterates."""

    columns = ("text",)


@pytest.mark.parametrize(
    ("inputs", "options", "error"),
    [
        (["a"], {}, "need source_id"),
        (3, {}, "must be a file, or texts or mappings with fields, got int"),
        ({"text": "a"}, {"source_id": "a"}, "got dict: pass its values"),
        ({"a"}, {"source_id": "a"}, "got set, which has no order: pass a list"),
        (b"a.txt", {"source_id": "a"}, "got bytes: decode it first"),
        (Frame(), {"source_id": "a"}, "got Frame: pass one of its columns"),
        (["a"], {"source_id": 3}, "source_id must be a str, got 3"),
        (["a"], {"source_id": ""}, "source_id is empty"),
        (["a"], {"source_id": "a", "field": None}, "field must be a str, got None"),
        (["a"], {"source_id": "a", "id_field": 3}, "id_field must be a str, got 3"),
        ("a.txt", {"id_field": "key"}, "lines of text have no fields"),
        (["a"], {"source_id": "a", "shard_rows": 10**30}, "shard_rows must be from 1 to"),
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
