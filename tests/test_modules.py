"""What follows the encoder: each module against sentence-transformers, bits, refusals."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import THREADS, assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, change_json, copy_tiny, drop_json

import fastattn as fa

EXPECTED = np.load(DATA / "modules.npz")
TEXTS = EXPECTED["texts"].tolist()
NAMES = [name for name in EXPECTED if f"{name}.float32" in EXPECTED]


def folder_of(name, to):
    """Put the modules of a name behind the tiny model."""
    folder = copy_tiny(to)
    shutil.rmtree(folder / "1_Pooling")
    with zipfile.ZipFile(DATA / "modules.zip") as archive:
        inside = [path for path in archive.namelist() if path.startswith(f"{name}/")]
        archive.extractall(to, inside)
    return shutil.copytree(to / name, folder, dirs_exist_ok=True)


def vectors(model, name, **options):
    """Encode the texts, into what is expected of a name."""
    options |= {"on_truncation": "ignore"}
    if name != "tokens":
        return model.encode(TEXTS, **options)
    return np.concatenate(model.encode(TEXTS, output="tokens", **options))


@pytest.fixture
def load(tmp_path):
    return lambda name: fa.load(folder_of(name, tmp_path))


@pytest.mark.parametrize("name", NAMES)
class TestEveryChain:
    def test_numbers(self, load, name):
        expected = {
            np.float64: EXPECTED[name],
            np.float32: EXPECTED[f"{name}.float32"],
        }
        assert_accurate(vectors(load(name), name), expected.get)

    def test_bits(self, load, name):
        model = load(name)
        every = vectors(model, name)
        for threads in THREADS:
            assert_same_bits(vectors(model, name, num_threads=threads), every)
        assert_same_bits(vectors(model, name, batch_tokens=1), every)

    def test_saved_and_read_again(self, load, tmp_path, name):
        model = load(name)
        model.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert_same_bits(vectors(saved, name), vectors(model, name))
        assert repr(saved) == repr(model)
        assert saved.nbytes == model.nbytes


class TestDim:
    def test_is_that_of_what_comes_out(self, load):
        model = load("two_dense")
        assert model.dim == 17
        assert model.encode([]).shape == (0, 17)
        assert model.encode("a", output="tokens").shape == (3, 32)

    def test_with_truncation(self, load):
        model = load("two_dense")
        model.truncate_dim = 5
        assert model.dim == 5
        assert model.encode("a").shape == (5,)
        assert model.encode("a", truncate_dim=17).shape == (17,)
        with pytest.raises(ValueError, match="truncate_dim must be from 1 to 17, got 18"):
            model.encode("a", truncate_dim=18)

    @pytest.mark.parametrize("value", [0, -1, True, 2.5, "5"])
    def test_what_no_truncation_can_be(self, load, value):
        model = load("two_dense")
        with pytest.raises((TypeError, ValueError), match="truncate_dim must be a"):
            model.truncate_dim = value
        assert model.truncate_dim is None

    def test_of_tokens(self, load):
        model = load("tokens")
        assert model.dim == 19
        assert model.encode("a", output="tokens").shape == (3, 13)


class TestNormalize:
    def test_at_the_end_can_be_left_out(self, load):
        model = load("two_dense")
        raw = model.encode(TEXTS, normalize=False, on_truncation="ignore")
        lengths = np.linalg.norm(raw.astype(float), axis=1, keepdims=True)
        np.testing.assert_allclose(vectors(model, ""), raw / lengths, atol=1e-6)

    def test_in_the_middle_stays(self, load):
        model = load("dense_behind_normalize")
        assert_same_bits(
            model.encode("a", normalize=False), model.encode("a", normalize=None)
        )
        length = np.linalg.norm(model.encode("a", normalize=True))
        np.testing.assert_allclose(length, 1, atol=1e-6)

    def test_of_nothing_is_nothing(self, tmp_path):
        folder = folder_of("dense_behind_normalize", tmp_path)
        path = folder / "3_Dense" / "model.safetensors"
        save_file({k: 0 * t - 1 for k, t in load_file(path).items()}, path)
        model = fa.load(folder)
        assert_same_bits(model.encode("a", normalize=True), np.zeros(19, np.float32))


class TestPromptLeftOut:
    """The folder's prompt is "the sun: ", four tokens with the [CLS] before them."""

    def test_rows_behind_it_count(self, load):
        model = load("mean_without_prompt")
        states = model.encode("a cat", output="tokens")
        assert len(states) == 7
        np.testing.assert_allclose(model.encode("a cat"), states[4:].mean(0), atol=1e-6)
        assert_same_bits(fa.trace(model, "a cat")["1_Pooling"], model.encode("a cat"))

    def test_without_a_prompt_all_count(self, load):
        model = load("mean_without_prompt")
        states = model.encode("a cat", output="tokens", prompt="")
        vector = model.encode("a cat", prompt="")
        np.testing.assert_allclose(vector, states.mean(0), atol=1e-6)

    def test_the_prompt_of_the_call_decides(self, load):
        model = load("lasttoken_without_prompt")
        model.prompts["one"] = "one "
        last = model.encode("a cat", output="tokens", prompt="one ")[-1]
        assert_same_bits(model.encode("a cat", prompt_name="one"), last)

    def test_a_prompt_that_is_cut(self, load):
        model = load("mean_without_prompt")
        model.max_length = 4
        options = {"prompt": "a b c d e f", "on_truncation": "ignore"}
        states = model.encode("a cat", output="tokens", **options)
        assert_same_bits(model.encode("a cat", **options), states[-1])

    def test_where_nothing_is_left_of_the_text(self, load):
        """The prompt alone is three tokens, which with the text are two."""
        model = load("max_without_prompt")
        assert model.tokenizer.encode("sk").tokens == ["[CLS]", "s", "##k", "[SEP]"]
        assert model.tokenizer.encode("sky").tokens == ["[CLS]", "sky", "[SEP]"]
        assert_same_bits(model.encode("y", prompt="sk"), np.zeros(32, np.float32))


def test_description(load):
    model = load("two_dense")
    assert list(model.modules) == ["1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    assert "modules={'1_Pooling': Pooling('mean'), '2_Dense': Dense(" in repr(model)


def test_a_trace_has_every_step(load):
    model = load("tokens")
    trace = fa.trace(model, "x")
    assert {name: trace[name].shape for name in model.modules} == {
        "1_Pooling": (32,),
        "2_Dense": (19,),
        "3_Dense": (3, 13),
        "4_Normalize": (3, 13),
    }
    assert_same_bits(trace["2_Dense"], model.encode("x"))
    assert_same_bits(trace["4_Normalize"], model.encode("x", output="tokens"))


def test_weights_are_stored_as_asked_for(tmp_path):
    folder = folder_of("two_dense", tmp_path)
    wide, narrow = fa.load(folder), fa.load(folder, weights="int8")
    dense = narrow.modules["2_Dense"]
    assert dense.nbytes < wide.modules["2_Dense"].nbytes / 2
    assert wide.nbytes - wide.model.nbytes == sum(m.nbytes for m in wide.modules.values())


def test_the_activation_is_tanh_unless_said_otherwise(tmp_path):
    folder = folder_of("Tanh", tmp_path)
    expected = vectors(fa.load(folder), "Tanh")
    drop_json(folder / "2_Dense" / "config.json", "activation_function")
    assert_same_bits(vectors(fa.load(folder), "Tanh"), expected)


class TestRefused:
    @pytest.fixture
    def folder(self, tmp_path):
        return folder_of("two_dense", tmp_path)

    @pytest.fixture
    def refused(self, folder):
        def check(name, message):
            with pytest.raises(fa.ModelFormatError, match=message) as info:
                fa.load(folder)
            assert str(info.value).startswith(f"{folder / name}: ")

        return check

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"in_features": 31}, "in_features must be 32, the size of .* it gets, got 31"),
            ({"out_features": 0}, "out_features must be from 1 to"),
            ({"bias": 1}, "bias must be true or false"),
            ({"module_input_name": "scores"}, "module_input_name must be token_embeddings"),
            ({"module_output_name": "token_embeddings"}, "module_output_name must be sent"),
            ({"activation_function": "torch.nn.ELU"}, "activation_function must be one of"),
            ({"activation_function": "numpy.tanh"}, "activation_function must be one of"),
            ({"activation_function": "torch.relu"}, "activation_function must be one of"),
            ({"activation_function": "torch.nn.x.Tanh"}, "activation_function must be one"),
            ({"activation_function": None}, "activation_function must be a string"),
            ({"use_residual": "yes"}, "use_residual must be true or false"),
            ({"dropout": 0.1}, "dropout is a field that fastattn does not know"),
        ],
    )
    def test_fields_of_dense(self, folder, refused, fields, message):
        change_json(folder / "2_Dense" / "config.json", **fields)
        refused("2_Dense/config.json", message)

    @pytest.mark.parametrize("field", ["in_features", "out_features"])
    def test_sizes_that_are_missing(self, folder, refused, field):
        drop_json(folder / "2_Dense" / "config.json", field)
        refused("2_Dense/config.json", f"{field} is missing")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"out_features": 49}, r"linear.weight must have shape \(49, 32\)"),
            ({"bias": True}, "tensor linear.bias is missing"),
            ({"use_residual": True}, "tensor residual.weight is missing"),
        ],
    )
    def test_weights_that_do_not_fit(self, folder, refused, fields, message):
        change_json(folder / "2_Dense" / "config.json", **fields)
        refused("2_Dense/model.safetensors", message)

    def test_weights_that_nobody_takes(self, folder, refused):
        path = folder / "2_Dense" / "model.safetensors"
        save_file(load_file(path) | {"more": np.ones(1, np.float32)}, path)
        refused("2_Dense/model.safetensors", "unexpected tensor more")

    def test_weights_that_are_pickled(self, folder, refused):
        path = folder / "2_Dense" / "model.safetensors"
        path.rename(path.with_name("pytorch_model.bin"))
        refused(
            "2_Dense/model.safetensors", r"Where there is torch, convert it.*: python -c"
        )
        path.with_name("pytorch_model.bin").unlink()
        refused("2_Dense/model.safetensors", "copy or download all of it")

    def test_a_file_that_is_missing(self, folder, refused):
        (folder / "2_Dense" / "config.json").unlink()
        refused("2_Dense/config.json", "no such file, and modules.json names its folder")

    def test_dense_of_vectors_that_are_not_there_yet(self, folder, refused):
        listed = json.loads((folder / "modules.json").read_text())
        listed[1:3] = listed[2:0:-1]
        (folder / "modules.json").write_text(json.dumps(listed))
        refused("2_Dense/config.json", "which only a Pooling listed before it makes")

    def test_size_of_layer_norm(self, tmp_path):
        folder = folder_of("layer_norm", tmp_path / "other")
        change_json(folder / "2_LayerNorm" / "config.json", dimension=16)
        with pytest.raises(fa.ModelFormatError, match="dimension must be 32, the size"):
            fa.load(folder)
