"""OpenVINO on the plain export."""

import openvino

from .graphs import Graphs


class OpenVino(Graphs):
    """Compiled for latency, in float32: by default it rounds to bfloat16 where it can."""

    def compile(self, graph):
        properties = {
            "INFERENCE_NUM_THREADS": self.settings.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        model = core.read_model(graph)
        request = core.compile_model(model, "CPU", properties).create_infer_request()
        return lambda inputs: request.infer(inputs, share_inputs=True)[0]
