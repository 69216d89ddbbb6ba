"""Folders of one family that call the same things by other names."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.bits import assert_same_bits
from support.folders import DATA

import fastattn as fa
from fastattn.models import EncoderModel

FAMILIES = DATA / "families"
IDS = np.array([[5, 9, 1, 30, 66, 2, 7]])

# How published names differ from those in memory: rows of one tensor are several there.
NATIVE_LAYER = {
    "encoder.layers.": "layers.",
    "encoder.layer.": "layers.",
    "emb_ln": "embeddings.LayerNorm",
    "norm1": "post_attention_layernorm",
    "norm2": "post_mlp_layernorm",
    "attn_ln": "post_attention_layernorm",
    "mlp_ln": "post_mlp_layernorm",
    "attn.out_proj": "self_attn.o_proj",
    "attention.o_proj": "self_attn.o_proj",
    "mixer.out_proj": "self_attn.o_proj",
    "mlp.fc11": "mlp.up_proj",
    "mlp.fc12": "mlp.gate_proj",
}
QKV = [f"self_attn.{part}_proj" for part in "qkv"]
SPLIT = {
    "attn.Wqkv": QKV,
    "mixer.Wqkv": QKV,
    "attention.qkv_proj": QKV,
    "mlp.up_gate_proj": ["mlp.up_proj", "mlp.gate_proj"],
}


def read(name):
    config = json.loads((FAMILIES / name / "config.json").read_text())
    return config, load_file(FAMILIES / name / "model.safetensors")


def native(name, tensors):
    """Name tensors as transformers has them in memory."""
    renamed = {}
    for key, tensor in tensors.items():
        for published, others in SPLIT.items():
            if published in key:
                for other, rows in zip(others, np.split(tensor, len(others)), strict=True):
                    renamed[key.replace(published, other)] = rows
                break
        else:
            renamed[key] = tensor
    renames = NATIVE_LAYER | ({"mlp.fc2": "mlp.down_proj"} if name == "nomic_bert" else {})
    for old, new in renames.items():
        renamed = {key.replace(old, new): tensor for key, tensor in renamed.items()}
    return renamed


@pytest.mark.parametrize("name", ["gte", "jina_v3", "nomic_bert"])
def test_the_names_that_transformers_has_in_memory(name, tmp_path):
    config, tensors = read(name)
    renamed = native(name, tensors)
    assert "layers.1.self_attn.v_proj.weight" in renamed
    model = EncoderModel.from_weights(config, renamed)
    assert_same_bits(model(IDS), EncoderModel.from_weights(config, tensors)(IDS))
    model.save(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    assert written.keys() == {key for key in renamed if not key.startswith("pooler.")}


class TestNomicBert:
    @pytest.fixture
    def published(self):
        """Say what config.json says in the words of published folders."""
        config, _ = read("nomic_bert")
        return {
            "model_type": "nomic_bert",
            "activation_function": "swiglu",
            "causal": False,
            "layer_norm_epsilon": config["layer_norm_eps"],
            "max_trained_positions": 20,
            "mlp_fc1_bias": False,
            "mlp_fc2_bias": False,
            "n_embd": config["hidden_size"],
            "n_head": config["num_attention_heads"],
            "n_inner": config["intermediate_size"],
            "n_layer": config["num_hidden_layers"],
            "n_positions": config["max_position_embeddings"],
            "parallel_block": False,
            "prenorm": False,
            "qkv_proj_bias": False,
            "rotary_emb_base": 1000,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": False,
            "rotary_emb_scale_base": None,
            "rotary_scaling_factor": None,
            "type_vocab_size": config["type_vocab_size"],
            "use_rms_norm": None,
            "vocab_size": config["vocab_size"],
        }

    @pytest.fixture
    def make(self, published):
        _, tensors = read("nomic_bert")
        return lambda **more: EncoderModel.from_weights(published | more, tensors)

    def test_fields_of_published_folders(self, make):
        model = EncoderModel.from_weights(*read("nomic_bert"))
        assert_same_bits(make()(IDS), model(IDS))
        assert make().max_positions == 25

    def test_no_text_is_so_long_that_its_base_would_change(self, make):
        assert make(rotary_scaling_factor=2).max_positions == 20

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("activation_function", "gelu"),
            ("causal", True),
            ("moe_every_n_layers", 2),
            ("num_experts", 8),
            ("parallel_block", True),
            ("prenorm", True),
            ("rotary_emb_fraction", 0.5),
            ("rotary_emb_interleaved", True),
            ("rotary_emb_scale_base", 512.0),
            ("use_rms_norm", True),
        ],
    )
    def test_what_would_change_numbers_is_refused(self, make, field, value):
        with pytest.raises(fa.ModelFormatError, match=f"config: {field} "):
            make(**{field: value})


class TestGte:
    def test_the_name_of_published_folders(self):
        config, tensors = read("gte")
        del config["rope_parameters"]
        named = {f"new.{name}": tensor for name, tensor in tensors.items()}
        model = EncoderModel.from_weights(config | {"model_type": "new"}, named)
        base = EncoderModel.from_weights(config | {"rope_theta": 10000.0}, tensors)
        assert_same_bits(model(IDS), base(IDS))

    def test_positions_that_are_scaled(self):
        """Scaled by 8 they count as in a model of another base, 8 ** (2 / 8) slower."""
        config, tensors = read("gte")
        ntk = {"type": "ntk", "factor": 8.0}
        model = EncoderModel.from_weights(
            config | {"rope_scaling": ntk, "rope_theta": 100.0}, tensors
        )
        linear = {"type": "linear", "factor": 8.0**0.25, "rope_theta": 800.0}
        slower = EncoderModel.from_weights(config | {"rope_scaling": linear}, tensors)
        assert_same_bits(model(IDS), slower(IDS))
        mixed = config | {"rope_scaling": ntk | {"mixed_b": 0.6}}
        with pytest.raises(fa.ModelFormatError, match="rope_scaling: mixed_b is not read"):
            EncoderModel.from_weights(mixed, tensors)


class TestJinaBert:
    @pytest.mark.parametrize("form", ["jina_bert", "jina_bert_normed"])
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("feed_forward_type", "original"),
            ("is_decoder", True),
            ("hidden_size", 25),
            ("position_embedding_type", "absolute"),
        ],
    )
    def test_what_would_change_numbers_is_refused(self, form, field, value):
        config, tensors = read(form)
        with pytest.raises(fa.ModelFormatError, match=f"{field} must be"):
            EncoderModel.from_weights(config | {field: value}, tensors)

    def test_it_is_no_bert_without_its_gates(self):
        config, _ = read("jina_bert")
        with pytest.raises(fa.ModelFormatError, match="position_embedding_type must be"):
            EncoderModel.from_weights(config, {})


# How names of tensors differ from those of XLM-R in code that Jina's folders come with.
FLASH = {
    "embeddings.LayerNorm": "emb_ln",
    "encoder.layer.": "encoder.layers.",
    "attention.output.dense": "mixer.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "norm2",
}


class TestJinaV3:
    def test_folders_that_say_they_are_an_xlm_roberta(self):
        config, tensors = read("jina_v3")
        model = EncoderModel.from_weights(config, tensors)
        original = config | {
            "model_type": "xlm-roberta",
            "position_embedding_type": "rotary",
            "rotary_emb_base": 20000.0,
        }
        del original["rope_parameters"]
        other = EncoderModel.from_weights(original, tensors)
        assert_same_bits(other(IDS), model(IDS))
        other = original | {"position_embedding_type": "alibi"}
        with pytest.raises(fa.ModelFormatError, match="position_embedding_type must be"):
            EncoderModel.from_weights(other, tensors)

    def test_absolute_positions(self):
        """As the second version of Jina's reranker has them: an XLM-R by other names."""
        config, tensors = read("xlm_roberta")
        expected = EncoderModel.from_weights(config, tensors)
        config = config | {
            "position_embedding_type": "absolute",
            "auto_map": {"AutoConfig": "configuration.XLMRobertaFlashConfig"},
        }
        del config["model_type"]
        renamed = {}
        for name, tensor in tensors.items():
            for old, new in FLASH.items():
                name = name.replace(old, new)
            renamed[name] = tensor
        for i in range(config["num_hidden_layers"]):
            for kind in ("weight", "bias"):
                layer = f"encoder.layer.{i}.attention.self."
                parts = [tensors[f"{layer}{n}.{kind}"] for n in ("query", "key", "value")]
                joined = f"encoder.layers.{i}.mixer.Wqkv.{kind}"
                renamed[joined] = np.concatenate(parts)
        renamed = {n: t for n, t in renamed.items() if ".attention.self." not in n}
        model = EncoderModel.from_weights(config, renamed)
        assert model.max_positions == expected.max_positions
        assert_same_bits(model(IDS), expected(IDS))


class TestT5:
    def test_what_follows_the_encoder_takes_no_part(self):
        config, tensors = read("t5")
        model = EncoderModel.from_weights(config, tensors)
        words = tensors["shared.weight"]
        more = {
            "encoder.embed_tokens.weight": words,
            "decoder.embed_tokens.weight": words,
            "decoder.final_layer_norm.weight": np.ones(26, np.float32),
            "lm_head.weight": words,
        }
        whole = EncoderModel.from_weights(config, tensors | more)
        assert_same_bits(whole(IDS), model(IDS))

    def test_words_under_their_other_name(self, tmp_path):
        config, tensors = read("t5")
        model = EncoderModel.from_weights(config, tensors)
        tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
        other = EncoderModel.from_weights(config, tensors)
        assert_same_bits(other(IDS), model(IDS))
        other.save(tmp_path / "saved")
        written = load_file(tmp_path / "saved" / "model.safetensors")
        assert written.keys() == tensors.keys()
