"""Get models from the Hugging Face hub: where that is asked for, and nowhere else."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from ..arrays import as_flag
from ..errors import ModelFormatError
from .checkpoint import Settings
from .cures import INDEX, PICKLED, WEIGHTS, no_tokenizer, no_weights, refuse_adapter
from .folder import Folder, printable
from .locate import cache_folder, find, hub_names, locate
from .refused import KINDS, WITHOUT_MODULES, refuse_architecture, refuse_type

# The folders of the modules of sentence-transformers: 1_Pooling, query_0_Transformer.
MODULE = re.compile(r"(?:\w+_)?\d+_\w+")

# A file that holds all weights, or one of several that hold them together.
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")

# What is got last: where the cache has it, or knows that there is none, it has the rest.
LAST = "modules.json"

# One of them is where the weights are that are read.
SAFE = {WEIGHTS, INDEX}


def download(
    name: str | os.PathLike[str], *, revision: str | None = None, token: str | None = None
) -> Path:
    """Get a model from the Hugging Face hub, unless it is on this machine already.

    Parameters
    ----------
    name : str
        Its name on the hub, ``sentence-transformers/all-MiniLM-L6-v2``; without an
        organisation, that of sentence-transformers is tried first. A folder, which is on
        this machine, is given back.
    revision : str, optional
        A branch, a tag or a commit; the main branch unless given.
    token : str, optional
        What the hub knows its user by, for models that are not everybody's; unless given,
        that of ``hf auth login`` or the variable HF_TOKEN.

    Returns
    -------
    Path
        The folder, which :func:`fastattn.load` reads: by the same name and revision, too,
        from then on without the network.

    Raises
    ------
    FileNotFoundError
        If the hub has no such model or revision, or shows it to others only.
    PermissionError
        If the model's terms must be accepted first, or the token does not allow it.
    ModelFormatError
        If the model is there in another form, as pickled weights for example, which is
        told before anything is downloaded, with what to do about it; or if it is of a kind
        that is not read, which is told before its weights are.
    ConnectionError
        If there is no connection, it breaks, or HF_HUB_OFFLINE is set. What was downloaded
        is kept, and the next call goes on from there.
    ImportError
        If huggingface_hub is not installed: ``pip install 'fastattn[text]'``.
    OSError
        If the disk is full, or the cache cannot be written.
    TypeError, ValueError
        If `revision` or `token` is not what it should be.

    Notes
    -----
    huggingface_hub does it, into its cache, and its environment variables hold: HF_HOME,
    HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. Only JSON and safetensors files are got: nothing
    that is run or unpickled. A model that is on this machine is not asked for again, so a
    branch stays what it was; ``hf download`` brings one up to date.

    Examples
    --------
    >>> import fastattn as fa
    >>> folder = fa.download("all-MiniLM-L6-v2")
    >>> (folder / "model.safetensors").is_file()
    True
    """
    return get(name, revision, token)


def get(
    name: str | os.PathLike[str],
    revision: str | None = None,
    token: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """Do what `download` does, with the cache of huggingface_hub or another."""
    _check_token(token)
    found = find(name, revision, cache, whole=True)
    if found is not None:
        return found
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise ImportError(
            "to download models needs the package huggingface_hub: pip install "
            "'fastattn[text]'"
        ) from None
    name = os.fspath(name)
    with _errors_in_words(name, revision):
        return _fetch(name, revision, token, cache)


def folder_of(name: str | os.PathLike[str], revision: str | None, from_hub: bool) -> Folder:
    """Find the folder of a model, which `load(..., download=True)` gets from the hub."""
    if as_flag(from_hub, "download"):
        return Folder(download(name, revision=revision))
    return Folder(locate(name, revision))


def _check_token(token: str | None) -> None:
    """Make sure that a token can stand in a request; nothing shows it."""
    if token is None:
        return
    if not isinstance(token, str):
        raise TypeError(f"token must be a str, got {type(token).__name__}")
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError(
            "token must be letters, digits and signs of ASCII, without spaces or line ends"
        )


def _fetch(
    name: str,
    revision: str | None,
    token: str | None,
    cache: str | os.PathLike[str] | None,
) -> Path:
    """Get the files of a model, and give their folder."""
    from huggingface_hub import constants, errors, hf_hub_download, model_info

    # Without it the library waits for ever; of files it has its own patience.
    patience = constants.HF_HUB_ETAG_TIMEOUT
    names = hub_names(name)
    for full_name in names:
        try:
            info = model_info(full_name, revision=revision, timeout=patience, token=token)
            break
        except errors.RepositoryNotFoundError:
            if full_name == names[-1]:
                raise
    files = [file.rfilename for file in info.siblings or ()]
    Listing(full_name, revision, files).check()
    # Where it is looked for: the library asks the environment once, when it is imported.
    folder = cache_folder(cache)
    get_file = partial(hf_hub_download, full_name, cache_dir=folder, token=token)
    for file in wanted(files):
        # By the commit: a branch may move meanwhile.
        path = get_file(file, revision=info.sha)
        if file == "config.json":
            # Weights of gigabytes come behind it.
            config = Settings.read(Folder(Path(path).parent), file)
            refuse_type(config)
            alone = () if LAST in files else WITHOUT_MODULES
            refuse_architecture(config, (*KINDS, *alone))
    # The cache notes only now at which commit the branch is, so that what broke off is not
    # found; and that there is no modules.json, if the server says of which commit that is.
    for file in (LAST,) if LAST in files else ("config.json", LAST):
        try:
            get_file(file, revision=revision)
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError:
            pass
    found = locate(full_name, revision, cache)
    if found.name != info.sha:
        raise ConnectionError(f"{name} changed while it was downloaded: try again")
    return found


def wanted(files: Iterable[str]) -> list[str]:
    """List what a model is read from, settings before weights, but for the last file."""
    folders: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folder, _, name = file.rpartition("/")
        folders[folder].add(name)
    settings, weights = [], []
    for folder, names in sorted(folders.items()):
        if folder and not MODULE.fullmatch(folder):
            continue
        for name in sorted(names):
            path = f"{folder}/{name}" if folder else name
            if name.endswith(".json") and path != LAST:
                settings.append(path)
            elif name == WEIGHTS or (SHARD.fullmatch(name) and WEIGHTS not in names):
                weights.append(path)
    return settings + weights


@dataclass(frozen=True)
class Listing:
    """What a model on the hub consists of, to be asked as a Folder is.

    Attributes
    ----------
    name : str
        Name of the model.
    revision : str or None
        At which revision.
    files : sequence of str
        The paths of its files.
    folder : str, optional
        The folder in it that is meant; all of it unless given.
    """

    name: str
    revision: str | None
    files: Sequence[str]
    folder: str = ""

    @property
    def path(self) -> PurePosixPath:
        """The name of the folder on the hub."""
        return PurePosixPath(self.name, self.folder)

    @property
    def converted(self) -> str:
        """Into what a command converts it."""
        return f" into the folder {self._local}"

    @property
    def _local(self) -> str:
        return self.name.rpartition("/")[2]

    def has(self, name: str) -> bool:
        """Say whether there is a file or a folder of this name."""
        return name in self.names()

    def names(self) -> set[str]:
        """List the files and folders that it holds."""
        start = f"{self.folder}/" if self.folder else ""
        inside = [file.removeprefix(start) for file in self.files if file.startswith(start)]
        return {file.partition("/")[0] for file in inside}

    def source(self) -> str:
        """Write Python that gets what a conversion needs, and gives the path of that."""
        options = {
            "revision": self.revision,
            "local_dir": self._local,
            "allow_patterns": ["*.json", "*.bin", "*.safetensors", "*.model", "*.txt"],
            "ignore_patterns": ["onnx/*", "openvino/*"],
        }
        get = "__import__('huggingface_hub').snapshot_download"
        return f"{get}({self.name!r}, **{options}) + {'/' + self.folder!r}"

    def check(self) -> None:
        """Make sure that a model is read from these files, as far as their names tell."""
        refuse_adapter(self)
        modules = sorted(name for name in self.names() if MODULE.fullmatch(name))
        folders = [self, *(replace(self, folder=name) for name in modules)]
        held = [set(folder.names()) for folder in folders]
        for folder, names in zip(folders, held, strict=True):
            if names & PICKLED.keys() and not names & SAFE:
                raise no_weights(folder)
        if not any(names & SAFE for names in held):
            raise no_weights(self)
        if not any("tokenizer.json" in names for names in held):
            raise no_tokenizer(self)


@contextmanager
def _errors_in_words(name: str, revision: str | None) -> Iterator[None]:
    """Say what the hub's errors mean for who asked for a model."""
    from huggingface_hub import constants, errors

    site = constants.ENDPOINT
    log_in = "log in (`hf auth login`, or the variable HF_TOKEN), or give token="
    try:
        yield
    except errors.GatedRepoError:
        raise PermissionError(
            f"{name} is for those alone who accepted its terms: do that at {site}/{name}, "
            f"then {log_in}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"no model {name} at {site}, or none that everybody may see: check the name, "
            f"organisation included; for what is yours, {log_in}"
        ) from None
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(
            f"{name} has no branch, tag or commit {revision} at {site}"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise PermissionError(
                f"{site} does not let you read {name} (HTTP status {status}): {log_in}"
            ) from None
        raise ConnectionError(
            f"{site} answered with HTTP status {status} when asked for {name}: try again"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise ConnectionError(
            f"{name} is not in the Hugging Face cache as a whole, and HF_HUB_OFFLINE says "
            "not to download; what there is of it is loaded without download=True"
        ) from None
    except errors.HFValidationError as error:
        raise FileNotFoundError(f"no model {name}: {printable(str(error))}") from None
    except Exception as error:
        # What the library under the hub's raises is an OSError in one version of it and
        # not in another; OSErrors with a number are about files.
        about_files = isinstance(error, OSError) and error.errno is not None
        if about_files or isinstance(error, ModelFormatError | ConnectionError):
            raise
        cause = error.__cause__ or error
        reason = printable(str(cause).partition("\n")[0]) or type(cause).__name__
        raise ConnectionError(
            f"{name} could not be downloaded from {site}: {reason}. What is complete of it "
            "is kept: try again"
        ) from None
