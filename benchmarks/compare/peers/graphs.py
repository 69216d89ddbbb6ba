"""The graphs of ONNX that two of the peers run."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ..inputs import linear_inputs, texts, token_ids
from . import Unsupported
from .sorted_texts import SortedTexts

OPSET = 17


def linear_graph(weight, bias):
    """Return a dense layer as a serialized model; its weight is a constant."""
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", weight.shape[1]])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", len(weight)])
    constants = {"weight": np.ascontiguousarray(weight.T), "bias": bias}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", *constants], ["y"])],
        "linear",
        [rows],
        [out],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


class Graphs:
    """Operations of a class with the method `compile`.

    ``compile(graph)`` takes a path or a serialized model and returns a function from a
    dict of inputs to the only output. The graph of MiniLM is the file `minilm_graph`.
    """

    minilm_graph = "minilm.onnx"

    def __init__(self, settings):
        self.settings = settings

    def linear(self, case):
        x, weight, bias = linear_inputs(case)
        run = self.compile(linear_graph(weight, bias))
        return lambda: run({"x": x})

    def forward(self):
        """Return MiniLM as a function of ids and mask."""
        if not hasattr(self, "compiled"):
            self.compiled = self.compile(f"{self.settings.exports}/{self.minilm_graph}")

        def forward(ids, mask):
            inputs = {"input_ids": ids, "attention_mask": mask}
            return self.compiled({**inputs, "token_type_ids": np.zeros_like(ids)})

        return forward

    def minilm(self, case):
        if case.option:
            raise Unsupported("weights in other formats are fastattn's")
        ids, forward = token_ids(case), self.forward()
        mask = np.ones_like(ids)
        return lambda: forward(ids, mask)

    def texts(self, case):
        encoder, inputs = SortedTexts(self.settings.model, self.forward()), texts(case)
        return lambda: encoder.encode(inputs)
