"""The graphs of ONNX that two of the peers run."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ..inputs import linear_inputs
from ..models import INPUTS, MODELS
from . import Unsupported
from .encoders import Encoders

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


class Graphs(Encoders):
    """Operations of a class with the method `compile`.

    ``compile(graph)`` takes a path or a serialized model and returns a function from a
    dict of inputs to the only output. The graph of a model is a file whose name ends in
    `ending`.
    """

    ending = ".onnx"

    def __init__(self, settings):
        self.settings = settings

    def linear(self, case):
        x, weight, bias = linear_inputs(case)
        run = self.compile(linear_graph(weight, bias))
        return lambda: run({"x": x})

    @lru_cache(maxsize=1)  # noqa: B019 - an instance lives as long as its process
    def forward(self, name):
        path = Path(f"{self.settings.exports}/{name}{self.ending}")
        if not path.exists():
            raise Unsupported("there is no such graph of this model")
        run, names = self.compile(str(path)), INPUTS[: MODELS[name].inputs]
        return lambda *arrays: run(dict(zip(names, arrays, strict=False)))
