"""The models for the peers that do not read their folders, written once per run.

``python -m benchmarks.compare.export MODEL FOLDER PACKAGE,... NAME ...`` writes to FOLDER
what these packages need of the models of these names: NAME/ with random weights and the
tokenizer of MODEL, the folder of all-MiniLM-L6-v2, which has its own; NAME.onnx,
NAME.fused.onnx, NAME.int8.onnx and NAME.ctranslate2/.
"""

import shutil
import sys
import warnings
from pathlib import Path

import torch
import transformers

from .models import INPUTS, MINILM, MODELS, WORD_BIAS
from .torch_models import TorchModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_model(model, folder, tokenizer):
    """Write a folder with weights as transformers draws them."""
    torch.manual_seed(0)
    kind = getattr(transformers, model.kind)
    drawn = kind(kind.config_class(**model.settings))
    if model.kind.endswith("MaskedLM"):
        torch.nn.init.constant_(drawn.get_output_embeddings().bias, WORD_BIAS)
    drawn.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(Path(tokenizer, name), folder)


def export_onnx(model, folder, path):
    """Trace a model; any batch and length."""
    ids = torch.ones(2, 8, dtype=torch.long)
    names = INPUTS[: model.inputs]
    torch.onnx.export(
        TorchModel(model, folder, attn_implementation="eager"),
        (ids, ids, ids * 0)[: model.inputs],
        path,
        input_names=list(names),
        output_names=["output"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
        opset_version=17,
        dynamo=False,
    )


def fuse(path, fused, config):
    """Let ONNX Runtime put attention, GELU and norms into kernels of their own."""
    from onnxruntime.transformers.optimizer import optimize_model

    optimized = optimize_model(
        str(path),
        "bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=1,
    )
    optimized.save_model_to_file(str(fused))


def quantize(fused, path):
    """Let ONNX Runtime turn the products of dense layers into integer ones."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The types of what is between the fused nodes are not inferred.
    types = {"DefaultTensorType": TensorProto.FLOAT}
    # With one scale for a matrix, the default, it is as fast and vectors are five times as
    # far off.
    options = {"weight_type": QuantType.QInt8, "per_channel": True, "extra_options": types}
    quantize_dynamic(fused, path, **options)


def convert(folder, output):
    """Convert a model with CTranslate2."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(output))


def export(name, folder, tokenizer, packages):
    """Write a model in all formats that are needed."""
    model, source = MODELS[name], folder / name
    if model.settings is None:
        source = tokenizer
    else:
        write_model(model, source, tokenizer)
    config = transformers.AutoConfig.from_pretrained(source)
    like_bert = config.model_type in ("bert", "xlm-roberta")
    if "onnx" in packages:
        path = folder / f"{name}.onnx"
        export_onnx(model, source, path)
        if like_bert and "onnxruntime" in packages:
            fused = folder / f"{name}.fused.onnx"
            fuse(path, fused, config)
            if name == MINILM:
                quantize(fused, folder / f"{name}.int8.onnx")
    if like_bert and "ctranslate2" in packages and not model.kind.endswith("MaskedLM"):
        convert(source, folder / f"{name}.ctranslate2")


def main(tokenizer, folder, packages, *names):
    # Of the tracer about constants, of transformers about weights that take no part.
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    for name in names:
        export(name, Path(folder), tokenizer, packages.split(","))


if __name__ == "__main__":
    main(*sys.argv[1:])
