"""Model folders out of the hands of strangers: refused with a reason, at no great cost."""

import os
import pickle
import subprocess
import sys
import time
from itertools import islice
from shutil import copytree

import pytest
from damage import SECONDS, flips, keep_parts, outcome
from support.folders import DATA, change_json, write_smallest
from support.processes import ROOT, environment

import fastattn as fa

JSON_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "3_LayerNorm/config.json",
    "4_Normalize/config.json",
)
WEIGHTS = "model.safetensors"
FILES = (*JSON_FILES, WEIGHTS, f"2_Dense/{WEIGHTS}", f"3_LayerNorm/{WEIGHTS}")

# Those that have a tokenizer, too.
FAMILIES = sorted(path.parent.name for path in DATA.glob("families/*/tokenizer.json"))


@pytest.fixture
def folder(tmp_path):
    return write_smallest(tmp_path / "model")


def refused(folder, name, message=None):
    """Load a folder, which must fail with an error that begins with a file's path."""
    start = time.process_time()
    with pytest.raises(fa.ModelFormatError, match=message) as info:
        fa.load(folder)
    assert time.process_time() - start < SECONDS
    assert str(info.value).startswith(f"{folder / name}: ")
    assert str(info.value).isprintable()
    assert len(str(info.value)) < 1000


def test_every_byte():
    """The quick form of damage.py, in its own process, whose memory it measures."""
    tests = ROOT / "tests"
    done = subprocess.run(
        [sys.executable, tests / "damage.py"],
        capture_output=True,
        check=False,
        env=environment(PYTHONPATH=f"{tests}{os.pathsep}{os.environ['PYTHONPATH']}"),
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert counts.keys() == set(FILES)
    assert all(int(refusals) > 0 for refusals, _ in counts.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_of_a_family(family, tmp_path):
    """Every fifth byte of the flags that each of them reads in its own way."""
    name = "tokenizer_config.json"
    folder = copytree(DATA / "families" / family, tmp_path / family)
    content = (folder / name).read_bytes()
    with keep_parts(folder, name):
        assert outcome(folder) == "loaded"
        outcomes = set()
        for damaged in islice(flips(content, len(content)), 0, None, 5):
            (folder / name).write_bytes(damaged)
            outcomes.add(outcome(folder))
    assert outcomes == {"refused", "loaded"}


class TestKindsOfFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_folder(self, folder, name):
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, name, "not a regular file")

    @pytest.mark.parametrize("name", FILES)
    def test_pipe(self, folder, name):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, name, "not a regular file")

    @pytest.mark.parametrize("name", FILES)
    def test_empty(self, folder, name):
        (folder / name).write_bytes(b"")
        refused(folder, name)

    @pytest.mark.parametrize("name", FILES)
    def test_huge(self, folder, name):
        """The file has a hole of a terabyte behind what it should hold."""
        os.truncate(folder / name, 10**12)
        refused(folder, name)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\x80", b"\x00"])
    def test_other_encodings(self, folder, name, mark):
        (folder / name).write_bytes(mark + (folder / name).read_bytes())
        refused(folder, name)

    @pytest.mark.parametrize("name", FILES)
    def test_unreadable(self, folder, name, monkeypatch):
        """The one error that is not about what the folder holds."""
        real_open = open

        def deny(path, *arguments, **keywords):
            if str(path) == str(folder / name):
                raise PermissionError(13, "Permission denied", str(path))
            return real_open(path, *arguments, **keywords)

        monkeypatch.setattr("builtins.open", deny)
        with pytest.raises(PermissionError, match=name):
            fa.load(folder)


class TestLinks:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "../elsewhere"])
    def test_out_of_the_folder(self, folder, name, target):
        (folder / name).rename(folder / "../elsewhere")
        (folder / name).symlink_to(folder / target)
        refused(folder, name, "leads out of the model's folder")

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("target", ["nothing", "circle"])
    def test_to_nowhere(self, folder, name, target):
        (folder / "circle").symlink_to("circle")
        (folder / name).unlink()
        (folder / name).symlink_to(folder / target)
        refused(folder, name, "no such file")

    def test_a_folder_elsewhere(self, folder):
        (folder / "1_Pooling").rename(folder / "../1_Pooling")
        (folder / "1_Pooling").symlink_to("../1_Pooling")
        refused(folder, "1_Pooling/config.json", "leads out of the model's folder")

    @pytest.mark.parametrize("name", FILES)
    def test_inside_the_folder(self, folder, name):
        (folder / name).rename(folder / "moved")
        (folder / name).symlink_to(folder / "moved")
        fa.load(folder)

    def test_to_the_folder(self, folder, tmp_path):
        (tmp_path / "link").symlink_to(folder)
        fa.load(tmp_path / "link")

    def test_large_files_that_the_cache_shares(self, folder, tmp_path):
        """Of those the blob is a link, too, to one that all models share."""
        model = tmp_path / "cache" / "models--a--b"
        shared = tmp_path / "cache" / "blobs" / "5f" / ("5f" * 32)
        snapshot = model / "snapshots" / "0123"
        snapshot.parent.mkdir(parents=True)
        folder.rename(snapshot)
        shared.parent.mkdir(parents=True)
        (model / "blobs").mkdir()
        (snapshot / WEIGHTS).rename(shared)
        (model / "blobs" / "1").symlink_to(f"../../blobs/5f/{shared.name}")
        (snapshot / WEIGHTS).symlink_to("../../blobs/1")
        fa.load(snapshot)
        for other in ("cache/models--a--c/blobs/1", "cache/blob", "blobs/1"):
            (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
            shared.rename(tmp_path / other)
            (model / "blobs" / "1").unlink()
            (model / "blobs" / "1").symlink_to(tmp_path / other)
            refused(snapshot, WEIGHTS, "leads out of the model's folder")
            (tmp_path / other).rename(shared)

    def test_what_only_looks_like_the_cache(self, folder, tmp_path):
        snapshot = tmp_path / "home" / "snapshots" / "0123"
        snapshot.parent.mkdir(parents=True)
        folder.rename(snapshot)
        (snapshot / WEIGHTS).rename(tmp_path / "home" / "private")
        (snapshot / WEIGHTS).symlink_to("../../private")
        refused(snapshot, WEIGHTS, "leads out of the model's folder")

    def test_snapshot_in_the_cache(self, folder, tmp_path):
        """In the Hugging Face cache every file is a link to a blob."""
        blobs = tmp_path / "models--a--b" / "blobs"
        blobs.mkdir(parents=True)
        snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
        folder.rename(folder.parent / "unpacked")
        for number, name in enumerate(FILES):
            (folder.parent / "unpacked" / name).rename(blobs / str(number))
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).symlink_to(blobs / str(number))
        fa.load(snapshot)
        (snapshot / "config.json").unlink()
        (snapshot / "config.json").symlink_to("/etc/passwd")
        refused(snapshot, "config.json", "leads out of the model's folder")


class TestJson:
    @pytest.mark.parametrize("name", JSON_FILES)
    @pytest.mark.parametrize(
        "content",
        [
            "[" * 10**6,
            '{"a":' * 10**5,
            "[" * 900 + "]" * 900,
            "[" + "{}," * 500_000 + "{}]",
            "[" + "1" * 10**6 + "]",
            "0." + "1" * 10**6,
            '"' + "a" * 10**6 + '"',
            '"\\ud800"',
            "NaN",
            "-Infinity",
            "1e999",
            "null",
            '{"\\n": 1, "\\n": 2}',
        ],
        ids=lambda content: content[:8],
    )
    def test_other_values(self, folder, name, content):
        (folder / name).write_text(content)
        refused(folder, name)

    @pytest.mark.parametrize("name", [*JSON_FILES, "model.safetensors"])
    def test_two_values_of_one_name(self, folder, name):
        content = (folder / name).read_bytes()
        start = content.index(b'{"') + 1
        stop = content.index(b":", start)
        doubled = content[:start] + content[start:stop] + b":0," + content[start:]
        if name == "model.safetensors":
            length = int.from_bytes(content[:8], "little") + len(doubled) - len(content)
            doubled = length.to_bytes(8, "little") + doubled[8:]
        (folder / name).write_bytes(doubled)
        refused(folder, name)


class Payload:
    """What runs a program where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class TestCode:
    @pytest.mark.parametrize("name", [*FILES, "pytorch_model.bin"])
    def test_no_pickle_is_read(self, folder, name):
        payload = pickle.dumps(Payload(folder / "ran"))
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(payload)
        with pytest.raises(fa.ModelFormatError):
            fa.load(folder)
        assert not (folder / "ran").exists()
        pickle.loads(payload)
        assert (folder / "ran").exists()

    def test_code_beside_a_model_is_not_run(self, folder):
        code = f"import os; os.mkdir({str(folder / 'ran')!r})"
        for name in ("modeling.py", "__init__.py", "sentence_transformers.py"):
            (folder / name).write_text(code)
        change_json(folder / "config.json", auto_map={"AutoModel": "modeling.Model"})
        fa.load(folder)
        assert not (folder / "ran").exists()
