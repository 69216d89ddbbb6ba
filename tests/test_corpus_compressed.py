"""Files of a corpus that something else reads: zstd and Parquet, whole and not."""

import pytest
from support.bits import assert_same_bits

import fastattn as fa

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")
NUMBERS = zstandard.compress("".join(map(str, range(999))).encode())


def test_frames_follow_one_another(model, tmp_path):
    path, out = tmp_path / "a.txt.zst", tmp_path / "out"
    frames = b"the cat\n", b"", b"a " + b"dog " * 10**6 + b"\n"
    path.write_bytes(b"".join(map(zstandard.compress, frames)))
    fa.encode_corpus(model, path, out, on_truncation="ignore")
    expected = model.encode(["the cat", "a " + "dog " * 1000], on_truncation="ignore")
    assert_same_bits(fa.open_vectors(out)[:], expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt.zst", NUMBERS[:-1]),
        ("a.txt.zst", NUMBERS[:20]),
        ("a.txt.zst", b"?" + NUMBERS),
        ("a.txt.zst", NUMBERS + b"?"),
        ("a.parquet", b"PAR1?"),
    ],
)
def test_what_is_not_whole(model, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"{name}: "):
        fa.encode_corpus(model, path, tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["a", None], None),
        (pyarrow.array(["a", "b"]).dictionary_encode(), None),
        (pyarrow.array(["a", "b"], pyarrow.large_string()), None),
        ([1, 2], "holds int64, no strings"),
        ([["a"]], "holds list<.*>, no strings"),
        ([b"a"], "holds binary, no strings"),
    ],
)
def test_columns_of_parquet_that_hold_texts(model, tmp_path, values, problem):
    path, out = tmp_path / "a.parquet", tmp_path / "out"
    pyarrow.parquet.write_table(pyarrow.table({"text": values}), path)
    if problem is None:
        fa.encode_corpus(model, path, out)
        assert_same_bits(fa.open_vectors(out)[0], model.encode("a"))
    else:
        with pytest.raises(ValueError, match=rf"a\.parquet: the column 'text' {problem}"):
            fa.encode_corpus(model, path, out)
        assert not out.exists()
