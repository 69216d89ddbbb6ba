"""The implementations, one class each, behind one tiny protocol.

A class is made once per process, ``Implementation(settings)``, and has a method for each
operation that it offers: ``operation(case)`` prepares the inputs and returns a call
without arguments whose result NumPy can read, if need be by way of the class's
``to_numpy``. Only that call is timed. What it cannot do
for one case it refuses with :class:`Unsupported`.

Modules here are imported in processes of their own; this one knows them by name only.
"""

from importlib.util import find_spec
from typing import NamedTuple

from ..models import MINILM


class Unsupported(Exception):
    """The implementation has no such operation; the message says why."""


class Settings(NamedTuple):
    """What an implementation is told when its process starts."""

    threads: int
    model: str  # the folder of all-MiniLM-L6-v2
    exports: str  # the folder that export.py filled
    cpu_time: bool = False  # whether the clock stands while others have the processor

    def folder(self, name: str) -> str:
        """Return the folder of a model, as transformers writes it."""
        return self.model if name == MINILM else f"{self.exports}/{name}"


class Peer(NamedTuple):
    """An implementation by name."""

    module: str
    implementation: str
    packages: tuple[str, ...]  # that are imported, the one whose version counts first

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]


PEERS = {
    "fastattn": Peer("fastattn", "Fastattn", ("fastattn",)),
    "NumPy": Peer("numpy", "Numpy", ("numpy", "safetensors")),
    "torch": Peer("torch", "Torch", ("torch", "transformers")),
    "ONNX Runtime": Peer("onnxruntime", "OnnxRuntime", ("onnxruntime", "onnx", "torch")),
    "ONNX Runtime, fused": Peer(
        "onnxruntime", "FusedOnnxRuntime", ("onnxruntime", "onnx", "torch")
    ),
    "OpenVINO": Peer("openvino", "OpenVino", ("openvino", "onnx", "torch")),
    "CTranslate2": Peer(
        "ctranslate2", "CTranslate2", ("ctranslate2", "transformers", "torch")
    ),
    "sentence-transformers": Peer(
        "sentence_transformers", "SentenceTransformers", ("sentence_transformers",)
    ),
    "faiss": Peer("faiss", "Faiss", ("faiss",)),
    "faiss, tuned": Peer("faiss", "TunedFaiss", ("faiss",)),
    "usearch": Peer("usearch", "Usearch", ("usearch",)),
}

# fastattn itself, by what its dense layers compute in.
COMPUTE = {
    "int8": Peer("fastattn", "Int8Fastattn", ("fastattn",)),
    "int16": Peer("fastattn", "Int16Fastattn", ("fastattn",)),
    "bfloat16": Peer("fastattn", "Bfloat16Fastattn", ("fastattn",)),
}
# The lowest precision that the others have for a whole model.
LOW_PRECISION = {f"fastattn, {compute}": peer for compute, peer in COMPUTE.items()} | {
    "ONNX Runtime, int8": PEERS["ONNX Runtime"]._replace(implementation="Int8OnnxRuntime"),
    "OpenVINO, bf16": PEERS["OpenVINO"]._replace(implementation="Bfloat16OpenVino"),
    "CTranslate2, int8": PEERS["CTranslate2"]._replace(implementation="Int8CTranslate2"),
}
IMPLEMENTATIONS = PEERS | LOW_PRECISION
