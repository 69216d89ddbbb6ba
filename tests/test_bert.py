"""BERT against transformers in float64, on a tiny random model."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits
from support.folders import DATA, TINY, change_json, change_tensors, drop_json

import fastattn as fa
from fastattn.models import read_model
from fastattn.models.folder import Folder

# What hidden states may differ by from transformers in float64.
TOLERANCE = 5e-6

VOCABULARY = 113


@pytest.fixture(scope="module")
def model():
    return read_model(Folder(TINY))


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "tiny_bert.npz") as arrays:
        return dict(arrays)


def run(model, expected):
    names = ("input_ids", "attention_mask", "token_type_ids")
    return model(*(expected[name] for name in names))


class TestParity:
    @pytest.mark.parametrize(
        ("activation", "name"),
        [
            ("gelu", "gelu"),
            ("gelu_new", "gelu_new"),
            ("gelu_new", "gelu_fast"),
            ("gelu_new", "gelu_pytorch_tanh"),
            ("relu", "relu"),
        ],
    )
    def test_hidden_states(self, folder, expected, isa, activation, name):
        change_json(folder / "config.json", hidden_act=name)
        hidden = run(read_model(Folder(folder)), expected)
        assert hidden.dtype == np.float32
        np.testing.assert_allclose(hidden, expected[activation], rtol=0, atol=TOLERANCE)

    def test_padded_positions_are_zeros(self, model, expected):
        padding = expected["attention_mask"] == 0
        assert padding.any()
        hidden = run(model, expected)
        assert not hidden[padding].any()
        assert hidden[~padding].any(axis=-1).all()

    def test_token_types_default_to_zero(self, model, expected):
        ids, mask = expected["input_ids"], expected["attention_mask"]
        zeros = np.zeros_like(ids)
        assert_same_bits(model(ids, mask), model(ids, mask, zeros))
        assert (model(ids, mask) != run(model, expected)).any()

    def test_no_mask_means_no_padding(self, model, expected):
        ids = expected["input_ids"]
        assert_same_bits(model(ids), model(ids, np.ones_like(ids)))


class TestNamesAndStorage:
    """What other writers of the same model make of it gives the same bits."""

    def check(self, folder, model, expected):
        assert_same_bits(run(read_model(Folder(folder)), expected), run(model, expected))

    def test_prefix(self, folder, model, expected):
        def change(tensors):
            heads = {
                "cls.predictions.bias": np.ones(3, np.float32),
                "cls.seq_relationship.weight": np.ones((2, 32), np.float32),
            }
            return {f"bert.{name}": tensors[name] for name in tensors} | heads

        change_tensors(folder, change)
        self.check(folder, model, expected)

    def test_gamma_and_beta(self, folder, model, expected):
        old = {
            "LayerNorm.weight": "LayerNorm.gamma",
            "LayerNorm.bias": "LayerNorm.beta",
        }

        def change(tensors):
            renamed = {}
            for name, tensor in tensors.items():
                for new, other in old.items():
                    name = name.replace(new, other)
                renamed[name] = tensor
            return renamed

        change_tensors(folder, change)
        self.check(folder, model, expected)

    def test_without_pooler_and_position_ids(self, folder, model, expected):
        def change(tensors):
            unused = ("pooler", "embeddings.position_ids")
            kept = {k: v for k, v in tensors.items() if not k.startswith(unused)}
            assert len(kept) == len(tensors) - 3
            return kept

        change_tensors(folder, change)
        self.check(folder, model, expected)

    def test_float16(self, folder, tmp_path, expected):
        def narrow(tensors):
            return {name: tensor.astype(np.float16) for name, tensor in tensors.items()}

        def widen(tensors):
            narrowed = narrow(tensors)
            return {name: tensor.astype(np.float32) for name, tensor in narrowed.items()}

        change_tensors(folder, widen)
        widened = read_model(Folder(folder))
        change_tensors(folder, narrow)
        self.check(folder, widened, expected)

    def test_defaults_of_transformers(self, folder, model, expected):
        fields = ("hidden_act", "layer_norm_eps", "type_vocab_size")
        drop_json(folder / "config.json", *fields)
        self.check(folder, model, expected)

    def test_layer_norm_eps_is_read(self, folder, model, expected):
        change_json(folder / "config.json", layer_norm_eps=1e-2)
        other = read_model(Folder(folder))
        assert np.abs(run(other, expected) - run(model, expected)).max() > 1e-3
        for layer in other.encoder.layers:
            assert [norms.after.eps for norms in layer.norms] == [1e-2, 1e-2]


class TestBits:
    """The same bits whatever else is in the batch, and however it is computed."""

    @given(st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=64), max_size=5))
    def test_alone_and_in_a_padded_batch(self, model, sequences):
        length = max(map(len, sequences), default=0)
        ids = np.zeros((len(sequences), length), np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        hidden = model(ids, mask)
        assert hidden.shape == (len(sequences), length, 32)
        for row, sequence in enumerate(sequences):
            alone = model(np.array([sequence], np.int64))
            assert_same_bits(hidden[row, : len(sequence)], alone[0])

    @pytest.mark.parametrize("threads", THREADS)
    def test_threads(self, model, expected, threads):
        with fa.num_threads(threads):
            hidden = run(model, expected)
        assert_same_bits(hidden, run(model, expected))

    def test_pickle(self, model, expected):
        copy = pickle.loads(pickle.dumps(model))
        assert copy.config == model.config
        assert_same_bits(run(copy, expected), run(model, expected))

    def test_called_from_many_threads(self, model, expected):
        hidden = run(model, expected)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: run(model, expected), range(64)))
        for result in results:
            assert_same_bits(result, hidden)


class TestInput:
    @pytest.mark.parametrize(
        "ids",
        [
            [[1, 2]],
            np.array([[1, 2]], np.uint8),
            np.array([[1, 2]], ">i4"),
            np.asfortranarray([[1, 2]]),
            np.array([[1, 9, 2]])[:, ::2],
        ],
    )
    def test_any_integers(self, model, ids):
        assert_same_bits(model(ids), model(np.array([[1, 2]])))

    def test_read_only(self, model):
        ids = np.array([[1, 2]])
        ids.flags.writeable = False
        assert model(ids, ids > 0, ids * 0).shape == (1, 2, 32)

    @pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 0)])
    def test_empty(self, model, shape):
        assert model(np.zeros(shape, np.int64)).shape == (*shape, 32)

    @pytest.mark.parametrize("ids", [[[1.0]], [["1"]], [[None]], [[True]], [[1], [1, 2]]])
    def test_no_integers(self, model, ids):
        with pytest.raises(TypeError, match="input_ids"):
            model(ids)
        with pytest.raises(TypeError, match="token_type_ids"):
            model([[1]], None, ids)

    @pytest.mark.parametrize("ids", [1, [1, 2], [[[1]]]])
    def test_wrong_dimensions(self, model, ids):
        with pytest.raises(ValueError, match=r"input_ids must have shape \(batch, length"):
            model(ids)

    def test_other_shapes(self, model):
        with pytest.raises(ValueError, match="token_type_ids must have the shape"):
            model([[1, 2]], None, [[0]])
        with pytest.raises(ValueError, match=r"mask must have shape \(batch, length\)"):
            model([[1, 2]], [[1]])

    @pytest.mark.parametrize("wrong", [-1, VOCABULARY, 2**40, -(2**63)])
    def test_range(self, model, wrong):
        assert model.vocab_size == VOCABULARY
        with pytest.raises(ValueError, match=f"input_ids must be from 0 .*, got {wrong}"):
            model([[1, wrong]])
        with pytest.raises(ValueError, match="token_type_ids must be from 0 to 1, got"):
            model([[1, 1]], None, [[0, wrong]])

    def test_padded_positions_may_hold_anything(self, model):
        hidden = model([[1, 2, -100]], [[1, 1, 0]], [[0, 1, 77]])
        assert_same_bits(hidden[:, :2], model([[1, 2]], None, [[0, 1]]))

    def test_longer_than_the_positions(self, model):
        assert model(np.ones((1, 64), int)).shape == (1, 64, 32)
        with pytest.raises(ValueError, match="at most 64 positions, got 65"):
            model(np.ones((1, 65), int))
