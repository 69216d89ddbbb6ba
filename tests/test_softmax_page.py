"""The page on softmax: its code is right, and its table has every version."""

import re

import measure_softmax
import numpy as np
import pytest
from support.criterion import assert_accurate

from fastattn import reference

PAGE = measure_softmax.PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def versions():
    return measure_softmax.checked_versions()


def test_the_page_has_five_versions_and_a_row_for_each(versions):
    assert [name.partition(":")[0] for name in versions] == list("12345")
    table = PAGE.partition("\n| version |")[2]
    rows = re.findall(r"^\| (\d: .*?) \|", table, re.MULTILINE)
    assert rows == list(versions)


def test_short_rows_are_as_accurate_as_kernels_have_to_be(versions):
    x = measure_softmax.scores(64, 100)
    for softmax in versions.values():
        y = np.empty_like(x)
        softmax(x, y)
        assert_accurate(y, lambda dtype: reference.softmax(x.astype(dtype)))


def test_a_wrong_coefficient_in_the_page_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    assert PAGE.count("0x1.5558f2p-5f") == 1
    page.write_text(PAGE.replace("0x1.5558f2p-5f", "0x1.5a58f2p-5f"), encoding="utf-8")
    monkeypatch.setattr(measure_softmax, "PAGE", page)
    with pytest.raises(AssertionError):
        measure_softmax.checked_versions()
