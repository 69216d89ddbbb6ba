"""Reading JSON settings and safetensors files, whole and damaged."""

import json
import mmap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.folders import memory_of

from fastattn import ModelFormatError
from fastattn.models.checkpoint import JSON_BYTES, Settings, Tensors, open_weights
from fastattn.models.folder import Folder


def raw_file(path: Path, header: str, data: bytes = b"") -> Path:
    """Write a safetensors file by hand."""
    encoded = header.encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


def entry(dtype: str, shape: list[int], start: int, stop: int) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, stop]})


def same_name(name: str) -> str:
    return name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


class TestSettings:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"{", "not a JSON file"),
            (b"\xff\xfe", "not a JSON file"),
            (b"[" * 100_000, "not a JSON file"),
            (b'{"a": ' + b"1" * 5000 + b"}", "not a JSON file"),
            (b"[1]", "expected a JSON object"),
        ],
    )
    def test_damaged_file(self, tmp_path, content, message):
        path = tmp_path / "config.json"
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=rf"config\.json: {message}"):
            Settings.read(Folder(tmp_path), "config.json")

    def test_missing_file(self, tmp_path):
        with pytest.raises(ModelFormatError, match=r"config\.json: no such file"):
            Settings.read(Folder(tmp_path), "config.json")
        assert Settings.read(Folder(tmp_path), "config.json", optional=True).fields == {}

    @pytest.mark.parametrize("value", [None, True, 1.0, "1", [1], {"a": 1}])
    def test_wrong_type(self, value):
        settings = Settings(Path("config.json"), {"size": value})
        with pytest.raises(ModelFormatError, match=r"config\.json: size must be a whole"):
            settings.get("size", int)

    @pytest.mark.parametrize("value", [0, -1, -(10**30), 1001, 10**4299])
    def test_size_out_of_range(self, value):
        settings = Settings(Path("config.json"), {"size": value})
        with pytest.raises(ModelFormatError, match="size must be from 1 to 1000, got"):
            settings.get_size("size", 1000)

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "0", "-1e-12", "1" + "0" * 400])
    def test_float_out_of_range(self, value):
        settings = Settings(Path("config.json"), {"eps": json.loads(value)})
        with pytest.raises(ModelFormatError, match=r"eps must be from 0\.5 to 1\.79"):
            settings.get_float("eps", 1.0, 0.5)

    def test_good_values(self):
        settings = Settings(Path("config.json"), {"size": 3, "eps": 1, "name": "a"})
        assert settings.get_size("size", 3) == 3
        assert settings.get_float("eps", 0.5) == 1.0
        assert settings.get_choice("name", ["a", "b"]) == "a"
        assert settings.get("more", str, "default") == "default"

    def test_missing_field(self):
        with pytest.raises(ModelFormatError, match="size is missing"):
            Settings(Path("config.json"), {}).get("size", int)

    def test_unknown_choice(self):
        settings = Settings(Path("config.json"), {"name": "c" * 1000})
        with pytest.raises(ModelFormatError, match="name must be a or b, got 'c") as info:
            settings.get_choice("name", ["a", "b"])
        assert len(str(info.value)) < 120


class TestTensors:
    def test_float32_is_a_view_of_the_map(self, path):
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        save_file({"weight": weight}, path)
        taken = np.asarray(Tensors(Folder(path.parent), same_name).find("weight", (2, 3)))
        np.testing.assert_array_equal(taken, weight)
        assert not taken.flags.writeable
        assert isinstance(memory_of(taken), mmap.mmap)

    def test_float16_is_widened(self, path):
        weight = np.array([0, -0.0, 1.5, 65504, 6e-8, -7], np.float16)
        save_file({"weight": weight}, path)
        taken = np.asarray(Tensors(Folder(path.parent), same_name).find("weight", (6,)))
        assert taken.dtype == np.float32
        assert not taken.flags.writeable
        np.testing.assert_array_equal(taken, weight.astype(np.float32))

    def test_bfloat16_is_widened(self, path):
        stored = np.array([0x3F80, 0xC000, 0x7F7F, 0x0001], "<u2")
        raw_file(path, f'{{"weight": {entry("BF16", [4], 0, 8)}}}', stored.tobytes())
        taken = np.asarray(Tensors(Folder(path.parent), same_name).find("weight", (4,)))
        expected = np.array([1, -2, 0xFF * 2.0**120, 2.0**-133], np.float32)
        np.testing.assert_array_equal(taken, expected)
        assert not taken.flags.writeable

    def test_a_tensor_behind_an_odd_number_of_bytes_is_aligned(self, path):
        weight = np.array([1, 2, 3], "<f4")
        header = f'{{"flag": {entry("U8", [1], 0, 1)}, "w": {entry("F32", [3], 1, 13)}}}'
        raw_file(path, header, b"\x01" + weight.tobytes())
        taken = np.asarray(Tensors(Folder(path.parent), same_name).find("w", (3,)))
        assert taken.flags.aligned
        np.testing.assert_array_equal(taken, weight)

    def test_missing_and_taken_twice(self, path):
        save_file({"weight": np.ones(2, np.float32)}, path)
        tensors = Tensors(Folder(path.parent), same_name)
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
            Tensors(Folder(path.parent), same_name).find("weight", (3, 2))

    @pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8, np.bool_])
    def test_wrong_dtype(self, path, dtype):
        save_file({"weight": np.ones(2, dtype)}, path)
        with pytest.raises(ModelFormatError, match="weight must be stored as one of F32"):
            Tensors(Folder(path.parent), same_name).find("weight", (2,))

    def test_unexpected(self, path):
        save_file({name: np.ones(2, np.float32) for name in "cab"}, path)
        tensors = Tensors(Folder(path.parent), same_name)
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
        tensors = Tensors(Folder(path.parent), {"a.w": "w", "b": None}.get)
        tensors.find("w", (2,))
        tensors.finish()

    def test_two_names_of_one_tensor(self, path):
        save_file({"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, path)
        with pytest.raises(ModelFormatError, match="two tensors mean w"):
            Tensors(Folder(path.parent), lambda name: "w")


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
            Tensors(Folder(path.parent), same_name)

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
            Tensors(Folder(path.parent), same_name)

    def test_a_header_that_costs_too_much(self, path):
        raw_file(path, "{}" + " " * (JSON_BYTES - 2))
        Tensors(Folder(path.parent), same_name).finish()
        raw_file(path, "{}" + " " * (JSON_BYTES - 1))
        with pytest.raises(ModelFormatError, match="the header claims 2097153 bytes"):
            Tensors(Folder(path.parent), same_name)

    def test_truncated_at_every_length(self, path):
        raw_file(path, f'{{"a": {entry("F32", [2], 0, 8)}}}', b"\x00" * 8)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(ModelFormatError, match=r"model\.safetensors: "):
                Tensors(Folder(path.parent), same_name)


class TestFindWeights:
    def test_nothing(self, tmp_path):
        with pytest.raises(ModelFormatError, match=r"model\.safetensors: no such file"):
            open_weights(Folder(tmp_path))

    def test_safetensors_come_first(self, tmp_path):
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
        (tmp_path / "model.safetensors").write_bytes(b"")
        with open_weights(Folder(tmp_path)) as file:
            assert Path(file.name) == tmp_path / "model.safetensors"
