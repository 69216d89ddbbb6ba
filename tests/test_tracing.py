"""Traces: the bits of the fast path, and values that it never stores."""

import threading

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.layers import (
    GAPS,
    HEADS,
    HIDDEN,
    INTERMEDIATE,
    LENGTH,
    LENGTHS,
    RIGHT,
    SEQUENCE_LAYERS,
    Weights,
    X,
    batch,
    combined,
    keywords,
    randomized,
    relative,
)

import fastattn as fa
from fastattn import nn, reference
from fastattn._program import Program
from fastattn.models.model import TABLES
from fastattn.nn.buffers import Buffers
from fastattn.nn.recorder import program_for
from fastattn.nn.sequences import Sequences
from fastattn.padding import packing_of
from fastattn.tracing import LAYER_VALUES, MODEL_VALUES

MASK = batch(LENGTH, LENGTH, seed=3) > -0.5
CALLS = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "gaps and a mask": {"padding_mask": GAPS, "mask": MASK},
    "causal": {"lengths": LENGTHS, "causal": True},
    "numbers": {"mask": batch(HEADS, LENGTH, LENGTH, seed=4)},
}
# All of a layer without vectors of distances.
PLAIN_VALUES = tuple(name for name in LAYER_VALUES if name != "relative_scores")
SENTENCE = "the big fox jumped over a small dog"


@pytest.fixture(params=SEQUENCE_LAYERS)
def layer(request):
    return randomized(SEQUENCE_LAYERS[request.param]())


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


def scopes(trace):
    """List the traces that hold the values of one attention each."""
    return trace.layers or (trace,)


def attentions(layer):
    """List the attention of a layer, or of each layer of a stack."""
    layers = getattr(layer, "layers", (layer,))
    return [getattr(inner, "self_attn", inner) for inner in layers]


def reals(call):
    """Say which positions are real in a call."""
    return RIGHT if "lengths" in call else call.get("padding_mask")


class TestFastPath:
    """What is stored without a trace is in the trace, to the bit."""

    def test_output(self, layer, call):
        assert_same_bits(fa.trace(layer, X, **call)["output"], layer(X, **call))

    def test_a_sequence_without_a_batch(self, layer):
        whole, alone = (
            fa.trace(layer, X[:1], causal=True),
            fa.trace(layer, X[0], causal=True),
        )
        for batched, single in zip(scopes(whole), scopes(alone), strict=True):
            assert list(batched) == list(single)
            for name in batched:
                assert_same_bits(single[name], batched[name][0])
        assert_same_bits(alone["output"], layer(X[0], causal=True))

    @pytest.mark.parametrize("norm_first", [False, True])
    @pytest.mark.parametrize("tokens", [LENGTH, 1100])  # the norms are fused from 1024 on
    def test_buffers(self, norm_first, tokens):
        layer = nn.EncoderLayer(HIDDEN, HEADS, INTERMEDIATE, norm_first=norm_first, rng=0)
        x = batch(tokens, HIDDEN)
        trace = fa.trace(randomized(layer), x)
        program, buffers = Program(), Buffers(tokens, layer.sizes)
        out = np.empty_like(x)
        packing = packing_of(1, tokens)
        layer.steps(program, x, out, Sequences(packing, packing), buffers)
        program.run()
        assert_same_bits(trace["intermediate"], buffers.intermediate(INTERMEDIATE))
        attended, context = "attention_norm", trace["context"].swapaxes(0, 1)
        if norm_first:
            attended, context = "attention_sum", trace["feed_forward_norm"]
        assert_same_bits(trace[attended], buffers.attended)
        assert_same_bits(context.reshape(x.shape), buffers.normed)
        assert_same_bits(trace["output"], out)

    def test_queries_keys_and_values(self):
        layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, num_kv_heads=1, rng=0))
        trace = fa.trace(layer, X[0])
        program, buffers = Program(), Buffers(LENGTH, layer.sizes)
        packing = packing_of(1, LENGTH)
        sequences = Sequences(packing, packing)
        layer.steps(program, X[0], np.empty_like(X[0]), sequences, buffers)
        program.run()
        read = [trace[name].swapaxes(0, 1) for name in ("queries", "keys", "values")]
        rows = np.concatenate([part.reshape(LENGTH, -1) for part in read], axis=1)
        assert_same_bits(rows, buffers.of_attention(rows.shape[1], HEADS, 16)[0])

    def test_other_calls_are_not_recorded(self, layer):
        expected = layer(X)
        program = Program()
        assert program.recorder is None
        with pytest.raises(ValueError, match="lengths"):
            fa.trace(layer, X, lengths=[1, 2])
        assert program_for(1).recorder is None
        seen = []
        thread = threading.Thread(target=lambda: seen.append(layer(X)))
        thread.start()
        fa.trace(layer, X)
        thread.join()
        assert_same_bits(seen[0], expected)


class TestFormulas:
    """What is never stored is what the formulas say."""

    def test_scores_and_weights(self, layer, call):
        real = reals(call)
        traced = scopes(fa.trace(layer, X, **call))
        for values, attention in zip(traced, attentions(layer), strict=True):
            masks = {
                "mask": combined(real, call.get("mask")),
                "causal": call.get("causal", False),
                **keywords(attention),
            }

            def compute(formula, dtype, values=values, masks=masks, attention=attention):
                q, k = (values[name].astype(dtype) for name in ("queries", "keys"))
                of_distances = relative(attention, Weights(attention.state_dict(), dtype))
                return formula(q, k, **masks, relative=of_distances)

            hidden = False if real is None else ~real[:, None, :, None]

            def scores(dtype, compute=compute, hidden=hidden):
                return np.where(
                    hidden, dtype(-np.inf), compute(reference.attention_scores, dtype)
                )

            def weights(dtype, compute=compute, hidden=hidden):
                return np.where(
                    hidden, dtype(0), compute(reference.attention_weights, dtype)
                )

            assert_accurate(values["scores"], scores)
            assert_accurate(values["weights"], weights)

    def test_weights_are_those_of_the_layer(self, call):
        settings = {"rotary": 10.0, "alibi": True}
        layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, **settings, rng=0))
        _, weights = layer(X, **call, return_weights=True)
        assert_same_bits(fa.trace(layer, X, **call)["weights"], weights)

    def test_a_source(self):
        layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, source_size=6, rng=0))
        source = batch(len(X), 5, 6)
        arguments = {"source": source, "lengths": [5, 0, 2, 1]}
        trace = fa.trace(layer, X, **arguments)
        output, weights = layer(X, **arguments, return_weights=True)
        assert_same_bits(trace["output"], output)
        assert_same_bits(trace["weights"], weights)
        assert trace["keys"].shape == (len(X), HEADS, 5, HIDDEN // HEADS)
        assert not trace["keys"][1].any()
        assert (trace["scores"][1] == -np.inf).all()

    @pytest.mark.parametrize("norm", ["layer", "rms"])
    @pytest.mark.parametrize("norm_first", [False, True])
    def test_residuals_and_norms(self, norm_first, norm):
        settings = {"norm_first": norm_first, "norm": norm, "gated": norm == "rms"}
        layer = nn.EncoderLayer(HIDDEN, HEADS, INTERMEDIATE, **settings, rng=0)
        trace = fa.trace(randomized(layer), X)
        joined = trace["context"].swapaxes(1, 2).reshape(X.shape)
        attention = layer.self_attn.out_proj
        feed_forward = layer.feed_forward.linear2
        assert_same_bits(trace["attention_output"], attention(joined))
        assert_same_bits(trace["attention_sum"], X + trace["attention_output"])
        assert_same_bits(trace["feed_forward_output"], feed_forward(trace["intermediate"]))
        normed = ("attention_sum", "feed_forward_sum")
        residual = trace["attention_norm"]
        if norm_first:
            normed, residual = (None, "attention_sum"), trace["attention_sum"]
        total = residual + trace["feed_forward_output"]
        assert_same_bits(trace["feed_forward_sum"], total)
        sources = [X if name is None else trace[name] for name in normed]
        first, second = (norms.before or norms.after for norms in layer.norms)
        assert_same_bits(trace["attention_norm"], first(sources[0]))
        assert_same_bits(trace["feed_forward_norm"], second(sources[1]))
        last = "feed_forward_sum" if norm_first else "feed_forward_norm"
        assert_same_bits(trace["output"], trace[last])

    @pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (2, 1, 3)])
    def test_feed_forward(self, shape):
        layer, x = nn.FeedForward(8, 12, rng=0), batch(*shape, 8)
        trace = fa.trace(layer, x)
        assert list(trace) == ["intermediate", "feed_forward_output", "output"]
        assert trace["intermediate"].shape == (*shape, 12)
        for name in ("feed_forward_output", "output"):
            assert_same_bits(trace[name], layer(x))


class TestTexts:
    def test_embeddings(self, model):
        trace = fa.trace(model, SENTENCE, pair="a cat")
        ids, types = (np.array(x) for x in (trace.encoding.ids, trace.encoding.type_ids))
        assert types.any()
        indices = ids, np.arange(len(ids)), types
        total = np.float32(0)
        state = model.model.state_dict()
        tables = [state[f"{name}.weight"] for name in TABLES]
        for name, table, rows in zip(MODEL_VALUES[:3], tables, indices, strict=True):
            assert_same_bits(trace[name], table[rows])
            total = total + table[rows]
        assert_same_bits(trace["embedding_sum"], total)
        hidden = model.model([ids], token_type_ids=[types])
        assert_same_bits(trace["output"], hidden[0])
        first = fa.trace(model.model.encoder, trace["embedding_norm"])
        for name in PLAIN_VALUES:
            assert_same_bits(trace.layers[1][name], first.layers[1][name])

    def test_modules(self, model):
        whole = fa.trace(model, SENTENCE)
        assert_same_bits(whole["1_Pooling"], model.encode(SENTENCE, normalize=False))
        assert_same_bits(whole["2_Normalize"], model.encode(SENTENCE))
        assert list(fa.trace(model, SENTENCE, names="1_Pooling")) == ["1_Pooling"]
        with pytest.raises(ValueError, match="this EncoderModel has no 1_Pooling"):
            fa.trace(model, [[2, 3]], names="1_Pooling")

    def test_tokens(self, model):
        trace = fa.trace(model, "the cat", names=[], layers=[])
        assert trace.tokens == ["[CLS]", "the", "cat", "[SEP]"]

    def test_several_texts(self, model):
        texts = ["the cat", SENTENCE]
        for trace, text in zip(fa.trace(model, texts), texts, strict=True):
            assert_same_bits(trace["output"], model.encode(text, output="tokens"))

    def test_ids(self, model):
        ids, mask = [[2, 71, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]]
        for traced in (model, model.model):
            trace = fa.trace(traced, ids, mask)
            assert_same_bits(trace["output"], model.model(ids, mask))
            assert not trace["embeddings"][1, 2].any()
            assert trace["positions"].shape == (2, 3, 32)
            assert not trace.tokens

    def test_the_prompt_is_part_of_the_text(self, model, monkeypatch):
        monkeypatch.setattr(model, "prompt", "the ")
        assert fa.trace(model, "cat", names=[]).tokens[1:3] == ["the", "cat"]

    def test_a_long_text_is_cut_with_a_warning(self, model):
        with pytest.warns(fa.TruncationWarning, match="cut at 48 tokens") as warned:
            trace = fa.trace(model, "a " * 100, names="embeddings")
        assert warned[0].filename == __file__
        assert trace["embeddings"].shape == (48, 32)


class TestWhatIsAskedFor:
    def test_names_and_layers(self, model):
        trace = fa.trace(model, SENTENCE, names=["weights", "positions"], layers=-1)
        assert list(trace) == ["positions"]
        assert [list(layer) for layer in trace.layers] == [[], ["weights"]]
        whole = fa.trace(model, SENTENCE)
        narrow = ("embedding_output",)
        inside = (n for n in MODEL_VALUES if n not in narrow)
        assert tuple(whole) == (*inside, "1_Pooling", "2_Normalize")
        assert [tuple(layer) for layer in whole.layers] == [PLAIN_VALUES] * 2
        assert_same_bits(trace.layers[1]["weights"], whole.layers[1]["weights"])

    def test_a_stack_of_layers_has_outputs_inside_and_outside(self, model):
        trace = fa.trace(model, SENTENCE, names="output")
        assert_same_bits(trace["output"], trace.layers[-1]["output"])

    def test_nothing_is_computed_after_the_last_of_them(self, model, monkeypatch):
        def fail(*arguments, **keywords):
            raise AssertionError

        first, second = model.model.encoder.layers
        for wanted, after in (
            ({"layers": 0}, second),
            ({"names": "queries", "layers": [0]}, first.feed_forward),
            ({"names": "embedding_norm"}, first),
            ({"names": []}, model.model),
            ({"names": "keys", "layers": 0}, fa.nn.heads),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(
                    after, "compute_scores" if after is fa.nn.heads else "steps", fail
                )
                wanted = {"names": ["embeddings", *PLAIN_VALUES[:-1]], **wanted}
                fa.trace(model, SENTENCE, **wanted)

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ({"names": "score"}, "names must be one of 'embeddings', .*, got 'score'"),
            ({"names": ["weights", "positions"]}, "this Encoder has no positions"),
            ({"layers": 2}, "there are 2 layers to look into, got 2"),
            ({"layers": [0, -3]}, "got -3"),
        ],
    )
    def test_what_there_is_not(self, wanted, message):
        encoder = nn.Encoder(HIDDEN, HEADS, INTERMEDIATE, 2, rng=0)
        with pytest.raises(ValueError, match=message):
            fa.trace(encoder, X, **wanted)

    def test_no_layers(self):
        with pytest.raises(ValueError, match="there are 0 layers"):
            fa.trace(nn.FeedForward(8, 8, rng=0), X[..., :8], layers=0)

    @pytest.mark.parametrize(
        ("inputs", "keywords", "message"),
        [
            (X, {"cache": None}, "cache"),
            (X, {"return_weights": True}, "return_weights"),
            (X.astype(float), {}, "float64"),
            (X, {"layers": 1.0}, "integer"),
        ],
    )
    def test_wrong_kinds(self, inputs, keywords, message):
        layer = nn.MultiHeadAttention(HIDDEN, HEADS, rng=0)
        with pytest.raises(TypeError, match=message):
            fa.trace(layer, inputs, **keywords)

    @pytest.mark.parametrize("thing", [nn.Linear(HIDDEN, 2), fa, None])
    def test_nothing_to_look_into(self, thing):
        with pytest.raises(TypeError, match=r"to look into in a .*: give what load gives"):
            fa.trace(thing, X)

    def test_bad_texts(self, model):
        with pytest.raises(TypeError, match="pair must be a str, got int"):
            fa.trace(model, "a", pair=3)
        with pytest.raises(ValueError, match="lone surrogate"):
            fa.trace(model, "a\ud800")
