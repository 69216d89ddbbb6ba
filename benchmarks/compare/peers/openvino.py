"""OpenVINO on the plain export."""

import openvino

from .graphs import Graphs


class OpenVino(Graphs):
    """Compiled for latency, in float32: by default it rounds to bfloat16 where it can."""

    precision = "f32"

    def compile(self, graph):
        properties = {
            "INFERENCE_NUM_THREADS": self.settings.threads,
            "INFERENCE_PRECISION_HINT": self.precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        model = core.read_model(graph)
        self.network = core.compile_model(model, "CPU", properties)
        request = self.network.create_infer_request()
        return lambda inputs: request.infer(inputs, share_inputs=True)[0]


class Bfloat16OpenVino(OpenVino):
    """Asked for bfloat16, which it passes over where the CPU does not multiply it."""

    precision = "bf16"

    @property
    def runs_in(self):
        """Ask the graph that runs in what its dense layers are."""
        facts = [node.rt_info for node in self.network.get_runtime_model().get_ops()]
        dense = ("FullyConnected", "MatMul")
        kinds = {
            fact["runtimePrecision"].astype(str)
            for fact in facts
            if fact["layerType"].astype(str) in dense
        }
        return ", ".join(sorted(kinds))
