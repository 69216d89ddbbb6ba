"""fa.open_vectors: what it maps; fa.quantize_vectors: fewer bits."""

import io
import json
from functools import partial

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.corpus import TEXTS, contents, encode

import fastattn as fa


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_vectors_are_a_sequence(model, out):
    encode(model, TEXTS, out, source_id="texts")
    vectors, whole = fa.open_vectors(out), model.encode(TEXTS)
    for index in 0, 10, 24, -1, slice(5, 21), slice(None, None, -7), slice(22, 3, -4):
        assert_same_bits(np.ascontiguousarray(vectors[index]), whole[index].copy())
    assert vectors[30:].shape == (0, 32)
    assert vectors.ids[8:11] == [8, 9, 10]
    for sequence in vectors, vectors.ids:
        with pytest.raises(IndexError, match="there are 25 rows, got the index 25"):
            sequence[25]
        with pytest.raises(TypeError, match=r"got ndarray: for several rows, \[vectors"):
            sequence[np.array([1, 2])]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shard_rows", "10"),
        ("shard_rows", 0),
        ("dim", None),
        ("precision", "int9"),
        ("format", []),
        ("rows", -1),
        ("model", {}),
        ("source", 3),
        ("options", {"normalize": "yes"}),
    ],
)
def test_a_damaged_manifest(model, out, key, value):
    encode(model, TEXTS, out, source_id="texts")
    manifest = out / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {key: value}))
    for call in partial(fa.open_vectors, out), partial(encode, model, TEXTS, out):
        options = {"source_id": "texts"} if call.func is encode else {}
        with pytest.raises(ValueError, match=rf"manifest\.json: {key}.* is damaged"):
            call(**options)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000])
def test_a_manifest_of_something_else(model, out, content):
    encode(model, TEXTS, out, source_id="texts")
    (out / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: .* is damaged, or none"):
        fa.open_vectors(out)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHOLE = npy(np.zeros((10, 32), np.float32))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ""),
        (b"PK\3\4" + bytes(99), "the magic string is not correct"),
        (WHOLE[:-1], "mmap length"),
        (WHOLE[:20], ""),
        (WHOLE.replace(b"'descr'", b"'descs'"), "Header"),
        (npy(np.array([None])), "Array can't be memory-mapped"),
        (npy(np.zeros((9, 32), np.float32)), r"holds float32 \(9, 32\), not float32 \(10,"),
        (npy(np.zeros((10, 31), np.float32)), r"holds float32 \(10, 31\)"),
        (npy(np.zeros((10, 32), np.int32)), "holds int32"),
        (npy(np.zeros(10, np.float32)), r"holds float32 \(10,\)"),
    ],
)
def test_a_damaged_shard_is_made_again(model, out, content, problem):
    encode(model, TEXTS, out, source_id="texts")
    whole = contents(out)
    (out / "part-000001.npy").write_bytes(content)
    cure = r": it is damaged, or none of ours: delete part-000001\.\*"
    with pytest.raises(ValueError, match=rf"part-000001\.npy: {problem}.*{cure}"):
        fa.open_vectors(out)
    for path in out.glob("part-000001.*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="No such file: call again what made"):
        fa.open_vectors(out)
    encode(model, TEXTS, out, source_id="texts")
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds 0 ids, not 10"),
        ('{"id": 1', "line 1 is not"),
        ('{"id": 1}', "line 1 is"),
    ],
)
def test_damaged_ids(model, out, tmp_path, content, problem):
    source = tmp_path / "a.txt"
    source.write_text("".join(f"{text}\n" for text in TEXTS))
    encode(model, source, out)
    whole = contents(out)
    (out / "part-000000.ids.jsonl").write_text(content)
    with pytest.raises(ValueError, match=rf"part-000000\.ids\.jsonl: {problem}"):
        list(fa.open_vectors(out).ids)
    (out / "part-000000.ids.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"delete part-000000\.\* and call again"):
        list(fa.open_vectors(out).ids)
    (out / "part-000000.ids.jsonl").write_text(content)
    (out / "part-000001.npy").unlink()
    if content:
        with pytest.raises(ValueError, match=r"delete part-000000\.\*"):
            encode(model, source, out)
    for path in out.glob("part-000000.*"):
        path.unlink()
    encode(model, source, out)
    assert contents(out) == whole


def test_a_file_is_no_folder(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(NotADirectoryError, match=r"A file, where a folder .*a\.npy"):
        fa.open_vectors(tmp_path / "a.npy")


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
