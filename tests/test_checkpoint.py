"""Reading JSON settings, whole and damaged."""

import json
from pathlib import Path

import pytest

from fastattn import ModelFormatError
from fastattn.models.checkpoint import Settings
from fastattn.models.folder import Folder


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
