"""Make the fixtures of the tests of static models: what sentence-transformers computes.

Needs torch==2.13.0, transformers==5.24.0 and sentence-transformers==6.2.0; the tests
themselves need none of them. Run as

    python tests/make_static_fixtures.py

It writes, beside itself,

data/static.zip
    NAME/: a folder of a static model, as sentence-transformers writes it, or with the
    tensors and the modules.json that model2vec writes.
data/static.npz
    The texts, and for each NAME what sentence-transformers makes of them in float64 and,
    as NAME.float32, in float32.

Everything random comes from seeds; the tokenizer is that of data/tiny_bert.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

DATA = Path(__file__).parent / "data"
TOKENIZER = str(DATA / "tiny_bert" / "tokenizer.json")
DIM = 13

TEXTS = (
    "the cat",
    "a dog is under the sky, and it is red",
    "",
    "x",
    " \t",
    "Der Käse über dem Fluß; 狐 and Быстрая",
    "the sun: the sun",
    "[CLS] and [SEP]",
    # Nothing cuts it.
    "run and jump " * 400,
)
PROMPT = "the sun: "


def tokenizer(cut: int | None = None) -> Tokenizer:
    """Read the tokenizer, which may cut."""
    found = Tokenizer.from_file(TOKENIZER)
    found.no_truncation()
    if cut is not None:
        found.enable_truncation(cut, direction="left")
    return found


def table(rows: int, seed: int = 1) -> np.ndarray:
    """Draw a table."""
    return np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)


def write_sentence_transformers(folder: Path) -> None:
    """Write the folders that sentence-transformers writes."""
    rows = tokenizer().get_vocab_size()
    normalized = [StaticEmbedding(tokenizer(), table(rows)), Normalize()]
    chains = {
        "plain": ([StaticEmbedding(tokenizer(), table(rows))], {}),
        "normalized": (normalized, {"similarity_fn_name": "dot"}),
        "prompt": (
            [StaticEmbedding(tokenizer(), table(rows))],
            {"prompts": {"query": PROMPT}, "default_prompt_name": "query"},
        ),
        "dense": ([StaticEmbedding(tokenizer(), table(rows)), Dense(DIM, 5)], {}),
        "cut": ([StaticEmbedding(tokenizer(cut=3), table(rows))], {}),
    }
    for name, (modules, options) in chains.items():
        model = SentenceTransformer(modules=modules, device="cpu", **options)
        model.save(str(folder / name), create_model_card=False)


def write_model2vec(folder: Path) -> None:
    """Write folders as model2vec writes them."""
    rows, shared = tokenizer().get_vocab_size(), 19
    generator = np.random.default_rng(2)
    mapping = {"mapping": generator.integers(shared, size=rows)}
    weights = {"weights": generator.uniform(0.5, 2, rows).astype(np.float32)}
    cases = {
        "half": {"embeddings": table(rows).astype(np.float16)},
        "weighted": {"embeddings": table(rows)} | weights,
        "mapped": {"embeddings": table(shared)} | mapping,
        "mapped_and_weighted": {"embeddings": table(shared)} | mapping | weights,
    }
    listed = {".": "StaticEmbedding", "1_Normalize": "Normalize"}
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": f"sentence_transformers.models.{k}",
        }
        for i, (path, k) in enumerate(listed.items())
    ]
    config = {"model_type": "model2vec", "architectures": ["StaticModel"]}
    config |= {"hidden_dim": DIM, "seq_length": 1000000, "normalize": True}
    for name, tensors in cases.items():
        (folder / name).mkdir()
        save_file(tensors, folder / name / "model.safetensors")
        tokenizer().save(str(folder / name / "tokenizer.json"))
        (folder / name / "config.json").write_text(json.dumps(config))
        (folder / name / "modules.json").write_text(json.dumps(modules))


def files(folder: Path) -> Iterator[Path]:
    """List the files of all models."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main() -> None:
    arrays = {"texts": np.array(TEXTS)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_sentence_transformers(folder)
        write_model2vec(folder)
        with ZipFile(DATA / "static.zip", "w", ZIP_DEFLATED) as archive:
            for path in files(folder):
                # With a date that is always the same, so that the bytes are.
                entry = ZipInfo(str(path.relative_to(folder)))
                archive.writestr(entry, path.read_bytes(), ZIP_DEFLATED)
        for path in sorted(folder.iterdir()):
            model = SentenceTransformer(str(path), device="cpu").float()
            arrays[f"{path.name}.float32"] = model.encode(list(TEXTS))
            arrays[path.name] = model.double().encode(list(TEXTS))
            assert arrays[path.name].dtype == np.float64
    np.savez_compressed(DATA / "static.npz", **arrays)


if __name__ == "__main__":
    main()
