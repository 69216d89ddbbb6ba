"""What a corpus is read from: files of several kinds, and what is wrong in them."""

import gzip
import json

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.corpus import contents, encode, lose

import fastattn as fa


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def errors_of(out):
    """Give the line and the problem of each bad record."""
    found = (path.read_text().splitlines() for path in sorted(out.glob("*.errors.jsonl")))
    each = [json.loads(line) for lines in found for line in lines]
    return [(error["line"], error["error"]) for error in each]


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


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_texts_of_white_space_are_none(model, out, tmp_path, name):
    forms = {"a.txt": "{}\n", "a.csv": "x,{}\n", "a.jsonl": '{{"text": "{}"}}\n'}
    texts = "text", "the cat", "", " \u3000", "a dog"
    lines = [forms[name].format(text) for text in texts]
    (tmp_path / name).write_text("".join(lines))
    encode(model, tmp_path / name, out)
    assert errors_of(out) == [(3, "the text is empty"), (4, "the text is empty")]
    found = fa.open_vectors(out)[:]
    assert_same_bits(found[[-4, -1]], model.encode(["the cat", "a dog"]))
    assert np.isnan(found[-3:-1]).all()


def test_fields_that_no_record_has(model, out, tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text('{\n[]\n{"body": "a"}\n{"key": "b"}\n')
    for given in {}, {"field": "body", "id_field": "url"}:
        name = given.get("id_field", "text")
        with pytest.raises(ValueError, match=f"no field '{name}': there are body, key"):
            encode(model, source, out, **given)
    assert not out.exists()


def test_ids_of_records_of_a_program(model, out):
    records = [{"text": "a", "id": np.int64(7)}, "a text", {"text": "b", "id": True}]
    encode(model, records, out, source_id="records", id_field="id")
    assert list(fa.open_vectors(out).ids) == [7, None, None]
    errors = (out / "part-000000.errors.jsonl").read_text()
    assert "expected an object" in errors
    assert "a string or an integer in the field 'id', got True" in errors


def rows_of(rows, delimiter):
    return "".join(f"{delimiter.join(row)}\r\n" for row in rows).encode()


TABLE = [["key", "text"], ["a", "the cat"], ["b", '"a ""dog""\r\n, red"'], ["c", "sun"]]
FILES = {
    "a.txt": "the cat\r\na dog\nsun\x85red".encode(),
    "a.jsonl.gz": gzip.compress(b'{"text": "the cat"}\n'),
    "a.csv": rows_of(TABLE, ","),
    "a.tsv": rows_of(TABLE, "\t"),
    "a.CSV.gz": gzip.compress(rows_of(TABLE, ",")),
}
FOUND = {
    "a.txt": ["the cat", "a dog", "sun\x85red"],
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


LIMIT = "a field has more than 131072 characters, or a quote is missing"
QUOTED = "not CSV: a quoted field does not end as it should: "


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x" * 200_000, LIMIT),
        ('"a dog, 1', f"{QUOTED}the file ends first"),
        ('"a dog, 1\n"the sun"', f"{QUOTED}',' expected after '\"'"),
        ('"' + "\n".join(["a dog " * 2_000] * 12), LIMIT),
        ("a dog, 1", "2 cells, and there are 1 columns"),
    ],
)
def test_a_row_that_is_no_csv(model, out, tmp_path, line, problem):
    source = tmp_path / "a.csv"
    source.write_text(f"text\nthe cat\n{line}\nsun\n")
    encode(model, source, out, on_truncation="ignore")
    assert errors_of(out) == [(3, problem)]
    rest = [each.strip('"') for each in line.split("\n")[1:] if each]
    vectors, found = fa.open_vectors(out)[:], ["the cat", *rest, "sun"]
    assert np.isnan(vectors[1]).all()
    expected = model.encode(found, on_truncation="ignore")
    assert_same_bits(np.delete(vectors, 1, axis=0), expected)
    whole = contents(out)
    lose(out, 0)
    encode(model, source, out, on_truncation="ignore")
    assert contents(out) == whole
    with pytest.raises(ValueError, match=r"a\.csv, line 3: .*(?:not CSV|2 cells|a field)"):
        encode(model, source, tmp_path / "raise", errors="raise")


def test_a_last_line_that_is_cut_off(model, out, tmp_path):
    source = tmp_path / "a.csv"
    source.write_text('text\n"the cat\nand"\n"a do')
    encode(model, source, out)
    assert errors_of(out) == [(4, "not CSV: the file ends first")]


def test_a_damaged_file(model, out, tmp_path):
    source = tmp_path / "a.txt.gz"
    source.write_bytes(gzip.compress(b"the cat\n" * 5)[:-9])
    with pytest.raises(OSError, match=r"a\.txt\.gz: "):
        encode(model, source, out)


def test_a_table_without_the_column(model, out, tmp_path):
    source = tmp_path / "a.csv"
    source.write_bytes(FILES["a.csv"])
    with pytest.raises(ValueError, match="no column 'body': there are key, text"):
        encode(model, source, out, field="body")
    for content, error in (
        ("text,text\na,b\n", "two columns 'text': there are text, text"),
        ("", "no column 'text': there are none"),
        ('key,"text\na,b\n', "line 1: not CSV: a quoted field does not end"),
    ):
        source.write_text(content)
        with pytest.raises(ValueError, match=rf"a\.csv[:,] {error}"):
            encode(model, source, out)
    assert not out.exists()
