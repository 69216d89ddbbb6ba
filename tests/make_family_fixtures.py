"""Make the fixtures of the families of models: what transformers computes in float64.

Needs torch==2.13.0, transformers==5.24.0 and safetensors; the tests themselves need neither
torch nor transformers. Run as

    python tests/make_family_fixtures.py [FAMILY ...]

It writes, beside itself, for each family of the table at the end, or for those named,

data/families/FAMILY/
    config.json, model.safetensors and the files of the tokenizer, of those that have one
    in make_family_tokenizers.py, as save_pretrained writes them. Everything random
    comes from a seed; every weight is random, biases and norms too, so that no two of
    them can be confused unnoticed.
data/families/FAMILY.npz
    What the model is called with, padded on the right, and its last hidden states in
    float64 and in torch's float32, with zeros at padded positions. The longest sequence
    is as long as the positions allow, and padding's id stands among real tokens.

A family is a function that makes its model, of sizes that no two parts share.
"""

import contextlib
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers
from make_family_tokenizers import TOKENIZERS, VOCABULARY
from transformers import PreTrainedModel

FOLDER = Path(__file__).parent / "data" / "families"

# Tokens of the sequences; the longest fills the table of positions.
LENGTHS = (1, 4, 25, 13, 2)
# It is longer where scores depend on distance, up to 128.
FAR, BY_DISTANCE = 140, ("mpnet", "deberta-v2")

WORDS = 67

# Where positions are counted as BERT does, from 0, and there are types of tokens.
BERT = {
    "max_position_embeddings": max(LENGTHS),
    "type_vocab_size": 3,
    "pad_token_id": 0,
}


def roberta() -> PreTrainedModel:
    return bert_like("Roberta")


def xlm_roberta() -> PreTrainedModel:
    return bert_like("XLMRoberta", layer_norm_eps=1e-5, num_attention_heads=5)


def camembert() -> PreTrainedModel:
    return bert_like("Camembert", pad_token_id=3, max_position_embeddings=max(LENGTHS) + 4)


def mpnet() -> PreTrainedModel:
    return bert_like("MPNet", max_position_embeddings=FAR + 2)


def deberta() -> PreTrainedModel:
    """As version 3 is: far distances in buckets, of which layers make keys and queries."""
    return deberta_v2(
        vocab_size=VOCABULARY,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
    )


def deberta_separate() -> PreTrainedModel:
    """With projections for distances, places and types in the sum, and no buckets."""
    return deberta_v2(
        hidden_act="gelu_new",
        max_relative_positions=60,
        num_hidden_layers=1,
        type_vocab_size=2,
    )


def deberta_v2(**fields: Any) -> PreTrainedModel:
    usual = sizes(hidden_size=24, max_position_embeddings=FAR, pad_token_id=0)
    relative = {"relative_attention": True, "pos_att_type": "p2c|c2p"}
    config = transformers.DebertaV2Config(**usual | relative | fields)
    return transformers.DebertaV2Model(config)


def electra() -> PreTrainedModel:
    return bert_like("Electra", **BERT, embedding_size=18)


def albert() -> PreTrainedModel:
    layers = {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2}
    sizes = {"embedding_size": 14, "hidden_size": 24, "intermediate_size": 38}
    return bert_like("Albert", **BERT, **layers, **sizes)


def distilbert() -> PreTrainedModel:
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=max(LENGTHS),
        n_layers=3,
        n_heads=2,
        dim=28,
        hidden_dim=36,
    )
    return transformers.DistilBertModel(config)


def modernbert() -> PreTrainedModel:
    """Of five layers two see all; a window ends inside of the longer sequences."""
    config = transformers.ModernBertConfig(
        **sizes(hidden_size=24, num_hidden_layers=5),
        local_attention=9,
        bos_token_id=None,
        eos_token_id=None,
        cls_token_id=None,
        sep_token_id=None,
    )
    return transformers.ModernBertModel(config)


def modernbert_biased() -> PreTrainedModel:
    """With every bias there is, and positions and kinds of layers as version 5 says it."""
    config = transformers.ModernBertConfig(
        **sizes(hidden_size=24),
        local_attention=6,
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        hidden_activation="silu",
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
        },
        bos_token_id=None,
        eos_token_id=None,
        cls_token_id=None,
        sep_token_id=None,
    )
    return transformers.ModernBertModel(config)


def nomic_bert() -> PreTrainedModel:
    config = transformers.NomicBertConfig(**sizes(hidden_size=24))
    return transformers.NomicBertModel(config)


def gte() -> PreTrainedModel:
    config = transformers.GteConfig(**sizes(hidden_size=24))
    return transformers.GteModel(config)


def gte_without_types() -> PreTrainedModel:
    config = transformers.GteConfig(
        **sizes(hidden_size=24, type_vocab_size=0),
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 300.0},
    )
    return transformers.GteModel(config)


def jina_v3() -> PreTrainedModel:
    config = transformers.JinaEmbeddingsV3Config(**sizes(hidden_size=24))
    return transformers.JinaEmbeddingsV3Model(config)


def t5() -> PreTrainedModel:
    """Of heads that are wider together than a vector."""
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=26, d_kv=10, d_ff=42, num_layers=2, num_heads=3
    )
    return transformers.T5EncoderModel(config)


def t5_gated() -> PreTrainedModel:
    """With so few buckets that the last ones are reached."""
    config = transformers.T5Config(
        vocab_size=WORDS,
        d_model=26,
        d_kv=6,
        d_ff=42,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=12,
        relative_attention_max_distance=20,
    )
    return transformers.T5EncoderModel(config)


def eurobert() -> PreTrainedModel:
    config = transformers.EuroBertConfig(
        **sizes(hidden_size=24, num_attention_heads=6, num_key_value_heads=2),
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 250.0},
    )
    return transformers.EuroBertModel(config)


def qwen3() -> PreTrainedModel:
    """Of heads that are wider together than a vector."""
    config = transformers.Qwen3Config(
        **sizes(vocab_size=VOCABULARY, num_attention_heads=6, num_key_value_heads=3),
        head_dim=8,
    )
    return transformers.Qwen3Model(config)


def qwen3_windows() -> PreTrainedModel:
    """With a window in the last of three layers, and all seeing both sides."""
    config = transformers.Qwen3Config(
        **sizes(num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=3),
        head_dim=12,
        use_sliding_window=True,
        sliding_window=5,
        max_window_layers=2,
        attention_bias=True,
        is_causal=False,
    )
    return transformers.Qwen3Model(config)


def gemma3() -> PreTrainedModel:
    """As EmbeddingGemma is: seeing both sides, through windows but in one layer."""
    return gemma3_text(
        use_bidirectional_attention=True, sliding_window_pattern=3, vocab_size=VOCABULARY
    )


def gemma3_causal() -> PreTrainedModel:
    return gemma3_text(
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 900.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
        },
    )


def gemma3_text(**fields: Any) -> PreTrainedModel:
    config = transformers.Gemma3TextConfig(
        **sizes(num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=3)
        | {"head_dim": 8, "query_pre_attn_scalar": 11, "sliding_window": 8}
        | fields,
    )
    return transformers.Gemma3TextModel(config)


def bert_like(name: str, **fields: Any) -> PreTrainedModel:
    """Make a model whose settings are called as BERT's are, and positions as RoBERTa's."""
    usual = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": max(LENGTHS) + 2,
        "type_vocab_size": 1,
    }
    config = getattr(transformers, f"{name}Config")(**sizes(**usual | fields))
    return getattr(transformers, f"{name}Model")(config)


def sizes(**fields: Any) -> dict[str, Any]:
    """Give the sizes of a model, as most settings call them."""
    usual = {
        "vocab_size": WORDS,
        "hidden_size": 30,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 44,
        "max_position_embeddings": max(LENGTHS),
        "pad_token_id": 1,
    }
    return usual | fields


# Name of the folder -> what makes the model.
FAMILIES: Mapping[str, Callable[[], PreTrainedModel]] = {
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "camembert": camembert,
    "distilbert": distilbert,
    "mpnet": mpnet,
    "deberta": deberta,
    "deberta_separate": deberta_separate,
    "electra": electra,
    "albert": albert,
    "eurobert": eurobert,
    "gemma3": gemma3,
    "gemma3_causal": gemma3_causal,
    "gte": gte,
    "gte_without_types": gte_without_types,
    "jina_v3": jina_v3,
    "modernbert": modernbert,
    "modernbert_biased": modernbert_biased,
    "nomic_bert": nomic_bert,
    "qwen3": qwen3,
    "qwen3_windows": qwen3_windows,
    "t5": t5,
    "t5_gated": t5_gated,
}


@contextlib.contextmanager
def all_in_float64() -> Iterator[None]:
    """Let models that are made and called here compute nothing in float32.

    In parts that are sensitive, some widen to float32 whatever they are given.
    """
    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(torch, "float32", torch.float64),
            mock.patch.object(torch, "float", torch.float64),
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
        ):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def randomize(model: PreTrainedModel) -> None:
    """Draw all weights: matrices that keep the size of what they multiply, or nearly."""
    generator = torch.Generator().manual_seed(20)
    for name, weight in model.named_parameters():
        is_vector = weight.ndim == 1
        center = 1.0 if is_vector and name.endswith("weight") else 0.0
        spread = 0.3 if is_vector else 1.4 * weight.shape[-1] ** -0.5
        weight.data = center + spread * torch.randn(weight.shape, generator=generator)
        if is_vector and model.config.model_type == "gemma3_text":
            # 1 is added to these, exactly to numbers of so few digits.
            weight.data = weight.data.bfloat16().float()


def inputs_for(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """Draw what a model is called with."""
    rng = np.random.default_rng(7)
    config = model.config.get_text_config()
    longest = FAR if config.model_type in BY_DISTANCE else max(LENGTHS)
    lengths = np.where(np.array(LENGTHS) == max(LENGTHS), longest, LENGTHS)
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    padding = config.pad_token_id or 0
    ids = rng.integers(0, config.vocab_size, mask.shape)
    ids[3, 5] = padding
    inputs = {
        "input_ids": np.where(mask == 1, ids, padding),
        "attention_mask": mask,
    }
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    if takes_types and config.type_vocab_size > 1:
        types = rng.integers(0, config.type_vocab_size, mask.shape)
        inputs["token_type_ids"] = types * mask
    return inputs


def hidden_states(model: PreTrainedModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the last hidden states, and zeros at padded positions."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        states = model.eval()(**tensors).last_hidden_state.numpy()
    return states * inputs["attention_mask"][..., None].astype(states.dtype)


def make(name: str) -> None:
    """Write the folder and the file of one family."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model = FAMILIES[name]()
    randomize(model)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if name in TOKENIZERS:
        TOKENIZERS[name]().save_pretrained(folder)
    inputs = inputs_for(model)
    expected = {"float32": hidden_states(model, inputs)}
    with all_in_float64():
        wide = FAMILIES[name]()
        wide.load_state_dict(model.state_dict())
        expected["float64"] = hidden_states(wide, inputs)
    np.savez_compressed(FOLDER / f"{name}.npz", **inputs, **expected)
    error = np.abs(expected["float32"] - expected["float64"]).max()
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size} bytes, torch's float32 is {error:.2g} off")


if __name__ == "__main__":
    for family in sys.argv[1:] or FAMILIES:
        make(family)
