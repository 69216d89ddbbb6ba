"""Read the settings of model folders, JSON files, field by field.

Every error names the file and the field. What a field means is the business of the
families.
"""

import json
import reprlib
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import ModelFormatError
from .folder import Folder, printable

# The settings and headers of real models take up to some hundred kilobytes. Parsed, a
# hostile file of this size takes some thirty times as much memory.
JSON_BYTES = 2 * 2**20

JSON_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}

_REQUIRED: Any = object()


class Settings:
    """One JSON object of a model folder, read field by field with checks.

    Parameters
    ----------
    path : Path
        Where it was read; errors name it.
    fields : dict
        The object.
    """

    def __init__(self, path: Path, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise ModelFormatError(f"{path}: expected a JSON object at the top")
        self.path = path
        self.fields = fields

    @classmethod
    def read(cls, folder: Folder, name: str, *, optional: bool = False) -> "Settings":
        """Read a file; a missing `optional` one has no fields."""
        path = folder.path / name
        if optional and not folder.has(name):
            return cls(path, {})
        return cls(path, read_json(folder, name))

    def error(self, field: str, problem: str) -> ModelFormatError:
        """Make the error that names this file and a field of it."""
        return ModelFormatError(f"{self.path}: {printable(field)} {problem}")

    def wrong(self, field: str, expected: str, value: Any) -> ModelFormatError:
        """Make the error that says what was expected and what is there."""
        return self.error(field, f"must be {expected}, got {reprlib.repr(value)}")

    def has(self, field: str) -> bool:
        """Say whether a field says something: null, as Python writes None, does not."""
        return self.fields.get(field) is not None

    def get(self, field: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Get a field of one JSON type; a missing one is `default`, if there is any."""
        value = self.fields.get(field, default)
        if value is _REQUIRED:
            raise self.error(field, "is missing")
        # A JSON true is no number, though a Python bool is an int.
        if value is not default and type(value) is not kind:
            raise self.wrong(field, JSON_KINDS[kind], value)
        if kind is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.wrong(field, "Unicode without half a surrogate pair", value)
        return value

    def get_object(self, field: str) -> "Settings":
        """Get an object, whose errors name it, too; a missing one has no fields."""
        fields = self.get(field, dict) if self.has(field) else {}
        return Settings(Path(f"{self.path}: {field}"), fields)

    def get_choice(
        self, field: str, choices: Collection[str], default: Any = _REQUIRED
    ) -> str:
        """Get one of some strings."""
        value: str = self.get(field, str, default)
        if value not in choices:
            raise self.wrong(field, " or ".join(choices), value)
        return value

    def get_size(self, field: str, highest: int, default: Any = _REQUIRED) -> int:
        """Get a whole number from 1 to `highest`."""
        value: int = self.get(field, int, default)
        if not 1 <= value <= highest:
            raise self.wrong(field, f"from 1 to {highest}", value)
        return value

    def get_float(
        self,
        field: str,
        default: Any = _REQUIRED,
        lowest: float = sys.float_info.min,
        highest: float = sys.float_info.max,
    ) -> float:
        """Get a number from `lowest` to `highest`, whole or not."""
        whole = type(self.fields.get(field)) is int
        value = self.get(field, int if whole else float, default)
        if not lowest <= value <= highest:
            raise self.wrong(field, f"from {lowest} to {highest}", value)
        return float(value)


def read_json(folder: Folder, name: str) -> Any:
    """Read a JSON file of at most JSON_BYTES."""
    return parse_json(folder.path / name, folder.read(name, JSON_BYTES))


def parse_json(path: Path, content: bytes) -> Any:
    """Parse what stands in a file; two values of one name are an error."""
    try:
        return json.loads(str(content, "utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path}: not a JSON file: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, whose names must all be different."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"{printable(name)} is there twice")
        fields[name] = value
    return fields
