"""The files of tensors are opened, and their headers read, once."""

import pytest
from support.folders import DATA

import fastattn as fa
from fastattn.models import read_model, tensor_files
from fastattn.models.folder import Folder
from fastattn.models.tensor_files import _read_header


@pytest.mark.parametrize("path", ["families/gte", "cross/gte", "sparse/gte", "tiny_bert"])
def test_a_header_is_read_once(monkeypatch, path):
    """Also where names of tensors tell variants, or prefixes, apart."""
    read = []

    def counted(file, *arguments):
        read.append(file)
        return _read_header(file, *arguments)

    monkeypatch.setattr(tensor_files, "_read_header", counted)
    if path.startswith("families"):
        read_model(Folder(DATA / path))
    else:
        fa.load(DATA / path)
    assert len(read) == 1
