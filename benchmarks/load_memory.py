"""The most memory that a process takes while it loads a large model, beside what it keeps.

    python -m benchmarks.load_memory [--layers 24] [--vocabulary 250002] [--files 1]

writes XLM-R large, 560 million parameters, into a temporary folder: weights of zero, which
are holes in a file and take no room on the disk. It is loaded by a process of its own, once
for each way to store a number, and a line says what the kernel knows of that process: what
stays in memory when the model is there, and the most that it took until then. More than
LIMIT times as much is an error. It needs Linux.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BYTES = {"F32": 4, "F16": 2, "BF16": 2}
LIMIT = 1.15

HIDDEN, HEADS, INNER, POSITIONS = 1024, 16, 4096, 514

LOAD = """
import sys
import fastattn as fa

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

model = fa.load(sys.argv[1], weights=sys.argv[2])
print(model.nbytes, status("VmRSS"), status("VmHWM"))
"""


def shapes(layers: int, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """List the tensors of XLM-R."""

    def affine(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]

    rows = {"word": vocabulary, "position": POSITIONS, "token_type": 1}
    for table, count in rows.items():
        yield f"embeddings.{table}_embeddings.weight", (count, HIDDEN)
    yield from affine("embeddings.LayerNorm", HIDDEN)
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from affine(f"{layer}.attention.{name}", HIDDEN, HIDDEN)
        yield from affine(f"{layer}.attention.output.LayerNorm", HIDDEN)
        yield from affine(f"{layer}.intermediate.dense", INNER, HIDDEN)
        yield from affine(f"{layer}.output.dense", HIDDEN, INNER)
        yield from affine(f"{layer}.output.LayerNorm", HIDDEN)


def write_model(folder: Path, dtype: str, files: int, layers: int, vocabulary: int) -> int:
    """Write the folder; give the number of parameters."""
    config = {
        "model_type": "xlm-roberta",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    tensors = dict(shapes(layers, vocabulary))
    names, listed = list(tensors), {}
    for part in range(files):
        name = f"model-{part + 1:05}-of-{files:05}.safetensors"
        inside = names[part::files]
        write_zeros(folder / name, {key: tensors[key] for key in inside}, dtype)
        listed.update(dict.fromkeys(inside, name))
    index = {"metadata": {}, "weight_map": listed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum(math.prod(shape) for shape in tensors.values())


def write_zeros(path: Path, tensors: dict[str, tuple[int, ...]], dtype: str) -> None:
    """Write a safetensors file of zeros: its header, and a hole."""
    header, end = {}, 0
    for name, shape in tensors.items():
        start, end = end, end + math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of a few pieces: its memory is not what is measured."""
    from tokenizers import Tokenizer, models, processors

    pieces = ("<s>", "<pad>", "</s>", "<unk>")
    tokenizer = Tokenizer(models.Unigram([(piece, 0.0) for piece in pieces], unk_id=3))
    tokenizer.add_special_tokens(list(pieces))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--vocabulary", type=int, default=250_002)
    parser.add_argument("--files", type=int, default=1, help="of the weights")
    parser.add_argument("--weights", default="float32", help="what load is told")
    options = parser.parse_args()
    worst = 0.0
    for dtype in BYTES:
        with tempfile.TemporaryDirectory() as folder:
            parameters = write_model(
                Path(folder), dtype, options.files, options.layers, options.vocabulary
            )
            command = [sys.executable, "-c", LOAD, folder, options.weights]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        weights, kept, most = (int(number) for number in output.split())
        worst = max(worst, most / kept)
        print(
            f"{parameters / 1e6:.0f} million parameters, {dtype}: weights of "
            f"{weights / 1e9:.2f} GB, {kept / 1e9:.2f} GB in memory, at most "
            f"{most / 1e9:.2f} GB: {most / kept:.2f} times"
        )
    if worst > LIMIT:
        sys.exit(f"more than {LIMIT} times what is kept")


if __name__ == "__main__":
    main()
