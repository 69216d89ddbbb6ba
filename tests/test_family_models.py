"""What holds for the models of every family, against what transformers computes.

The folders are those of make_family_fixtures.py: who adds a family adds its folder there,
and what its config.json may not say to `REFUSED` below.
"""

import json
import pickle
from itertools import islice
from shutil import copyfile

import numpy as np
import pytest
from damage import flips
from safetensors.numpy import load_file
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, change_json, change_tensors, copy_tiny

import fastattn as fa
from fastattn._packed import FORMATS
from fastattn.models import EncoderModel, read_model
from fastattn.models.checkpoint import Settings
from fastattn.models.families import MODULES, family_of
from fastattn.models.families.family import names_in
from fastattn.models.folder import Folder

FAMILIES = DATA / "families"
NAMES = sorted(path.name for path in FAMILIES.iterdir() if path.is_dir())

# Fields that change numbers and are refused where they have such values, by family.
REFUSED = {
    "albert": {
        "embedding_size": 0,
        "hidden_act": "mish",
        "inner_group_num": 205,
        "num_hidden_groups": 6,
    },
    "camembert": {"hidden_act": "mish", "pad_token_id": -1},
    "deberta": {
        "attention_head_size": 6,
        "conv_kernel_size": 3,
        "embedding_size": 16,
        "hidden_act": "mish",
        "hidden_size": 25,
        "is_decoder": True,
        "max_relative_positions": 2**21,
        "norm_rel_ebd": "batch_norm",
        "pos_att_type": "p2c|p2p",
        "position_biased_input": 1,
        "position_buckets": 1,
        "relative_attention": "yes",
        "share_att_key": 0,
        "z_steps": 2,
    },
    "deberta_separate": {
        "pos_att_type": [],
        "position_buckets": 300,
        "type_vocab_size": -1,
    },
    "distilbert": {"activation": "mish"},
    "electra": {"hidden_act": "mish", "embedding_size": 0, "is_decoder": True},
    "mpnet": {
        "hidden_act": "mish",
        "pad_token_id": 0,
        "relative_attention_num_buckets": 16,
    },
    "eurobert": {
        "head_dim": 5,
        "hidden_size": 25,
        "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "llama3", "factor": 8.0},
    },
    "gemma3": {
        "attn_logit_softcapping": 50.0,
        "hidden_activation": "mish",
        "is_causal": False,
        "layer_types": ["full_attention"],
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "gte": {
        "hidden_act": "mish",
        "layer_norm_type": "rms_norm",
        "logn_attention_clip1": True,
        "logn_attention_scale": True,
        "pack_qkv": False,
        "position_embedding_type": "absolute",
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    },
    "jina_v3": {"hidden_act": "mish", "rope_parameters": {"rope_type": "yarn"}},
    "modernbert": {
        "hidden_activation": "mish",
        "hidden_size": 25,
        "layer_types": ["full_attention"],
        "partial_rotary_factor": 0.5,
        "rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 4.0}},
        "rope_scaling": {"type": "dynamic", "factor": 4.0},
    },
    "nomic_bert": {
        "hidden_act": "mish",
        "rope_parameters": {"rope_type": "dynamic", "factor": 2.0},
    },
    "qwen3": {
        "hidden_act": "mish",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
        "use_sliding_window": "yes",
    },
    "qwen3_windows": {"use_sliding_window": False},
    "roberta": {
        "hidden_act": "mish",
        "is_decoder": True,
        "pad_token_id": 26,
        "position_embedding_type": "relative_key",
    },
    "t5": {
        "d_kv": 0,
        "dense_act_fn": "gelu",
        "feed_forward_proj": "gated-mish",
        "is_decoder": True,
        "is_gated_act": True,
        "relative_attention_max_distance": 8,
        "relative_attention_num_buckets": 3,
    },
    "xlm_roberta": {"hidden_act": "mish", "position_embedding_type": "rotary"},
}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def folder(name):
    return FAMILIES / name


@pytest.fixture
def model(folder):
    return read_model(Folder(folder))


@pytest.fixture
def expected(name):
    with np.load(FAMILIES / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def inputs(expected):
    given = ("input_ids", "attention_mask", "token_type_ids")
    return {name: expected[name] for name in given if name in expected}


def stored(folder):
    return json.loads((folder / "config.json").read_text())


def test_every_family_has_fixtures():
    modules = {MODULES[stored(FAMILIES / name)["model_type"]] for name in NAMES}
    assert modules | {"bert"} == {*MODULES.values()}


def test_hidden_states(model, inputs, expected, isa):
    results = {np.float64: expected["float64"], np.float32: expected["float32"]}
    assert_accurate(model(**inputs), results.__getitem__)


def test_threads(model, inputs):
    hidden = {}
    for threads in (1, 2, 3):
        with fa.num_threads(threads):
            hidden[threads] = model(**inputs)
    assert_same_bits(hidden[2], hidden[1])
    assert_same_bits(hidden[3], hidden[1])


def test_alone_and_in_a_padded_batch(model, inputs):
    batch = model(**inputs)
    for row, length in enumerate(inputs["attention_mask"].sum(axis=1)):
        alone = {name: array[row : row + 1, :length] for name, array in inputs.items()}
        assert_same_bits(model(**alone)[0], batch[row, :length])
        assert not batch[row, length:].any()


@pytest.mark.parametrize("name", ["camembert", "mpnet", "roberta", "xlm_roberta"])
def test_positions_count_what_a_mask_hides(model):
    """By ids, as transformers counts them: only the id of padding stands nowhere."""
    padding = model.config.get("pad_token_id", 1)
    ids = np.array([[5, padding, 6, 7, 8, 9], [5, 6, 7, 8, padding, padding]])
    mask = np.array([[0, 0, 1, 0, 1, 1], [1, 0, 1, 1, 1, 0]])
    rows = padding + np.array([[1, 0, 2, 3, 4, 5], [1, 2, 3, 4, 0, 0]])
    positions = fa.trace(model, ids, mask, names="positions")["positions"]
    expected = model.position_embeddings.weight[rows]
    assert_same_bits(positions, np.where(mask[..., None], expected, np.float32(0)))


def test_of_weights_in_memory(model, folder, inputs):
    tensors = load_file(folder / "model.safetensors")
    other = EncoderModel.from_weights(stored(folder), tensors)
    assert_same_bits(other(**inputs), model(**inputs))


def test_names_of_a_model_with_heads(model, folder, inputs):
    """They have a prefix, and there are tensors that take no part."""
    tensors = load_file(folder / "model.safetensors")
    family = family_of(Settings(folder, stored(folder))).with_tensors(tensors)
    heads = {f"{name}weight" for name in family.unused} - tensors.keys()
    heads = dict.fromkeys(heads, np.ones(1, np.float32))
    expected = model(**inputs)
    for prefix in ("", *family.prefixes):
        renamed = {prefix + name: tensor for name, tensor in tensors.items()}
        other = EncoderModel.from_weights(stored(folder), renamed | heads)
        assert_same_bits(other(**inputs), expected)


def test_saved_under_the_names_of_the_file(model, folder, inputs, tmp_path):
    model.save(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    read = load_file(folder / "model.safetensors")
    family = family_of(Settings.read(Folder(folder), "config.json")).with_tensors(read)
    taken = names_in(model._places)
    assert written.keys() == {name for name in read if family.name_of(name, taken)}
    for name, tensor in written.items():
        assert_same_bits(tensor, read[name])
    assert_same_bits(read_model(Folder(tmp_path / "saved"))(**inputs), model(**inputs))


@pytest.mark.parametrize("weights", FORMATS)
def test_narrow_weights(model, folder, inputs, weights):
    narrow = read_model(Folder(folder), weights)
    assert weights == "float32" or narrow.nbytes < model.nbytes
    model.load_state_dict(narrow.state_dict())
    assert_same_bits(narrow(**inputs), model(**inputs))


def test_int8_has_the_same_bits_in_every_batch(model, inputs):
    expected = model(**inputs)
    model.compute_in("int8")
    batch = model(**inputs)
    lengths = inputs["attention_mask"].sum(axis=1)
    for row, length in enumerate(lengths):
        alone = {name: array[row : row + 1, :length] for name, array in inputs.items()}
        assert_same_bits(model(**alone)[0], batch[row, :length])
        assert (batch[row, :length] != expected[row, :length]).any()
    with fa.num_threads(3):
        assert_same_bits(model(**inputs), batch)
    assert_same_bits(pickle.loads(pickle.dumps(model))(**inputs), batch)


def test_weights_that_are_replaced(model, inputs, tmp_path):
    before = model(**inputs)
    model.load_state_dict({key: 1.5 * w for key, w in model.state_dict().items()})
    model.save(tmp_path / "saved")
    saved = read_model(Folder(tmp_path / "saved"))
    assert (saved(**inputs) != before).any()
    assert_same_bits(model(**inputs), saved(**inputs))


def test_pickle(model, inputs):
    assert_same_bits(pickle.loads(pickle.dumps(model))(**inputs), model(**inputs))


def test_trace(model, inputs):
    trace = fa.trace(model, *inputs.values())
    assert_same_bits(trace["output"], model(**inputs))
    assert len(trace.layers) == len(model.encoder.layers)
    output = trace.layers[-1]["output"]
    assert model.encoder.norm is not None or (output == trace["output"]).all()


def test_longer_than_the_positions(model):
    # What knows distances alone, T5, takes more than there is memory for.
    if model.max_positions < 1000:
        longest = model(np.full((1, model.max_positions), 2))
        assert np.isfinite(longest).all()
        with pytest.raises(ValueError, match=f"at most {model.max_positions} positions"):
            model(np.full((1, model.max_positions + 1), 2))


def test_tables_that_are_not_narrow(tmp_path):
    """An ELECTRA whose tables are as wide as its layers is a BERT."""
    copy = copy_tiny(tmp_path)
    bert = read_model(Folder(copy))
    change_json(copy / "config.json", model_type="electra", embedding_size=32)
    change_tensors(
        copy, lambda stored: {n: t for n, t in stored.items() if not n.startswith("pooler")}
    )
    electra = read_model(Folder(copy))
    assert electra.embedding_projection is None
    assert_same_bits(electra([[2, 7, 3]]), bert([[2, 7, 3]]))


def test_damaged_settings(folder, tmp_path):
    """Every 15th byte of config.json: what is still a model is read, or it is refused."""
    content = (folder / "config.json").read_bytes()
    copyfile(folder / "model.safetensors", tmp_path / "model.safetensors")
    outcomes = set()
    for damaged in islice(flips(content, len(content)), 0, None, 15):
        (tmp_path / "config.json").write_bytes(damaged)
        try:
            read_model(Folder(tmp_path))
            outcomes.add("read")
        except fa.ModelFormatError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in REFUSED for field in REFUSED[name]]
)
def test_what_would_change_numbers_is_refused(folder, name, field, tmp_path):
    changed = tmp_path / "config.json"
    changed.write_text(json.dumps(stored(folder) | {field: REFUSED[name][field]}))
    with pytest.raises(fa.ModelFormatError, match=rf"config\.json: {field}[ :]"):
        read_model(Folder(tmp_path))
