"""Models from a hub, which is a server on this machine."""

import ast
import json
import shlex
import time

import pytest
from safetensors.numpy import load_file, save
from support.folders import TINY
from support.hub import commit_of, files_of, serve

from fastattn.models.download import wanted

FILES = files_of(TINY)
NAME = "some-one/tiny"


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


def snapshot(home, name, commit):
    return home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / commit


class TestDownload:
    def test_the_second_time_nothing_is_asked_for(self, hub, tmp_path):
        others = (
            *("README.md", "pytorch_model.bin", "modeling.py", "onnx/config.json"),
            *("checkpoint-1/model.safetensors", "model-00001-of-00002.safetensors"),
        )
        commit = hub.publish(NAME, FILES | dict.fromkeys(others, b""))
        folder = snapshot(tmp_path, NAME, commit)
        load = f"model = fa.load({NAME!r}, download=True); print(len(model.encode('a')))"
        again = f"print(fa.download({NAME!r}), fa.TextEncoder.load({NAME!r}).max_length)"
        assert hub.client(tmp_path, f"{load}\n{again}") == ["32", f"{folder} 48"]
        assert files_of(folder) == FILES
        # Settings come before weights, and what says that all is there comes last.
        got = [path.rpartition("/")[2] for path in hub.requests if path.startswith("GET")]
        assert got[-2:] == ["model.safetensors", "modules.json"]
        assert len(got) == 1 + len(FILES)
        hub.requests.clear()
        once_more = f"attempt(fa.download, {NAME!r}, revision={commit!r})"
        lines = hub.client(tmp_path, f"{load}\n{again}\n{once_more}")
        assert lines == ["32", f"{folder} 48", str(folder)]
        assert hub.requests == []

    def test_into_another_cache(self, hub, tmp_path):
        commit = hub.publish(NAME, FILES)
        other = tmp_path / "other"
        script = f"""
from fastattn.models.download import get
print(get({NAME!r}, cache={str(other)!r}))
attempt(fa.load, {NAME!r})
print(fa.SentenceTransformer({NAME!r}, cache_folder={str(other)!r}).max_seq_length)
"""
        folder, missing, length = hub.client(tmp_path, script)
        assert folder == str(snapshot(tmp_path, NAME, commit)).replace("/hub/", "/other/")
        assert missing.startswith("FileNotFoundError")
        assert length == "48"

    def test_revisions(self, hub, tmp_path):
        plain = ("config.json", "model.safetensors", "tokenizer.json")
        old = {name: FILES[name] for name in plain}
        commits = {
            "v1": hub.publish(NAME, old, branch="v1"),
            "refs/pr/2": hub.publish(
                NAME, FILES | {"a.json": b"{}"}, branch="refs%2Fpr%2F2"
            ),
            None: hub.publish(NAME, FILES),
        }
        script = "".join(
            f"attempt(fa.download, {NAME!r}, revision={revision!r})\n"
            f"print(fa.load({NAME!r}, revision={revision!r}).modules.unit)\n"
            for revision in commits
        )
        by_commit = f"print(fa.load({NAME!r}, revision={commits['v1']!r}).modules.unit)"
        lines = hub.client(tmp_path, script + by_commit)
        assert lines[::2][:3] == [
            str(snapshot(tmp_path, NAME, commit)) for commit in commits.values()
        ]
        assert [*lines[1::2], lines[-1]] == ["False", "True", "True", "False"]
        hub.requests.clear()
        assert hub.client(tmp_path, script + by_commit) == lines
        assert hub.requests == []

    def test_a_mirror_that_does_not_say_of_which_commit_a_file_is_missing(
        self, hub, tmp_path
    ):
        plain = ("config.json", "model.safetensors", "tokenizer.json")
        commit = hub.publish(NAME, {name: FILES[name] for name in plain})
        hub.names_commits = False
        folder = str(snapshot(tmp_path, NAME, commit))
        script = f"attempt(fa.download, {NAME!r}); attempt(fa.download, {NAME!r})"
        assert hub.client(tmp_path, script) == [folder, folder]
        got = [request for request in hub.requests if request.startswith("GET /some")]
        assert len(got) == len(plain)

    def test_a_branch_that_moves_meanwhile(self, hub, tmp_path):
        old = hub.publish(NAME, FILES)
        new = FILES | {"modules.json": FILES["modules.json"] + b" "}
        hub.moves_to = new
        script = f"attempt(fa.download, {NAME!r}); attempt(fa.download, {NAME!r})"
        moved, path = hub.client(tmp_path, script)
        assert (
            moved == f"ConnectionError: {NAME} changed while it was downloaded: try again"
        )
        assert path == str(snapshot(tmp_path, NAME, commit_of(new))) != old

    def test_weights_in_several_files(self, hub, tmp_path):
        tensors = load_file(TINY / "model.safetensors")
        names = sorted(tensors)
        shards = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in (0, 1)}
        listed = {name: file for file, inside in shards.items() for name in inside}
        files = {name: FILES[name] for name in FILES if name != "model.safetensors"}
        files["model.safetensors.index.json"] = json.dumps({"weight_map": listed}).encode()
        for file, inside in shards.items():
            files[file] = save({name: tensors[name] for name in inside})
        hub.publish(NAME, files)
        script = f"print(len(fa.load({NAME!r}, download=True).encode('a')))"
        assert hub.client(tmp_path, script) == ["32"]

    def test_a_commit_alone(self, hub, tmp_path):
        commit = hub.publish(NAME, FILES, branch="unknown")
        script = f"attempt(fa.download, {NAME!r}, revision={commit!r})\n"
        folder = str(snapshot(tmp_path, NAME, commit))
        assert hub.client(tmp_path, script * 2) == [folder, folder]
        assert sum("modules.json" in request for request in hub.requests) == 2

    def test_a_name_without_organisation(self, hub, tmp_path):
        ours = hub.publish("sentence-transformers/tiny", FILES)
        theirs = hub.publish("bert-tiny", FILES)
        lines = hub.client(
            tmp_path, "attempt(fa.download, 'tiny'); attempt(fa.download, 'bert-tiny')"
        )
        assert lines == [
            str(snapshot(tmp_path, "sentence-transformers/tiny", ours)),
            str(snapshot(tmp_path, "bert-tiny", theirs)),
        ]

    def test_what_another_program_left_is_made_whole(self, hub, tmp_path):
        """transformers asks for no modules.json, without which vectors are others."""
        commit = hub.publish(NAME, FILES)
        lines = hub.client(
            tmp_path,
            f"""
from huggingface_hub import hf_hub_download
for name in ("config.json", "tokenizer.json", "model.safetensors"):
    hf_hub_download({NAME!r}, name)
attempt(fa.load, {NAME!r})
attempt(fa.load, {NAME!r}, download=True)
""",
        )
        assert "modules={'1_Pooling': Pooling('mean')}" in lines[0]
        assert "'2_Normalize': " in lines[1]
        assert files_of(snapshot(tmp_path, NAME, commit)) == FILES

    def test_a_cache_that_is_named_late(self, hub, tmp_path):
        commit = hub.publish(NAME, FILES)
        (line,) = hub.client(
            tmp_path,
            f"""
import os, huggingface_hub.constants
os.environ["HF_HUB_CACHE"] = {str(tmp_path / "late" / "hub")!r}
attempt(fa.download, {NAME!r})
""",
        )
        assert line == str(snapshot(tmp_path / "late", NAME, commit))

    def test_the_command_line(self, hub, tmp_path):
        commit = hub.publish(NAME, FILES, branch="v1")
        lines = hub.client(
            tmp_path,
            f"""
from fastattn.cli import main
print(main(["download", {NAME!r}, "--revision", "v1"]))
import sys; sys.stderr = sys.stdout
print(main(["download", {NAME!r}]))
""",
        )
        assert lines[:2] == [str(snapshot(tmp_path, NAME, commit)), "0"]
        assert lines[2].startswith(f"fastattn: error: {NAME} has no branch, tag or commit")
        assert lines[3] == "2"


def test_what_a_model_is_read_from():
    settings = ["config.json", "2_Dense/config.json", "query_0_S/modules.json"]
    weights = [
        "2_Dense/model.safetensors",
        "query_0_S/model-00001-of-00001.safetensors",
    ]
    others = ("modules.json", "a/b/config.json", "2_Dense/pytorch_model.bin", "vocab.txt")
    found = wanted([*others, *weights, *settings])
    assert (found[:3], found[3:]) == (settings, weights)
    many = [f"checkpoint-{i}/model.safetensors" for i in range(100_000)]
    start = time.process_time()
    assert wanted([*many, *settings]) == settings
    # The square of so many would take minutes, and a crowded machine takes this for one.
    assert time.process_time() - start < 10


class TestRefusals:
    def test_what_is_not_there(self, hub, tmp_path):
        hub.publish(NAME, FILES)
        hub.publish("a/gated", FILES)
        hub.gated.add("a/gated")
        lines = hub.client(
            tmp_path,
            f"""
attempt(fa.load, "no/body", download=True)
attempt(fa.download, "nobody")
attempt(fa.download, {NAME!r}, revision="v9")
attempt(fa.load, "a/gated", download=True)
attempt(fa.download, "a--b/c")
attempt(fa.download, "../up")
attempt(fa.download, {NAME!r}, revision="../up")
attempt(fa.download, {NAME!r}, revision="\\ud800")
attempt(fa.download, {NAME!r}, token=3)
attempt(fa.download, {NAME!r}, token="h\\xe9")
attempt(fa.download, {NAME!r}, token="hf_a\\n")
attempt(fa.download, {NAME!r}, token="")
attempt(fa.load, "csrc", revision="main", download=True)
attempt(fa.load, {NAME!r}, download="yes")
""",
        )
        starts = [
            f"FileNotFoundError: no model no/body at {hub.address}, or none that everybody",
            f"FileNotFoundError: no model nobody at {hub.address}, or none",
            f"FileNotFoundError: {NAME} has no branch, tag or commit v9 at {hub.address}",
            "PermissionError: a/gated is for those alone who accepted its terms: do that",
            "FileNotFoundError: no model a--b/c: ",
            "FileNotFoundError: no such folder: ../up",
            "ValueError: revision must be a branch, a tag or a commit, got '../up'",
            "ValueError: revision must be a branch, a tag or a commit, got '\\ud800'",
            "TypeError: token must be a str, got int",
            *["ValueError: token must be letters, digits and signs of ASCII, without"] * 3,
            "ValueError: csrc is a folder: revision='main' is about a model of the hub",
            "TypeError: download must be ",
        ]
        for line, start in zip(lines, starts, strict=True):
            assert line.startswith(start)
        assert "`hf auth login`" in lines[0]
        assert f"{hub.address}/a/gated" in lines[3]

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (
                403,
                "PermissionError: {} does not let you read some-one/tiny (HTTP status 403)",
            ),
            (500, "ConnectionError: {} answered with HTTP status 500"),
        ],
    )
    def test_statuses(self, hub, tmp_path, status, error):
        hub.refused = status
        (line,) = hub.client(tmp_path, f"attempt(fa.download, {NAME!r})")
        assert line.startswith(error.format(hub.address))

    def test_a_connection_that_breaks_in_the_middle(self, hub, tmp_path):
        hub.publish(NAME, FILES)
        hub.broken.add("model.safetensors")
        script = f"""
attempt(fa.load, {NAME!r}, download=True)
attempt(fa.load, {NAME!r})
"""
        broken, missing = hub.client(tmp_path, script)
        assert broken.startswith(f"ConnectionError: {NAME} could not be downloaded from ")
        assert broken.endswith("What is complete of it is kept: try again")
        # What there is of it is not taken for the model.
        assert missing.startswith(f"FileNotFoundError: no model {NAME}: ")
        hub.broken.clear()
        hub.requests.clear()
        assert all("TextEncoder" in line for line in hub.client(tmp_path, script))
        got = [request for request in hub.requests if request.startswith("GET")]
        assert not any(request.endswith("/config.json") for request in got)

    def test_no_connection(self, hub, tmp_path):
        commit = hub.publish(NAME, FILES)
        script = f"attempt(fa.download, {NAME!r})"
        nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
        (line,) = hub.client(tmp_path, script, **nobody)
        assert line.startswith(f"ConnectionError: {NAME} could not be downloaded from http")
        (line,) = hub.client(tmp_path, script, HF_HUB_OFFLINE="1")
        assert line.startswith(f"ConnectionError: {NAME} is not in the Hugging Face cache")
        assert hub.requests == []
        folder = str(snapshot(tmp_path, NAME, commit))
        assert hub.client(tmp_path, script) == [folder]
        both = nobody | {"HF_HUB_OFFLINE": "1"}
        assert hub.client(tmp_path, script, **both) == [folder]

    def test_a_server_that_says_nothing(self, hub, tmp_path):
        """Behind a firewall that drops what is sent, say."""
        hub.silent = True
        script = f"attempt(fa.download, {NAME!r})"
        (line,) = hub.client(tmp_path, script, HF_HUB_ETAG_TIMEOUT="1")
        assert line.startswith(f"ConnectionError: {NAME} could not be downloaded from http")

    def test_other_forms_are_told_of_before_anything_is_downloaded(self, hub, tmp_path):
        rest = {name: FILES[name] for name in FILES if name != "model.safetensors"}
        pickled = rest | {"pytorch_model.bin": b""}
        hub.publish("a/pickled", pickled, branch="v1")
        hub.publish("a/dense", FILES | {"2_Dense/pytorch_model.bin": b""})
        hub.publish("a/onnx", rest | {"onnx/model.onnx": b""})
        hub.publish("a/adapter", dict.fromkeys(("adapter_config.json", "README.md"), b""))
        hub.publish("a/gguf", {"tiny.Q8_0.gguf": b"", "README.md": b""})
        old = {name: FILES[name] for name in FILES if name != "tokenizer.json"}
        hub.publish("a/old", old | {"vocab.txt": b""})
        lines = hub.client(
            tmp_path,
            """
attempt(fa.load, "a/pickled", download=True, revision="v1")
for name in ("dense", "old", "onnx", "gguf", "adapter"):
    attempt(fa.download, f"a/{name}")
""",
        )
        assert all(line.startswith("ModelFormatError: a/") for line in lines)
        assert not any("/resolve/" in request for request in hub.requests)
        starts = ("pickled/model.safetensors", "dense/2_Dense/model.safetensors")
        for line, start in zip(lines, (*starts, "old/tokenizer.json"), strict=False):
            message, _, program = line.rpartition(": python -c ")
            assert message.startswith(f"ModelFormatError: a/{start}: no such file, and ")
            assert f"convert it into the folder {start.split('/')[0]}" in message
            (code,) = shlex.split(program)
            ast.parse(code)
            assert f"snapshot_download('a/{start.split('/')[0]}', " in code
            assert ("'revision': 'v1'" in code) == ("pickled" in start)
        assert lines[3].startswith(
            "ModelFormatError: a/onnx/model.safetensors: no such file"
        )
        assert "and onnx is not read: get the model" in lines[3]
        assert "and tiny.Q8_0.gguf is not read" in lines[4]
        assert "a/adapter/adapter_config.json: adapters are not read: merge" in lines[5]

    def test_other_kinds_are_told_of_before_their_weights_are_got(self, hub, tmp_path):
        plain = {name: FILES[name] for name in ("model.safetensors", "tokenizer.json")}
        for name, config in {
            "llama": {"model_type": "llama"},
            "colbert": {"model_type": "bert", "architectures": ["HF_ColBERT"]},
            "chat": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
        }.items():
            hub.publish(f"a/{name}", plain | {"config.json": json.dumps(config).encode()})
        lines = hub.client(
            tmp_path,
            "for name in ('llama', 'colbert', 'chat'):\n"
            "    attempt(fa.download, f'a/{name}')",
        )
        kinds = ("a decoder", "late interaction", "a decoder")
        for line, kind in zip(lines, kinds, strict=True):
            assert line.startswith("ModelFormatError: ")
            assert f"means {kind}" in line
        assert not any("model.safetensors" in request for request in hub.requests)

    def test_without_the_library(self, hub, tmp_path):
        (line,) = hub.client(
            tmp_path,
            "import sys; sys.modules['huggingface_hub'] = None\n"
            "attempt(fa.load, 'a/b', download=True)",
        )
        assert line.startswith("ImportError: to download models needs the package hugging")
        assert line.endswith("pip install 'fastattn[text]'")
