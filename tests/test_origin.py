"""Models that pickle by name: what they are then, and when they do not."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import DATA, TINY, change_json, change_tensors

import fastattn as fa

TEXTS = ["the cat", "a dog and the sun"]
FOLDERS = [TINY, DATA / "cross" / "mpnet", DATA / "sparse" / "weights"]

# Of a whole model, the smallest takes more.
BY_NAME = 1_000


def compute(model, texts=TEXTS):
    """Give what a model computes, as an array."""
    if isinstance(model, fa.CrossEncoder):
        return model.predict([(text, "a red sun") for text in texts])
    found = model.encode(texts, on_truncation="ignore")
    return found.toarray() if isinstance(model, fa.SparseEncoder) else found


def again(model):
    return pickle.loads(pickle.dumps(model))


@pytest.fixture
def loaded(folder):
    """Load the tiny model from a folder of its own."""
    return fa.load(folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
@pytest.mark.parametrize("options", [{}, {"compute": "int8"}, {"weights": "float16"}])
def test_what_is_as_loaded_pickles_by_name(folder, options):
    model = fa.load(folder, **options)
    expected = compute(model)  # which is no change
    pickled = pickle.dumps(model)
    assert len(pickled) < BY_NAME
    twin = pickle.loads(pickled)
    assert type(twin) is type(model)
    assert (twin.model.compute, twin.nbytes) == (model.model.compute, model.nbytes)
    assert_same_bits(compute(twin), expected)
    assert pickle.dumps(twin) == pickled


def test_other_processes(model):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert_same_bits(pool.submit(compute, model).result(), compute(model))


def test_settings_are_kept(loaded):
    loaded.max_length = 9
    loaded.prompts["query"] = "find "
    loaded.prompt, loaded.similarity_fn_name, loaded.truncate_dim = "one ", "dot", 7
    loaded.note = "of the user"
    assert len(pickle.dumps(loaded)) < BY_NAME
    twin = again(loaded)
    for name in ("max_length", "prompts", "prompt", "similarity_fn_name", "truncate_dim"):
        assert getattr(twin, name) == getattr(loaded, name)
    assert twin.note == "of the user"
    long = ["the cat " * 9]
    assert_same_bits(compute(twin, long), compute(loaded, long))
    assert_same_bits(twin.encode_query("a cat"), loaded.encode_query("a cat"))


def with_other_weights(model):
    state = model.model.state_dict()
    key = next(key for key in state if key.endswith("linear1.weight"))
    model.model.load_state_dict(state | {key: state[key] * 2})


def with_another_encoder(model):
    other = fa.load(TINY)
    with_other_weights(other)
    model.model.encoder = other.model.encoder


def with_a_norm_that_is_written_to(model):
    weight = model.model.embedding_norm.weight
    weight.flags.writeable = True
    weight[:] *= 2


def with_an_attribute(model):
    model.model.embedding_norm.eps = 0.5


def with_a_prompt_that_counts(model):
    model.modules.include_prompt = False


def with_an_added_token(model):
    model.tokenizer.add_tokens(["catdog"])


def with_another_unknown_word(model):
    model.tokenizer.model.unk_token = "the"


CHANGES = [
    with_other_weights,
    with_another_encoder,
    with_a_norm_that_is_written_to,
    with_an_attribute,
    with_a_prompt_that_counts,
    with_an_added_token,
    with_another_unknown_word,
    lambda model: model.model.compute_in("int8"),
    lambda model: model.model.store_weights_as("float16"),
    lambda model: model.model.encoder.layers[0].store_weights_as("int8"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_changed_pickles_whole(loaded, change):
    pickle.dumps(loaded)  # what it keeps is about what it was
    change(loaded)
    pickled = pickle.dumps(loaded)
    assert len(pickled) > 10 * BY_NAME
    twin = pickle.loads(pickled)
    assert_same_bits(compute(twin), compute(loaded))
    assert twin._fingerprint() == loaded._fingerprint()
    assert len(pickle.dumps(twin)) > 10 * BY_NAME


def test_what_was_made_of_parts_pickles_whole(model):
    parts = model.model, model.tokenizer, model.special_tokens
    made = fa.TextEncoder(*parts, modules=model.modules, prompt="", prompts={})
    assert len(pickle.dumps(made)) > 10 * BY_NAME
    assert_same_bits(compute(again(made)), compute(model))


def other_weights(folder):
    change_tensors(folder, lambda tensors: {key: 2 * t for key, t in tensors.items()})


def other_settings(folder):
    change_json(folder / "config.json", layer_norm_eps=0.5)


def other_words(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"cat"', '"cow"'))


@pytest.mark.parametrize("change", [other_weights, other_settings, other_words])
def test_a_folder_that_is_different(loaded, folder, change):
    pickled = pickle.dumps(loaded)
    change(folder)
    with pytest.raises(ValueError, match=f"{folder}: on .* it is another model than"):
        pickle.loads(pickled)


def test_a_folder_that_is_missing(loaded, folder):
    pickled = pickle.dumps(loaded)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(FileNotFoundError, match=rf"no such folder: {folder} \(a pickled"):
        pickle.loads(pickled)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies(loaded, folder, duplicate):
    loaded.max_length = 9
    pickled = pickle.dumps(loaded)
    folder.rename(folder.with_name("moved"))  # which none of them reads
    twin = duplicate(loaded)
    assert_same_bits(compute(twin), compute(loaded))
    assert pickle.dumps(twin) == pickled
    twin.max_length = 4
    assert loaded.max_length == 9
    with_other_weights(twin)
    changed = np.any(compute(loaded) != compute(fa.load(TINY)))
    assert changed == (duplicate is copy.copy)
    assert len(pickle.dumps(twin)) > 10 * BY_NAME
