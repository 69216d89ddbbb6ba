"""Folders that are written: what is read from them is what was written."""

import json
import os
import tracemalloc

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from support.bits import assert_same_bits
from support.folders import TINY, change_json, change_tensors, copy_tiny, write_smallest

import fastattn as fa
from fastattn._packed import FORMATS
from fastattn.models import EncoderModel, read_model, saving
from fastattn.models.folder import Folder

TEXTS = ["the cat", "A dog, red", "", "naïve 狐 [SEP] e\u0301 ", "run " * 100]
IDS = [[2, 71, 90, 3]]


@pytest.fixture
def model():
    return read_model(Folder(TINY))


@pytest.fixture
def encoder():
    return fa.load(TINY)


def vectors(encoder):
    return encoder.encode(TEXTS, on_truncation="ignore")


def stored(folder):
    return json.loads((folder / "config.json").read_text())


class TestModel:
    def test_the_same_tensors_under_the_names_of_transformers(self, model, tmp_path):
        model.save(tmp_path / "saved")
        written = load_file(tmp_path / "saved" / "model.safetensors")
        read = load_file(TINY / "model.safetensors")
        unused = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
        assert written.keys() == read.keys() - unused
        for name, tensor in written.items():
            assert_same_bits(tensor, read[name])
        path = tmp_path / "saved" / "model.safetensors"
        with safe_open(path, framework="numpy") as file:
            assert file.metadata() == {"format": "pt"}
        assert stored(tmp_path / "saved") == stored(TINY)

    def test_old_names_become_those_of_today(self, tmp_path):
        folder = copy_tiny(tmp_path)

        def change(tensors):
            return {
                f"bert.{name}".replace("Norm.weight", "Norm.gamma"): tensor
                for name, tensor in tensors.items()
            }

        change_tensors(folder, change)
        read_model(Folder(folder)).save(tmp_path / "saved")
        written = load_file(tmp_path / "saved" / "model.safetensors")
        assert written.keys() < load_file(TINY / "model.safetensors").keys()

    @pytest.mark.parametrize("weights", FORMATS)
    def test_narrow_weights_are_the_numbers_computed_with(self, tmp_path, weights):
        narrow = read_model(Folder(TINY), weights)
        narrow.save(tmp_path / "saved")
        saved = read_model(Folder(tmp_path / "saved"))
        assert_same_bits(saved(IDS), narrow(IDS))
        for key, value in saved.state_dict().items():
            assert_same_bits(value, narrow.state_dict()[key])

    def test_weights_that_were_replaced(self, model, tmp_path):
        state = model.state_dict()
        model.load_state_dict({key: 2 * value for key, value in state.items()})
        model.save(tmp_path / "saved")
        assert_same_bits(read_model(Folder(tmp_path / "saved"))(IDS), model(IDS))

    def test_transformers_is_told_to_compute_in_float32(self, tmp_path):
        folder = copy_tiny(tmp_path)
        change_json(folder / "config.json", torch_dtype="float16", more={"a": ["é"]})
        read_model(Folder(folder)).save(tmp_path / "saved")
        assert stored(tmp_path / "saved") == stored(folder) | {"torch_dtype": "float32"}

    def test_a_config_that_is_no_json(self, model, tmp_path):
        tensors = load_file(TINY / "model.safetensors")
        made = EncoderModel.from_weights({**model.config, "more": {1}}, tensors)
        with pytest.raises(TypeError, match=r"config cannot be written as JSON: .*set"):
            made.save(tmp_path / "saved")
        assert not list(tmp_path.iterdir())

    def test_no_more_than_a_part_is_in_memory_twice(self, tmp_path):
        model = fa.load("all-MiniLM-L6-v2").model
        tracemalloc.start()
        try:
            model.save(tmp_path / "saved")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < model.encoder.nbytes / 10
        assert (tmp_path / "saved" / "model.safetensors").stat().st_size > model.nbytes


class TestTextEncoder:
    def test_the_same_vectors(self, encoder, tmp_path):
        encoder.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert_same_bits(vectors(saved), vectors(encoder))
        assert repr(saved) == repr(encoder)
        assert saved.nbytes == encoder.nbytes == encoder.model.nbytes
        assert saved.special_tokens == encoder.special_tokens
        assert saved.special_tokens["pad_token"] == "[PAD]"
        assert saved.tokenizer.to_str() == encoder.tokenizer.to_str()

    def test_lower_case_is_kept(self, tmp_path):
        folder = copy_tiny(tmp_path)
        flags = {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}
        change_json(folder / "tokenizer_config.json", **flags)
        change_json(folder / "sentence_bert_config.json", do_lower_case=True)
        encoder = fa.load(folder)
        encoder.save(tmp_path / "saved")
        assert_same_bits(vectors(fa.load(tmp_path / "saved")), vectors(encoder))

    def test_what_was_set_is_written(self, encoder, tmp_path):
        values = {
            "max_length": 20,
            "prompts": {"query": "the sun ", "none": ""},
            "prompt": "the sun ",
            "similarity_fn_name": "dot",
            "truncate_dim": 10,
        }
        for name, value in values.items():
            setattr(encoder, name, value)
        encoder.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert {name: getattr(saved, name) for name in values} == values
        assert_same_bits(vectors(saved), vectors(encoder))

    def test_a_prompt_that_has_no_name(self, encoder, tmp_path):
        encoder.prompt = "the "
        encoder.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert saved.prompt == "the "
        assert saved.prompts == {"default": "the "}

    def test_truncation_on_the_left(self, tmp_path):
        folder = copy_tiny(tmp_path)
        change_json(folder / "tokenizer_config.json", truncation_side="left")
        encoder = fa.load(folder)
        encoder.save(tmp_path / "saved")
        assert_same_bits(vectors(fa.load(tmp_path / "saved")), vectors(encoder))

    def test_every_file_that_is_read(self, tmp_path):
        encoder = fa.load(write_smallest(tmp_path / "smallest"))
        encoder.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert_same_bits(vectors(saved), vectors(encoder))
        assert saved.prompt == encoder.prompt == "b "
        assert "mask_token" not in saved.special_tokens  # it has no id


class TestWholeOrNot:
    def test_a_folder_that_is_empty_or_not_there(self, model, tmp_path):
        (tmp_path / "empty").mkdir()
        for folder in (tmp_path / "empty", tmp_path / "a" / "b", str(tmp_path / "c")):
            model.save(folder)
            assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
        mode = (tmp_path / "a").stat().st_mode
        assert (tmp_path / "c").stat().st_mode == mode
        assert sorted(os.listdir(tmp_path)) == ["a", "c", "empty"]

    def test_nothing_is_replaced(self, encoder, tmp_path):
        encoder.save(tmp_path / "saved")
        before = (tmp_path / "saved" / "config.json").stat()
        with pytest.raises(FileExistsError, match=r"saved is not empty: .* a new folder"):
            encoder.save(tmp_path / "saved")
        assert (tmp_path / "saved" / "config.json").stat() == before
        (tmp_path / "file").write_text("")
        with pytest.raises(FileExistsError, match="file is a file"):
            encoder.save(tmp_path / "file")

    @pytest.mark.parametrize(
        ("folder", "error", "message"),
        [
            ("", ValueError, "folder is empty: '.' is the folder one is in"),
            (None, TypeError, "folder must be a str or a path, got NoneType"),
        ],
    )
    @pytest.mark.parametrize("replace", [False, True])
    def test_what_names_no_folder(
        self, tmp_path, monkeypatch, folder, error, message, replace
    ):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")  # which an empty name would mean
        with pytest.raises(error, match=message):
            saving.write_folder(folder, {"a.json": saving.json_file({})}, replace=replace)
        assert not any((tmp_path / "here").iterdir())

    def test_what_is_replaced_on_request(self, tmp_path):
        folder = tmp_path / "saved"
        (folder / "sub").mkdir(parents=True)
        for name in ("a.json", "sub/b", "other"):
            (folder / name).write_bytes(b"old")
        mapped = (folder / "a.json").open("rb")

        def fail(file):
            raise OSError

        new = {"a.json": saving.json_file({}), "new/c": saving.json_file([])}
        with pytest.raises(OSError):
            saving.write_folder(folder, new | {"sub/b": fail}, replace=True)
        assert (folder / "a.json").read_bytes() == b"old"
        saving.write_folder(folder, new, replace=True)
        found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {
            folder / "a.json": b"{}\n",
            folder / "new" / "c": b"[]\n",
            folder / "sub" / "b": b"old",
            folder / "other": b"old",
        }
        with mapped:
            assert mapped.read() == b"old"
        assert [*tmp_path.iterdir()] == [folder]
        with pytest.raises(FileExistsError, match="other is a file"):
            saving.write_folder(folder / "other", new, replace=True)

    @pytest.mark.parametrize(("name", "wrong"), [("new", "new"), ("other/c", "other")])
    def test_what_is_in_the_way(self, tmp_path, name, wrong):
        (tmp_path / "new").mkdir()
        for file in ("a.json", "other"):
            (tmp_path / file).write_bytes(b"old")
        files = {"a.json": saving.json_file({}), name: saving.json_file([])}
        with pytest.raises(FileExistsError, match=f"{wrong} is in the way"):
            saving.write_folder(tmp_path, files, replace=True)
        assert (tmp_path / "a.json").read_bytes() == b"old"

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    def test_what_fails_leaves_nothing(self, tmp_path, error):
        def fail(file):
            file.write(b"some")
            raise error

        files = {"a.json": saving.json_file({}), "sub/b": fail}
        with pytest.raises(error):
            saving.write_folder(tmp_path / "saved", files)
        assert not list(tmp_path.iterdir())
