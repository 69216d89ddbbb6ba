"""MiniLM for the peers that do not read its folder, written once per run.

``python -m benchmarks.compare.export MODEL FOLDER`` writes to FOLDER what the installed
libraries need: minilm.onnx, minilm_fused.onnx and ctranslate2/.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from .cases import HIDDEN

NUM_HEADS = 12
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export_onnx(model, path):
    """Trace transformers' BERT; any batch and length."""
    import torch
    from transformers import BertModel

    class LastHiddenState(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, *inputs):
            return self.bert(**dict(zip(INPUTS, inputs, strict=True))).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.long)
    torch.onnx.export(
        LastHiddenState(),
        (ids, ids, ids * 0),
        path,
        input_names=list(INPUTS),
        output_names=["hidden"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in (*INPUTS, "hidden")},
        opset_version=17,
        dynamo=False,
    )


def fuse(path, fused):
    """Let ONNX Runtime put attention, GELU and norms into kernels of their own."""
    from onnxruntime.transformers.optimizer import optimize_model

    optimized = optimize_model(
        str(path), "bert", num_heads=NUM_HEADS, hidden_size=HIDDEN, opt_level=1
    )
    optimized.save_model_to_file(str(fused))


def main(model, folder):
    folder = Path(folder)
    if find_spec("onnx"):
        export_onnx(model, folder / "minilm.onnx")
        if find_spec("onnxruntime"):
            fuse(folder / "minilm.onnx", folder / "minilm_fused.onnx")
    if find_spec("ctranslate2"):
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(model).convert(str(folder / "ctranslate2"))


if __name__ == "__main__":
    main(*sys.argv[1:])
