"""Every keyword of the methods that compute, beside the real classes on our folders."""

import inspect

import numpy as np
import pytest
import sentence_transformers as real
import test_modules
import test_static
from side_by_side import DATA, EXACT, FOLDERS, PLAIN, TEXTS, assert_like

from fastattn.integrations import sentence_transformers as ours
from fastattn.integrations.sentence_transformers.tensors import is_tensor

PAIRS = [[a, b] for a in TEXTS[:3] for b in TEXTS]

# Values for every keyword of encode and predict: one that is not here fails.
COMMON = {
    "inputs": [],
    "prompt_name": ["query"],
    "prompt": ["the "],
    "batch_size": [1],
    "show_progress_bar": [False],
    "device": ["cpu"],
    "pool": [None],
    "chunk_size": [2],
    "kwargs": [],
}
VALUES = {
    "SentenceTransformer": COMMON
    | {
        "output_value": ["sentence_embedding", "token_embeddings"],
        "precision": ["float32", "int8", "uint8", "binary", "ubinary"],
        "convert_to_numpy": [True, False],
        "convert_to_tensor": [True],
        "normalize_embeddings": [True, False],
        "truncate_dim": [3, 10**6],
    },
    "SparseEncoder": COMMON
    | {
        "convert_to_tensor": [True, False],
        "convert_to_sparse_tensor": [True, False],
        "save_to_cpu": [True],
        "max_active_dims": [3],
    },
    "CrossEncoder": COMMON
    | {
        "activation_fn": [real.cross_encoder.model.nn.Tanh()],
        "apply_softmax": [True],
        "convert_to_numpy": [True, False],
        "convert_to_tensor": [True],
    },
}
METHODS = {
    "SentenceTransformer": ("encode", "encode_query", "encode_document"),
    "SparseEncoder": ("encode", "encode_query", "encode_document"),
    "CrossEncoder": ("predict",),
}
CALLS = [
    (kind, method, {name: value})
    for kind, methods in METHODS.items()
    for method in methods
    for name in inspect.signature(getattr(getattr(real, kind), method)).parameters
    if name != "self"
    for value in VALUES[kind][name]
]


def three(kind, folder, **options):
    """Load a folder into our class, and into the real one in both precisions."""
    classes = (getattr(each, kind) for each in (ours, PLAIN, EXACT))
    return [load(str(folder), **options) for load in classes]


def folders(name):
    return sorted(path.parent for path in (DATA / name).glob("*/tokenizer.json"))


@pytest.fixture(scope="module")
def models():
    prompts = {"query": "the ", "document": "a "}
    return {kind: three(kind, folder, prompts=prompts) for kind, folder in FOLDERS.items()}


@pytest.mark.parametrize(("kind", "method", "keywords"), CALLS)
def test_keyword(models, kind, method, keywords):
    inputs = PAIRS if kind == "CrossEncoder" else TEXTS
    results = [getattr(model, method)(inputs, **keywords) for model in models[kind]]
    assert_like(*results)
    if keywords.get("precision") not in ("int8", "uint8"):  # one vector has no ranges
        found, plain, _ = (getattr(m, method)(inputs[0], **keywords) for m in models[kind])
        assert type(found) is type(plain)
        assert found.shape == plain.shape
        first = results[0][0]
        dense = [x.to_dense().numpy() if is_tensor(x) else x for x in (found, first)]
        np.testing.assert_array_equal(*dense)


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
@pytest.mark.parametrize("kind", ["SentenceTransformer", "SparseEncoder"])
def test_similarity(models, kind, name):
    results = []
    for model in models[kind]:
        model.similarity_fn_name = name
        vectors = model.encode(TEXTS, convert_to_tensor=True)
        dense = vectors.to_dense()
        results.append(
            (model.similarity(vectors, vectors), model.similarity_pairwise(dense, dense))
        )
    assert_like(*results)


def test_rank(models):
    assert_like(
        *(m.rank(TEXTS[0], TEXTS, return_documents=True) for m in models["CrossEncoder"])
    )


def test_search_and_pairs(models):
    found = []
    libraries = ours, PLAIN, EXACT
    for library, model in zip(libraries, models["SentenceTransformer"], strict=True):
        util, vectors = library.util, model.encode(TEXTS, convert_to_tensor=True)
        result = {
            "search": util.semantic_search(vectors, vectors, top_k=3),
            "groups": util.community_detection(vectors, 0.5, min_community_size=2),
            "pairs": util.paraphrase_mining(model, TEXTS, top_k=2),
        }
        found.append(result)
    assert_like(*found)


@pytest.mark.parametrize("folder", folders("families"), ids=lambda path: path.name)
def test_dense_folder(folder):
    compare_folder("SentenceTransformer", folder, "encode", TEXTS)


@pytest.mark.parametrize("name", test_modules.NAMES)
def test_chain_of_modules(name, tmp_path):
    folder = test_modules.folder_of(name, tmp_path)
    compare_folder("SentenceTransformer", folder, "encode", TEXTS, prompt="the ")


@pytest.mark.parametrize("name", test_static.NAMES)
def test_static_folder(name, tmp_path):
    folder = test_static.folder_of(name, tmp_path)
    compare_folder("SentenceTransformer", folder, "encode", test_static.TEXTS)


@pytest.mark.parametrize("folder", folders("cross"), ids=lambda path: path.name)
def test_cross_folder(folder):
    compare_folder("CrossEncoder", folder, "predict", PAIRS)


@pytest.mark.parametrize("folder", folders("sparse"), ids=lambda path: path.name)
def test_sparse_folder(folder):
    compare_folder("SparseEncoder", folder, "encode", TEXTS)


def compare_folder(kind, folder, method, inputs, **keywords):
    models = three(kind, folder, local_files_only=True)
    assert_like(*(getattr(model, method)(inputs, **keywords) for model in models))
