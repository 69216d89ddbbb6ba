"""Make the fixture of Jina v3 with an adapter for each of some tasks.

transformers has the model without adapters: what is expected is computed by it, in float64
and in float32, of weights to which the product of an adapter has been added, in float64, by
its definition (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models",
section 4.1). The folder is written in the form that the published model has. Needs what
make_cross_fixtures.py needs; run as

    python tests/make_adapter_fixtures.py

It writes, beside itself,

data/adapters/jina_v3/
    A tiny random model with adapters for two tasks.
data/adapters/jina_v3.npz
    Token ids, padded on the right, and the last hidden states without an adapter and with
    that of each task.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_bert_fixtures import write_json
from make_cross_fixtures import COUNTED, MAX_LENGTH, SIZES, write_tokenizer
from make_family_fixtures import all_in_float64, randomize
from safetensors.numpy import load_file, save_file
from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

FOLDER = Path(__file__).parent / "data" / "adapters" / "jina_v3"

TASKS = ("retrieval.query", "text-matching")
RANK, ALPHA = 3, 2

LENGTHS = (1, 9, MAX_LENGTH)


def adapters(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draw what is added to each matrix: A and B, those of tables the other way round."""
    rng = np.random.default_rng(11)
    drawn = {}
    for name, weight in weights.items():
        if weight.ndim == 2:
            rows, columns = weight.shape
            left, right = ("A", "B") if name.startswith("embeddings.") else ("B", "A")
            start = f"{name}.parametrizations.".replace("weight.p", "p")
            for key, shape in ((left, (rows, RANK)), (right, (RANK, columns))):
                values = 0.4 * rng.standard_normal((len(TASKS), *shape))
                drawn[f"{start}weight.0.lora_{key}"] = values.astype(np.float32)
    return drawn


def merged(
    weights: dict[str, np.ndarray], drawn: dict[str, np.ndarray], task: int
) -> dict[str, np.ndarray]:
    """Add the adapter of a task, in float64."""
    wide = {name: weight.astype(np.float64) for name, weight in weights.items()}
    for name in weights:
        start = name.removesuffix("weight") + "parametrizations.weight.0.lora_"
        if f"{start}A" in drawn:
            a, b = (drawn[start + key][task].astype(np.float64) for key in "AB")
            product = a @ b if name.startswith("embeddings.") else b @ a
            wide[name] += ALPHA / RANK * product
    return wide


def states(folder: Path, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Compute hidden states, in both dtypes, with zeros at padded positions."""
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    found = {}
    for dtype in (torch.float32, torch.float64):
        model = JinaEmbeddingsV3Model.from_pretrained(folder, dtype=dtype).eval()
        with torch.no_grad():
            if dtype == torch.float64:
                with all_in_float64():
                    hidden = model(**inputs).last_hidden_state
            else:
                hidden = model(**inputs).last_hidden_state
        found[str(dtype).removeprefix("torch.")] = hidden.numpy() * mask[:, :, None]
    return found


def write(
    weights: dict[str, np.ndarray], drawn: dict[str, np.ndarray], fields: dict[str, Any]
) -> None:
    """Write the folder, but for its tokenizer."""
    original = "parametrizations.weight.original"
    stored = {
        f"roberta.{n.removesuffix('weight') + original if w.ndim == 2 else n}": w
        for n, w in weights.items()
    } | {f"roberta.{n}": array for n, array in drawn.items()}
    save_file(stored, FOLDER / "model.safetensors", {"format": "pt"})
    base = fields.pop("rope_parameters")["rope_theta"]
    write_json(
        FOLDER / "config.json",
        fields
        | {
            "architectures": ["XLMRobertaLoRA"],
            "model_type": "xlm-roberta",
            "position_embedding_type": "rotary",
            "rotary_emb_base": base,
            "load_trained_adapters": True,
            "lora_adaptations": TASKS,
            "lora_rank": RANK,
            "lora_alpha": ALPHA,
            "lora_dropout_p": 0.0,
            "lora_main_params_trainable": False,
            "task_instructions": {TASKS[0]: "the ", TASKS[1]: ""},
        },
    )
    kinds = (
        "custom_st.Transformer",
        *(f"sentence_transformers.models.{kind}" for kind in ("Pooling", "Normalize")),
    )
    paths = "", "1_Pooling", "2_Normalize"
    modules = [{"path": p, "type": k} for p, k in zip(paths, kinds, strict=True)]
    write_json(FOLDER / "modules.json", [modules[0] | {"kwargs": ["task"]}, *modules[1:]])
    write_json(FOLDER / "sentence_bert_config.json", {"max_seq_length": MAX_LENGTH})
    (FOLDER / "1_Pooling").mkdir()
    switches = {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True}
    write_json(FOLDER / "1_Pooling" / "config.json", switches)
    prompts = {"prompts": {TASKS[0]: "the ", TASKS[1]: ""}}
    write_json(FOLDER / "config_sentence_transformers.json", prompts)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    vocab_size = write_tokenizer(FOLDER)
    config = JinaEmbeddingsV3Config(**SIZES | COUNTED | {"vocab_size": vocab_size})
    model = JinaEmbeddingsV3Model(config)
    randomize(model)
    rng = np.random.default_rng(12)
    mask = (np.arange(MAX_LENGTH) < np.array(LENGTHS)[:, None]).astype(np.int64)
    ids = np.where(mask, rng.integers(0, vocab_size, mask.shape), 1)
    arrays = {"input_ids": ids, "attention_mask": mask}
    with tempfile.TemporaryDirectory() as name:
        plain = Path(name)
        model.save_pretrained(plain)
        weights = load_file(plain / "model.safetensors")
        fields = json.loads((plain / "config.json").read_text())
        drawn = adapters(weights)
        for task in (None, *range(len(TASKS))):
            if task is not None:
                added = merged(weights, drawn, task)
                save_file(added, plain / "model.safetensors", {"format": "pt"})
            for dtype, hidden in states(plain, ids, mask).items():
                key = "" if task is None else f"_{TASKS[task]}"
                arrays[f"{dtype}{key}"] = hidden
    np.savez_compressed(FOLDER.with_suffix(".npz"), **arrays)
    write(weights, drawn, fields)
    for key in ("", *(f"_{task}" for task in TASKS)):
        error = np.abs(arrays[f"float32{key}"] - arrays[f"float64{key}"]).max()
        print(f"jina_v3{key}: torch's float32 is {error:.2g} off")


if __name__ == "__main__":
    main()
