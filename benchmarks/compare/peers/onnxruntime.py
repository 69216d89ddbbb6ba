"""ONNX Runtime on the plain export, and on the export with its transformer fusions."""

import onnxruntime

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
