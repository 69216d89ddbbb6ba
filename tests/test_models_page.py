"""docs/models.md lists what is refused."""

import pytest
from support.processes import ROOT

from fastattn.models.families import MODULES
from fastattn.models.refused import KINDS, WITHOUT_MODULES

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def told_by(kind):
    """Say by what a kind is known."""
    fields = {
        "`model_type`": kind.types,
        "`architectures`": kind.architectures,
        "more than one of": kind.fields,
        "a module of": kind.modules,
    }
    return "; ".join(
        f"{field} {', '.join(f'`{name}`' for name in names)}"
        for field, names in fields.items()
        if names
    )


@pytest.mark.parametrize("kind", [*KINDS, *WITHOUT_MODULES], ids=lambda kind: kind.what)
def test_every_kind_is_listed(kind):
    assert f"| {kind.what} | {told_by(kind)} | {kind.cure} |\n" in PAGE
    assert not set(kind.types) & MODULES.keys()


def test_no_other_kind_is_listed():
    table = PAGE.partition("| what it is | told by | instead |\n|---|---|---|\n")[2]
    assert table.count("\n") == len(KINDS) + len(WITHOUT_MODULES)
