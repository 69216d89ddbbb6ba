"""Reading safetensors files, alone and several, whole and damaged."""

import json
import mmap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import assert_same_bits
from support.folders import change_json, copy_tiny, memory_of, write_shards, write_smallest
from support.processes import printed
from support.tensors import wide

import fastattn as fa
from fastattn import ModelFormatError
from fastattn.models.checkpoint import JSON_BYTES
from fastattn.models.folder import Folder
from fastattn.models.tensor_files import TensorFiles
from fastattn.models.tensors import PIECE, Tensors


def raw_file(path: Path, header: str, data: bytes = b"") -> Path:
    """Write a safetensors file by hand."""
    encoded = header.encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


def read(path: Path) -> Tensors:
    """Read the tensors of the folder of a file."""
    return Tensors(TensorFiles(Folder(path.parent)), same_name)


def entry(dtype: str, shape: list[int], start: int, stop: int) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, stop]})


def same_name(name: str) -> str:
    return name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


class TestTensors:
    def test_float32_is_a_view_of_the_map(self, path):
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        save_file({"weight": weight}, path)
        taken = np.asarray(read(path).find("weight", (2, 3)))
        np.testing.assert_array_equal(taken, weight)
        assert not taken.flags.writeable
        assert isinstance(memory_of(taken), mmap.mmap)

    def test_float16_is_widened(self, path):
        weight = np.array([0, -0.0, 1.5, 65504, 6e-8, -7], np.float16)
        save_file({"weight": weight}, path)
        taken = np.asarray(read(path).find("weight", (6,)))
        assert taken.dtype == np.float32
        assert not taken.flags.writeable
        np.testing.assert_array_equal(taken, weight.astype(np.float32))

    def test_bfloat16_is_widened(self, path):
        stored = np.array([0x3F80, 0xC000, 0x7F7F, 0x0001], "<u2")
        raw_file(path, f'{{"weight": {entry("BF16", [4], 0, 8)}}}', stored.tobytes())
        taken = np.asarray(read(path).find("weight", (4,)))
        expected = np.array([1, -2, 0xFF * 2.0**120, 2.0**-133], np.float32)
        np.testing.assert_array_equal(taken, expected)
        assert not taken.flags.writeable

    @pytest.mark.parametrize("dtype", ["F16", "BF16"])
    def test_a_large_one_is_widened_piece_by_piece(self, path, dtype):
        stored = np.arange(PIECE + 3, dtype="<u2") % 30_000
        header = f'{{"weight": {entry(dtype, [PIECE + 3, 1], 0, stored.nbytes)}}}'
        raw_file(path, header, stored.tobytes())
        taken = np.asarray(read(path).find("weight", (PIECE + 3, 1)))
        halves = {"F16": stored.view(np.float16), "BF16": wide(stored)}[dtype]
        np.testing.assert_array_equal(taken[:, 0], halves)

    def test_a_tensor_behind_an_odd_number_of_bytes_is_aligned(self, path):
        weight = np.array([1, 2, 3], "<f4")
        header = f'{{"flag": {entry("U8", [1], 0, 1)}, "w": {entry("F32", [3], 1, 13)}}}'
        raw_file(path, header, b"\x01" + weight.tobytes())
        taken = np.asarray(read(path).find("w", (3,)))
        assert taken.flags.aligned
        np.testing.assert_array_equal(taken, weight)

    def test_missing_and_taken_twice(self, path):
        save_file({"weight": np.ones(2, np.float32)}, path)
        tensors = read(path)
        with pytest.raises(ModelFormatError, match=r"tensor bias is missing"):
            tensors.find("bias", (2,))
        tensors.find("weight", (2,))
        with pytest.raises(ModelFormatError, match=r"tensor weight is missing"):
            tensors.find("weight", (2,))

    def test_wrong_shape(self, path):
        save_file({"weight": np.ones((2, 3), np.float32)}, path)
        message = (
            r"model\.safetensors: tensor weight must have shape \(3, 2\), got \(2, 3\)"
        )
        with pytest.raises(ModelFormatError, match=message):
            read(path).find("weight", (3, 2))

    @pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8, np.bool_])
    def test_wrong_dtype(self, path, dtype):
        save_file({"weight": np.ones(2, dtype)}, path)
        with pytest.raises(ModelFormatError, match="weight must be stored as one of F32"):
            read(path).find("weight", (2,))

    def test_unexpected(self, path):
        save_file({name: np.ones(2, np.float32) for name in "cab"}, path)
        tensors = read(path)
        tensors.find("a", (2,))
        with pytest.raises(ModelFormatError, match="unexpected tensor b and 1 more"):
            tensors.finish()
        tensors.find("b", (2,))
        with pytest.raises(ModelFormatError, match=r"unexpected tensor c$"):
            tensors.finish()
        tensors.find("c", (2,))
        tensors.finish()

    def test_rename(self, path):
        save_file({"a.w": np.ones(2, np.float32), "b": np.ones(1, np.int8)}, path)
        tensors = Tensors(TensorFiles(Folder(path.parent)), {"a.w": "w", "b": None}.get)
        tensors.find("w", (2,))
        tensors.finish()

    def test_two_names_of_one_tensor(self, path):
        save_file({"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, path)
        with pytest.raises(ModelFormatError, match="two tensors mean w"):
            Tensors(TensorFiles(Folder(path.parent)), lambda name: "w")


class TestDamagedTensors:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00" * 7,
            b"\x00" * 8,
            b"\x02" + b"\x00" * 7 + b"[]",
            b"\x02" + b"\x00" * 7 + b"\xff\xff",
            b"\x40" + b"\x00" * 7 + b"{}",
            b"\xff" * 16,
            (JSON_BYTES + 1).to_bytes(8, "little") + b"{}",
            b"\x00\xe1\xf5\x05" + b"\x00" * 4 + b"{" * 100,
        ],
    )
    def test_header(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors: "):
            read(path)

    @pytest.mark.parametrize(
        "header",
        [
            "{" * 10_000,
            '{"a": ' + "[" * 10_000,
            f'{{"a": {entry("F32", [2], 0, 8)}, "a": {entry("F32", [2], 0, 8)}}}',
            f'{{"a": {entry("F32", [1], 4, 8)}}}',
            f'{{"a": {entry("F32", [1], 0, 4)}}}',
            f'{{"a": {entry("F32", [4], 0, 16)}}}',
            f'{{"a": {entry("F32", [2], 8, 0)}}}',
            f'{{"a": {entry("F32", [3], 0, 8)}}}',
            f'{{"a": {entry("F32", [-2], 0, 8)}}}',
            f'{{"a": {entry("F32", [2**32, 2**32, 2], 0, 8)}}}',
            f'{{"a": {entry("F99", [2], 0, 8)}}}',
            '{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
            '{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 8]}}',
            '{"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}',
            '{"a": {"dtype": "F32", "shape": [2]}}',
            '{"a": null}',
        ],
    )
    def test_entry(self, path, header):
        raw_file(path, header, b"\x00" * 8)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors: "):
            read(path)

    def test_a_header_that_costs_too_much(self, path):
        raw_file(path, "{}" + " " * (JSON_BYTES - 2))
        read(path).finish()
        raw_file(path, "{}" + " " * (JSON_BYTES - 1))
        with pytest.raises(ModelFormatError, match="the header claims 2097153 bytes"):
            read(path)

    def test_truncated_at_every_length(self, path):
        raw_file(path, f'{{"a": {entry("F32", [2], 0, 8)}}}', b"\x00" * 8)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(ModelFormatError, match=r"model\.safetensors: "):
                read(path)


A, B = np.arange(4, dtype=np.float32), np.ones((2, 3), np.float16)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


class TestShards:
    @pytest.fixture
    def index(self, tmp_path):
        return write_shards(tmp_path, {FIRST: {"a": A}, SECOND: {"b": B, "c": A[:1]}})

    def test_they_are_one_set_of_tensors(self, index):
        tensors = read(index)
        assert sorted(TensorFiles(Folder(index.parent)).names) == ["a", "b", "c"]
        np.testing.assert_array_equal(np.asarray(tensors.find("b", (2, 3))), B)
        a = np.asarray(tensors.find("a", (4,)))
        assert isinstance(memory_of(a), mmap.mmap)
        np.testing.assert_array_equal(a, A)
        with pytest.raises(ModelFormatError, match=rf"{SECOND}: unexpected tensor c$"):
            tensors.finish()
        with pytest.raises(ModelFormatError, match=r"index\.json: tensor d is missing"):
            tensors.find("d", (1,))
        with pytest.raises(ModelFormatError, match=rf"{SECOND}: tensor c must have shape"):
            tensors.find("c", (2,))

    def test_the_one_file_comes_first(self, index):
        save_file({"a": A + 1}, index.parent / "model.safetensors")
        assert [*TensorFiles(Folder(index.parent)).names] == ["a"]
        np.testing.assert_array_equal(np.asarray(read(index).find("a", (4,))), A + 1)

    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_a_model(self, tmp_path, dtype):
        folder = copy_tiny(tmp_path)
        tensors = load_file(folder / "model.safetensors")
        tensors = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
        save_file(tensors, folder / "model.safetensors")
        texts = ["the cat", "a dog and the sun"]
        expected = fa.load(folder).encode(texts)
        (folder / "model.safetensors").unlink()
        names = sorted(tensors)
        parts = {f"model-{i}.safetensors": names[i::3] for i in range(3)}
        write_shards(
            folder, {n: {key: tensors[key] for key in keys} for n, keys in parts.items()}
        )
        assert_same_bits(fa.load(folder).encode(texts), expected)

    def test_a_missing_one(self, index):
        (index.parent / SECOND).unlink()
        with pytest.raises(
            ModelFormatError,
            match=rf"{SECOND}: no such file, and model.* lists it: copy or",
        ):
            read(index)

    @pytest.mark.parametrize("change", ["empty", "folder", "link", "other"])
    def test_a_damaged_one(self, index, change):
        path = index.parent / SECOND
        path.unlink()
        if change == "empty":
            path.write_bytes(b"")
        elif change == "folder":
            path.mkdir()
        elif change == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.write_bytes((index.parent / FIRST).read_bytes())
        with pytest.raises(ModelFormatError, match=rf"{SECOND}: "):
            read(index)

    @pytest.mark.parametrize(
        ("listed", "message"),
        [
            ({"a": FIRST, "b": SECOND}, f"{SECOND}: tensor c is not listed to be here in"),
            (
                {"a": FIRST, "b": SECOND, "c": FIRST},
                f"{FIRST}: tensor c is listed to be he",
            ),
            ({"a": "../a.safetensors"}, "json: weight_map.a must be a safetensors file be"),
            ({"a": "/a.safetensors"}, "json: weight_map.a must be a safetensors file besi"),
            ({"a": "a/b.safetensors"}, "json: weight_map.a must be a safetensors file bes"),
            ({"a": ".a.safetensors"}, "json: weight_map.a must be a safetensors file besi"),
            ({"a": "config.json"}, "json: weight_map.a must be a safetensors file beside"),
            ({"a": "a.safetensors\n"}, "json: weight_map.a must be a safetensors file bes"),
            ({"a": 3}, "json: weight_map.a must be a safetensors file beside it, got 3"),
            ({}, "json: weight_map must list 1 to 256 files, got 0"),
            ({str(i): f"{i}.safetensors" for i in range(257)}, "256 files, got 257"),
            ([], "json: weight_map must be an object, got "),
            (None, "json: weight_map must be an object, got None"),
        ],
    )
    def test_other_indices(self, index, listed, message):
        index.write_text(json.dumps({"weight_map": listed}))
        with pytest.raises(ModelFormatError, match=message):
            read(index)

    def test_the_headers_may_not_cost_more_than_that_of_one_file(self, index):
        for name in (FIRST, SECOND):
            raw_file(index.parent / name, "{}" + " " * (JSON_BYTES // 2))
        index.write_text(json.dumps({"weight_map": {"a": SECOND, "b": FIRST}}))
        with pytest.raises(
            ModelFormatError, match=f"{SECOND}: tensor a is listed to be here"
        ):
            read(index)
        empty = f'{{"a": {entry("F32", [0], 0, 0)}}}'
        raw_file(index.parent / SECOND, empty + " " * (JSON_BYTES // 2))
        with pytest.raises(
            ModelFormatError, match=f"{FIRST}: the header claims 1048578 byt"
        ):
            read(index)

    def test_every_damaged_byte_of_the_index(self, index):
        content = index.read_bytes()
        for place in range(len(content)):
            index.write_bytes(
                content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            )
            # What metadata says is for people.
            if place < content.index(b"}"):
                continue
            with pytest.raises(ModelFormatError, match=r"^/.*safetensors"):
                tensors = read(index)
                for name, shape in (("a", (4,)), ("b", (2, 3)), ("c", (1,))):
                    tensors.find(name, shape)


@pytest.mark.memory
@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_a_large_table_is_widened_without_a_second_copy(tmp_path, dtype):
    folder, rows = write_smallest(tmp_path), 2**22
    change_json(folder / "config.json", vocab_size=rows)
    tensors = load_file(folder / "model.safetensors")
    del tensors["embeddings.word_embeddings.weight"]
    table = (
        f'{{"embeddings.word_embeddings.weight": {entry(dtype, [rows, 4], 0, 8 * rows)}}}'
    )
    raw_file(folder / "table.safetensors", table, bytes(8 * rows))
    write_shards(folder, {"rest.safetensors": tensors})
    (folder / "model.safetensors").unlink()
    listed = dict.fromkeys(tensors, "rest.safetensors")
    listed["embeddings.word_embeddings.weight"] = "table.safetensors"
    change_json(folder / "model.safetensors.index.json", weight_map=listed)
    grown, kept = printed(
        f"""
        import safetensors
        import tokenizers
        from fastattn.loading import load

        def most_memory():
            with open("/proc/self/status") as lines:
                (line,) = (line for line in lines if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024

        before = most_memory()
        model = load({str(folder)!r})
        print(most_memory() - before, model.nbytes)
        """
    ).split()
    assert int(grown) < 1.15 * int(kept)
