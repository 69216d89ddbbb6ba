"""A Hugging Face hub on this machine: its paths, and all that can go wrong with it."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .processes import python

API = re.compile(r"/api/models/(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:/revision/(?P<at>[^/?]+))?")
FILE = re.compile(r"/(?P<name>[\w.-]+(?:/[\w.-]+)?)/resolve/(?P<at>[^/]+)/(?P<file>[^?]+)")

# What a client's scripts begin with: one line about each thing that it tries. The library
# waits between its attempts, which are not to take time here.
PRELUDE = """
import time
import fastattn as fa

time.sleep = lambda seconds: None

def attempt(function, *arguments, **keywords):
    try:
        print(function(*arguments, **keywords))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")

"""


def commit_of(files: dict[str, bytes]) -> str:
    """Name a state of a model as git would."""
    state = hashlib.sha1()
    for path, content in sorted(files.items()):
        state.update(path.encode() + content)
    return state.hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Hub:
    """What the server has, and what it was asked for.

    Attributes
    ----------
    models : dict
        Name -> revision, branches and commits -> path -> content of a file.
    gated : set of str
        The models whose files are given to nobody.
    refused : int or None
        The HTTP status of everything, if it is not to be had.
    broken : set of str
        The files at whose middle the connection breaks.
    silent : bool
        Whether nothing is answered.
    names_commits : bool
        Whether it is said at which commit a file is missing.
    moves_to : dict, optional
        The files of the branch main of every model, once something is asked of it.
    requests : list of str
        What was asked for, as `GET /path`.
    """

    def __init__(self) -> None:
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.refused: int | None = None
        self.broken: set[str] = set()
        self.silent = False
        self.names_commits = True
        self.moves_to: dict[str, bytes] | None = None
        self.over = threading.Event()
        self.requests: list[str] = []
        self.address = ""

    def publish(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Put a state of a model on the server; give its commit."""
        commit = commit_of(files)
        self.models.setdefault(name, {}).update({branch: files, commit: files})
        return commit

    def client(self, home: Path, script: str, **variables: str) -> list[str]:
        """Run a script against the server, in a home of its own; give what it prints."""
        own = {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": "",
            "NO_PROXY": "127.0.0.1",
        }
        done = python(PRELUDE + script, **(own | variables))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a server for as long as the block does."""
    hub = Hub()

    class Handler(Answer):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.start()
        try:
            yield hub
        finally:
            hub.over.set()
            server.shutdown()
            thread.join()


class Answer(BaseHTTPRequestHandler):
    """One connection of a client."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = API.match(self.path) or FILE.match(self.path)
        if asked is None:
            # The library asks about other things than models, too.
            self.error(404)
            return
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.silent:
            self.hub.over.wait()
            self.close_connection = True
            return
        if self.hub.refused:
            self.error(self.hub.refused)
            return
        revisions = self.hub.models.get(asked["name"])
        if revisions is None:
            # Nobody is told whether it is somebody else's.
            self.error(401, "RepoNotFound")
        elif (asked["at"] or "main") not in revisions:
            self.error(404, "RevisionNotFound")
        else:
            files = revisions[asked["at"] or "main"]
            if "file" in asked.groupdict():
                self.give_file(asked["name"], asked["file"], files)
            else:
                self.describe(asked["name"], files)

    def describe(self, name: str, files: dict[str, bytes]) -> None:
        """Say what a model consists of."""
        siblings = [{"rfilename": path} for path in files]
        about = {"id": name, "modelId": name, "sha": commit_of(files), "siblings": siblings}
        self.send(json.dumps(about).encode(), {})
        if self.hub.moves_to is not None:
            self.hub.publish(name, self.hub.moves_to)

    def give_file(self, name: str, path: str, files: dict[str, bytes]) -> None:
        """Give a file, from where it is asked for on."""
        commit = {"X-Repo-Commit": commit_of(files)}
        if name in self.hub.gated:
            self.error(403, "GatedRepo")
        elif path not in files:
            self.error(404, "EntryNotFound", commit if self.hub.names_commits else {})
        else:
            tag = hashlib.sha1(files[path]).hexdigest()
            self.send(files[path], commit | {"ETag": f'"{tag}"'}, path in self.hub.broken)

    def send(self, content: bytes, headers: dict[str, str], broken: bool = False) -> None:
        """Send an answer, or break the connection in its middle."""
        start = int(re.sub(r"\D", "", self.headers.get("Range", "0").partition("-")[0]))
        self.send_response(206 if start else 200)
        if start:
            headers = headers | {
                "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"
            }
        rest = content[start:]
        for field, value in (headers | {"Content-Length": str(len(rest))}).items():
            self.send_header(field, value)
        self.end_headers()
        if self.command == "GET":
            # Whoever goes on from the middle gets nothing more.
            self.wfile.write(rest[: 0 if start else len(rest) // 2] if broken else rest)
            self.close_connection = broken

    def error(
        self, status: int, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Refuse."""
        self.send_response(status)
        fields = {"X-Error-Code": code, "Content-Length": "0", **(headers or {})}
        for field, value in fields.items():
            self.send_header(field, value)
        self.end_headers()
