"""Folders that hold a model in another form are refused with what to do about it."""

import ast
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.bits import assert_same_bits
from support.folders import TINY, change_tensors

import fastattn as fa

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db\n"
    "size 90868376\n"
)
FILES = ("config.json", "modules.json", "tokenizer.json", "model.safetensors")


def refusal(folder, message):
    """Load a folder, which must fail, and return the error's words."""
    with pytest.raises(fa.ModelFormatError, match=message) as info:
        fa.load(folder)
    assert str(info.value).isprintable()
    return str(info.value)


def command(message):
    """Get the command that a message ends with, as a shell takes it apart."""
    words = shlex.split(message.partition("convert ")[2].partition(": ")[2])
    assert words[:2] == ["python", "-c"]
    assert len(words) == 3
    ast.parse(words[2])
    return words


class TestWeights:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("pytorch_model.bin", "to unpickle it can run any code"),
            ("pytorch_model.bin.index.json", "to unpickle what it lists can run"),
        ],
    )
    def test_what_torch_converts(self, folder, name, reason):
        (folder / "model.safetensors").rename(folder / name)
        message = refusal(
            folder, rf"model\.safetensors: no such file, and {name} is not read: {reason}"
        )
        assert f"p = pathlib.Path({str(folder)!r})" in command(message)[2]

    def test_the_command_is_one_for_any_name(self, folder):
        odd = folder.rename(folder.parent / "it's $(exit) {0} `exit` \"; exit")
        (odd / "model.safetensors").rename(odd / "pytorch_model.bin")
        assert (
            f"p = pathlib.Path({str(odd)!r})" in command(refusal(odd, "pytorch_model"))[2]
        )

    @pytest.mark.parametrize(
        "name", ["onnx", "openvino", "model.onnx", "tf_model.h5", "tiny.Q8_0.gguf"]
    )
    def test_what_nobody_converts(self, folder, name):
        cure = f"no such file, and {name} is not read: get the model that it was made of"
        (folder / "model.safetensors").rename(folder / name)
        refusal(folder, rf"model\.safetensors: {cure}")
        alone = folder.parent / "alone"
        alone.mkdir()
        (folder / name).rename(alone / name)
        refusal(alone, rf"config\.json: {cure}")

    def test_none(self, folder):
        (folder / "model.safetensors").unlink()
        refusal(folder, r"model\.safetensors: no such file. A model's folder holds")
        (folder.parent / "empty").mkdir()
        refusal(
            folder.parent / "empty", r"config\.json: no such file: copy or download all"
        )

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "onnx", "vocab.txt"])
    def test_beside_what_is_read(self, folder, name):
        (folder / name).mkdir()
        fa.load(folder)

    def test_float64(self, folder):
        change_tensors(
            folder, lambda tensors: {n: t.astype(np.float64) for n, t in tensors.items()}
        )
        words = command(refusal(folder, "must be stored as one of F32, .*, got F64: "))
        subprocess.run([sys.executable, *words[1:]], check=True)
        for name, tensor in load_file(folder / "model.safetensors").items():
            assert tensor.dtype == np.float32, name
        texts = ["the cat", "a dog"]
        assert_same_bits(fa.load(folder).encode(texts), fa.load(TINY).encode(texts))

    def test_quantized(self, folder):
        name = "encoder.layer.0.output.dense.weight"
        change_tensors(
            folder, lambda tensors: tensors | {name: tensors[name].astype(np.int8)}
        )
        refusal(folder, f"{name} must be stored as .*, got I8: .* before it was quantized")


class TestTokenizer:
    @pytest.mark.parametrize(
        "name", ["vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model"]
    )
    def test_an_old_one(self, folder, name):
        (folder / "tokenizer.json").rename(folder / name)
        message = refusal(
            folder, rf"tokenizer\.json: no such file, and {name} alone does not say"
        )
        assert "AutoTokenizer" in command(message)[2]

    def test_none(self, folder):
        (folder / "tokenizer.json").unlink()
        refusal(folder, r"tokenizer\.json: no such file: copy or download all")


class TestAdapter:
    @pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
    @pytest.mark.parametrize("plain", [True, False])
    def test_refused(self, folder, name, plain):
        (folder / name).write_text("{}")
        if plain:
            (folder / "modules.json").unlink()
        refusal(folder, f"{name}: adapters are not read: merge this one")

    def test_without_its_model(self, folder):
        (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
        (folder / "config.json").rename(folder / "adapter_config.json")
        refusal(folder, "adapter_config.json: adapters are not read")


class TestClones:
    @pytest.mark.parametrize("size", [0, 7, 500, -1])
    def test_a_file_that_is_cut_off(self, folder, size):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        refusal(folder, r"model\.safetensors: .*: download or copy it again$")

    @pytest.mark.parametrize("name", FILES)
    def test_pointer_of_git_lfs(self, folder, name):
        (folder / name).write_text(POINTER)
        message = re.escape(f"{folder / name}: a pointer of git-lfs stands in place")
        assert "`git lfs pull`" in refusal(folder, message)

    @pytest.mark.parametrize("name", FILES)
    def test_link_out_of_the_folder(self, folder, name):
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")
        assert "cp -rL" in refusal(folder, "leads out of the model's folder")
        whole = folder.parent / "whole"
        subprocess.run(["cp", "-rL", folder, whole], check=True)
        assert os.listdir(whole)
        fa.load(whole)
