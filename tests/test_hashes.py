"""The committed bits of kernels, layers and MiniLM, on every instruction set with FMA."""

import json

import pytest
from make_hashes import HASHES, hashes
from support.bits import FMA_ISAS

import fastattn as fa


@pytest.mark.parametrize("isa", FMA_ISAS, indirect=True)
@pytest.mark.parametrize("threads", [1, 3])
def test_bits_are_those_that_were_committed(isa, threads):
    with fa.num_threads(threads):
        assert hashes() == json.loads(HASHES.read_text())
