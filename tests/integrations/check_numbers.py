"""Every keyword of the methods that compute, beside the real classes on our folders."""

import inspect

import pytest
import sentence_transformers as real
from side_by_side import DATA, EXACT, FOLDERS, PLAIN, TEXTS, assert_like

from fastattn.integrations import sentence_transformers as ours

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


def folders(name, *others):
    found = sorted(path.parent for path in (DATA / name).glob("*/config.json"))
    return [*others, *found]


@pytest.fixture(scope="module")
def models():
    prompts = {"query": "the ", "document": "a "}
    return {kind: three(kind, folder, prompts=prompts) for kind, folder in FOLDERS.items()}


@pytest.mark.parametrize(("kind", "method", "keywords"), CALLS)
def test_keyword(models, kind, method, keywords):
    inputs = PAIRS if kind == "CrossEncoder" else TEXTS
    for given in (inputs, inputs[0]):
        if keywords.get("precision") in ("int8", "uint8") and given is not inputs:
            continue  # one vector has no ranges
        assert_like(*(getattr(m, method)(given, **keywords) for m in models[kind]))


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


# What needs code of the model's own is not loaded by the real classes without running it.
@pytest.mark.parametrize(
    "folder", folders("families", DATA / "tiny_bert"), ids=lambda p: p.name
)
def test_dense_folder(folder):
    compare_folder("SentenceTransformer", folder, "encode", TEXTS)


@pytest.mark.parametrize("folder", folders("cross"), ids=lambda path: path.name)
def test_cross_folder(folder):
    compare_folder("CrossEncoder", folder, "predict", PAIRS)


@pytest.mark.parametrize("folder", folders("sparse"), ids=lambda path: path.name)
def test_sparse_folder(folder):
    compare_folder("SparseEncoder", folder, "encode", TEXTS)


def compare_folder(kind, folder, method, inputs):
    try:
        models = three(kind, folder, local_files_only=True)
        expected = [getattr(model, method)(inputs) for model in models[1:]]
    except Exception as error:
        if not (folder / "tokenizer.json").exists():
            pytest.skip("no tokenizer")
        pytest.skip(f"the real class: {type(error).__name__}: {str(error)[:100]}")
    assert_like(getattr(models[0], method)(inputs), *expected)
