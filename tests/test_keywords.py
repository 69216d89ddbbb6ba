"""Keywords of other libraries are refused with what they are called here."""

import re
from importlib import import_module

import numpy as np
import pytest
from support.folders import DATA, TINY

import fastattn as fa
from fastattn import nn

FLOAT32 = "leave it out, everything is float32 on the CPU"
NO_DROPOUT = "leave it out, nothing is dropped here"
VECTORS = np.ones((1, 3, 8), np.float32)

FUNCTIONS = [
    (fa.attention, 3, "attn_mask", "here it is mask: True = attend"),
    (fa.attention_varlen, 4, "dropout_p", NO_DROPOUT),
    (fa.attention_weights, 2, "is_causal", "here it is causal"),
    (fa.softmax, 1, "dim", "here it is axis"),
    (fa.linear, 2, "dtype", FLOAT32),
    (fa.matmul, 2, "input", "its keywords are out"),
    (fa.layer_norm, 1, "normalized_shape", "its keywords are eps, out"),
    (fa.rms_norm, 1, "device", FLOAT32),
    (fa.gelu, 1, "dim", "its keywords are approximate, out"),
]

LAYERS = [
    (nn.MultiHeadAttention, {"embed_dim": 8, "num_heads": 2}, "embed_dim", "hidden_size"),
    (nn.MultiHeadAttention, {"hidden_size": 8, "nhead": 2}, "nhead", "num_heads"),
    (nn.EncoderLayer, {"d_model": 8, "nhead": 2}, "d_model", "hidden_size"),
    (nn.Embedding, {"num_embeddings": 8, "embedding_dim": 2}, "embedding_dim", "dim"),
    (nn.LayerNorm, {"normalized_shape": 8}, "normalized_shape", "dim"),
    (nn.FeedForward, {"d_model": 8}, "d_model", "hidden_size"),
]

# Of layers whose sizes are right.
SETTINGS = [
    (nn.EncoderLayer, (8, 2, 16), "dropout", NO_DROPOUT),
    (nn.EncoderLayer, (8, 2, 16), "batch_first", "leave it out, the batch always comes"),
    (nn.EncoderLayer, (8, 2, 16), "layer_norm_eps", "here it is norm_eps"),
    (nn.EncoderLayer, (8, 2, 16), "kdim", "here it is source_size"),
    (nn.Encoder, (8, 2, 16, 1), "dim_feedforward", "here it is intermediate_size"),
    (nn.Encoder, (8, 2, 16, 1), "num_key_value_heads", "here it is num_kv_heads"),
    (nn.Linear, (8, 2), "device", FLOAT32),
    (nn.RMSNorm, (8,), "elementwise_affine", "leave it out, norms have weights"),
    (nn.PositionalEncoding, (8,), "dropout", NO_DROPOUT),
]

CALLS = [
    (nn.MultiHeadAttention(8, 2), "key_padding_mask", "here it is padding_mask: True is a"),
    (nn.MultiHeadAttention(8, 2), "value", "here it is source, from which"),
    (nn.MultiHeadAttention(8, 2), "need_weights", "here it is return_weights"),
    (nn.EncoderLayer(8, 2, 16), "src_key_padding_mask", "so pass ~src_key_padding_mask"),
    (nn.Encoder(8, 2, 16, 1), "src_mask", "here it is mask: True = attend here"),
    (nn.Encoder(8, 2, 16, 1), "attention_mask", "here it is padding_mask: True or 1"),
]


@pytest.fixture(scope="module")
def model():
    return fa.load(TINY)


@pytest.fixture(scope="module")
def reranker():
    return fa.load(DATA / "cross" / "electra")


def refused(name, keyword, cure):
    """Expect the error about a keyword."""
    start = f"{name}() got an unexpected keyword argument {keyword!r}: "
    return pytest.raises(TypeError, match="^" + re.escape(start) + ".*" + re.escape(cure))


@pytest.mark.parametrize(("function", "arrays", "keyword", "cure"), FUNCTIONS)
def test_functions(function, arrays, keyword, cure):
    with refused(function.__name__, keyword, cure):
        function(*[VECTORS] * arrays, **{keyword: None})


@pytest.mark.parametrize(("layer", "sizes", "keyword", "cure"), LAYERS)
def test_sizes_of_layers(layer, sizes, keyword, cure):
    with refused(layer.__name__, keyword, f"here it is {cure}"):
        layer(**sizes)


@pytest.mark.parametrize(("layer", "sizes", "keyword", "cure"), SETTINGS)
def test_settings_of_layers(layer, sizes, keyword, cure):
    with refused(layer.__name__, keyword, cure):
        layer(*sizes, **{keyword: 0})


@pytest.mark.parametrize(("layer", "keyword", "cure"), CALLS)
def test_calls_of_layers(layer, keyword, cure):
    with refused(type(layer).__name__, keyword, cure):
        layer(VECTORS, **{keyword: None})


def test_what_nobody_has_a_word_for():
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument"):
        nn.EncoderLayer(8, 2, 16, rotray=100.0)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        nn.Linear(8)


def test_attributes(model, reranker):
    with pytest.raises(AttributeError, match="max_seq_length: here it is max_length"):
        model.max_seq_length = 128
    with pytest.raises(AttributeError, match="default_prompt_name: here it is prompt, "):
        model.default_prompt_name = "query"
    with pytest.raises(AttributeError, match="activation_fn: here it is activation, the"):
        reranker.activation_fn = None
    assert not hasattr(model, "max_seq_length")


@pytest.mark.parametrize("kind", [fa.TextEncoder, fa.CrossEncoder, fa.SparseEncoder])
def test_a_name_in_place_of_the_parts(kind):
    start = f"{kind.__name__} is made of parts, which fastattn.load reads"
    for name in ("all-MiniLM-L6-v2", TINY):
        message = re.escape(f"{start}: fastattn.load('{name}'); ")
        with pytest.raises(TypeError, match=message) as caught:
            kind(name, device="cpu")
        with pytest.raises(TypeError, match=message):
            kind(model_name_or_path=name)
    # The class is where the message says.
    theirs, module = re.search(r"(\w+) of ([\w.]+)$", str(caught.value)).groups()
    assert getattr(import_module(module), theirs)._class is kind


class TestTexts:
    def test_load(self):
        with refused("load", "trust_remote_code", "leave it out, no code of a folder"):
            fa.load(TINY, trust_remote_code=True)
        with refused("TextModel.load", "device", FLOAT32):
            fa.TextEncoder.load(TINY, device="cpu")

    def test_hidden_states(self, model):
        with refused("EncoderModel", "output_attentions", "leave it out, fastattn.trace"):
            model.model([[2, 3]], output_attentions=True)

    def test_encode(self, model):
        for encode in (model.encode, model.encode_query, model.encode_document):
            with refused("TextEncoder.encode", "batch_size", "here it is batch_tokens"):
                encode("a", batch_size=8)

    def test_encode_stream(self, model):
        name = "TextEncoder.encode_stream"
        with refused(name, "normalize_embeddings", "here it is normalize"):
            model.encode_stream(["a"], normalize_embeddings=True)
        with refused(name, "foo", "its keywords are prompt, prompt_name, batch_tokens"):
            model.encode_stream(["a"], foo=1)

    def test_sparse(self):
        sparse = fa.load(DATA / "sparse" / "bert")
        with refused("SparseEncoder.encode", "convert_to_tensor", "leave it out, results"):
            sparse.encode("a", convert_to_tensor=True)

    def test_predict(self, reranker):
        with refused("CrossEncoder.predict", "activation_fn", "here it is activation"):
            reranker.predict(("a", "b"), activation_fn=None)

    def test_rank(self, reranker):
        with refused("CrossEncoder.rank", "batch_size", "here it is batch_tokens"):
            reranker.rank("a", ["b"], batch_size=8)
        with refused("CrossEncoder.rank", "foo", "its keywords are prompt, prompt_name, "):
            reranker.rank("a", ["b"], foo=8)
