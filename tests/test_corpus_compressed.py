"""Files of a corpus that something else reads: zstd and Parquet, whole and not."""

import pytest
from support.bits import assert_same_bits

import fastattn as fa

pytest.importorskip("pyarrow")
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
