"""ONNX Runtime on the plain export, and on the export with its transformer fusions."""

from collections import Counter

import onnx
import onnxruntime

from ..models import MINILM
from . import Unsupported
from .graphs import Graphs


class OnnxRuntime(Graphs):
    """Sessions with all of ONNX Runtime's own graph optimisations, its default."""

    def compile(self, graph):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.settings.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        return lambda inputs: session.run(None, inputs)[0]


class FusedOnnxRuntime(OnnxRuntime):
    """The graph that ``onnxruntime.transformers.optimizer`` makes of the export."""

    ending = ".fused.onnx"

    def linear(self, case):
        raise Unsupported("there is nothing to fuse in one layer")


class Int8OnnxRuntime(FusedOnnxRuntime):
    """The fused graph after ``quantize_dynamic``: integer products of dense layers."""

    ending = ".int8.onnx"

    @property
    def runs_in(self):
        """Count what the graph holds: a session runs every node in what it says."""
        graph = onnx.load(f"{self.settings.exports}/{MINILM}{self.ending}").graph
        kinds = Counter(node.op_type for node in graph.node)
        integer = kinds["MatMulInteger"] + kinds["QAttention"]
        others = kinds["MatMul"] + kinds["Attention"]
        return f"int8, {integer} of {integer + others} products"
