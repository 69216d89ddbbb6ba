"""A made-up family: what a file in models/families/ can say, and that it is obeyed."""

import sys
from dataclasses import replace
from functools import cache, partial
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import assert_same_bits
from support.folders import write_json
from support.strategies import normal

import fastattn as fa
from fastattn import nn
from fastattn.models import EncoderModel, families, read_model
from fastattn.models.families.family import (
    Architecture,
    Family,
    SameRows,
    affine,
    inside,
    read_sizes,
)
from fastattn.models.folder import Folder

HIDDEN, INNER, WORDS, PLACES, PAD = 8, 12, 20, 11, 1
BASES = (100.0, 10.0)
SETTINGS = {"gated": True, "norm_first": True, "bias": False}
IDS = np.array([[5, PAD, 7, 8], [9, 3, PAD, PAD]])
SIZES = {
    "vocab_size": ("words",),
    "hidden_size": ("width",),
    "max_positions": ("longest", 9),
}


def places(ids, positions, cu_seqlens):
    """Count the tokens that are not padding, as RoBERTa does."""
    real = ids != PAD
    counted = np.cumsum(real)
    before = np.concatenate([[0], counted])[cu_seqlens[:-1]]
    return (counted - np.repeat(before, np.diff(cu_seqlens))) * real + PAD


def read(settings):
    """Pre-norm layers with gates, each turned by a base of its own."""
    sizes = read_sizes(settings, SIZES)
    hidden = sizes["hidden_size"]
    layer = partial(nn.EncoderLayer, hidden, 2, INNER, **SETTINGS, init="zeros")
    weights = [
        *affine(["word_embeddings."], {"words": (sizes["vocab_size"], hidden)}, bias=False),
        *affine(["position_embeddings."], {"places": (PLACES, hidden)}, bias=False),
        *affine(["encoder.norm."], {"last": (hidden,)}),
    ]
    for i in range(len(BASES)):
        ours, theirs = f"encoder.layers.{i}.", f"block{i}."
        for keys, tensors in {
            ("self_attn.in_proj_",): dict.fromkeys("qkv", (hidden, hidden)),
            ("self_attn.out_proj.",): {"o": (hidden, hidden)},
            # The rows that are activated come last.
            ("up_proj.", "gate_proj."): {"wide": (2 * INNER, hidden)},
            ("down_proj.",): {"narrow": (hidden, INNER)},
            ("norm1.",): {"a": (hidden,)},
            ("norm2.",): {"b": (hidden,)},
        }.items():
            weights += affine(
                [ours + key for key in keys],
                {theirs + name: shape for name, shape in tensors.items()},
                bias=False,
            )
    return Architecture(
        vocab_size=sizes["vocab_size"],
        hidden_size=hidden,
        max_positions=sizes["max_positions"],
        position_ids=places,
        layers=[partial(layer, rotary=base) for base in BASES],
        final_norm=nn.LayerNorm,
        weights=weights,
    )


@pytest.fixture(autouse=True)
def family(monkeypatch):
    module = ModuleType("made_up")
    module.FAMILY = Family(
        read=read,
        prefixes=("outer.", "inner."),
        spellings={".old": ".weight"},
        unused=("head.",),
    )
    monkeypatch.setitem(families.MODULES, "made-up", "made_up")
    monkeypatch.setitem(sys.modules, f"{families.__name__}.made_up", module)
    return module


@pytest.fixture
def config():
    return {"model_type": "made-up", "words": WORDS, "width": HIDDEN}


@pytest.fixture
def tensors():
    shapes = {"words": (WORDS, HIDDEN), "places": (PLACES, HIDDEN), "last": (HIDDEN,)}
    for i in range(2):
        shapes |= {f"block{i}.{name}": (HIDDEN, HIDDEN) for name in "qkvo"}
        shapes |= {f"block{i}.{name}": (HIDDEN,) for name in "ab"}
        shapes |= {
            f"block{i}.wide": (2 * INNER, HIDDEN),
            f"block{i}.narrow": (HIDDEN, INNER),
        }
    tensors = {
        f"{name}.weight": normal(*shape, seed=i)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return tensors | {"last.bias": normal(HIDDEN, seed=99)}


def write(folder, config, tensors):
    write_json(folder / "config.json", config)
    save_file(tensors, folder / "model.safetensors")
    return Folder(folder)


@pytest.fixture
def model(tmp_path, config, tensors):
    return read_model(write(tmp_path, config, tensors))


def computed(tensors, ids, blocks=(0, 1), scale=1):
    """Compute the hidden states of one sequence with layers of fastattn.nn."""
    state = {name.removesuffix(".weight"): tensor for name, tensor in tensors.items()}
    x = state["words"][ids] + state["places"][places(ids, None, np.array([0, len(ids)]))]
    x = np.float32(scale) * x
    for i in blocks:
        of_block = {
            name.removeprefix(f"block{i}."): tensor for name, tensor in state.items()
        }
        layer = nn.EncoderLayer(HIDDEN, 2, INNER, **SETTINGS, rotary=BASES[i])
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": np.concatenate([of_block[k] for k in "qkv"]),
                "self_attn.out_proj.weight": of_block["o"],
                "up_proj.weight": of_block["wide"][:INNER],
                "gate_proj.weight": of_block["wide"][INNER:],
                "down_proj.weight": of_block["narrow"],
                "norm1.weight": of_block["a"],
                "norm2.weight": of_block["b"],
            }
        )
        x = layer(x)
    return fa.layer_norm(x, state["last"], state["last.bias"])


def test_all_that_it_says_is_obeyed(model, tensors):
    for ids, hidden in zip(IDS, model(IDS), strict=True):
        assert_same_bits(hidden, computed(tensors, ids))


def test_there_are_no_tables_that_it_does_not_speak_of(model):
    assert model.token_type_embeddings is None
    assert model.num_token_types == 0
    assert_same_bits(model(IDS, None, IDS), model(IDS))
    assert list(model.state_dict())[:3] == [
        "word_embeddings.weight",
        "position_embeddings.weight",
        "encoder.layers.0.self_attn.in_proj_weight",
    ]
    trace = fa.trace(model, IDS)
    assert list(trace) == ["embeddings", "positions", "embedding_sum", "output"]
    with pytest.raises(ValueError, match="this EncoderModel has no token_types"):
        fa.trace(model, IDS, names="token_types")


def test_sizes_are_checked_and_have_defaults(tmp_path, config, tensors):
    folder = write(tmp_path, config, tensors)
    assert read_model(folder).max_positions == 9
    write_json(tmp_path / "config.json", config | {"longest": 3})
    with pytest.raises(ValueError, match="at most 3 positions, got 4"):
        read_model(folder)(IDS)
    for wrong in ({"longest": 2**20 + 1}, {"words": 0}):
        write_json(tmp_path / "config.json", config | wrong)
        with pytest.raises(fa.ModelFormatError, match=f"{next(iter(wrong))} must be from"):
            read_model(folder)


def test_names_that_others_write(tmp_path, config, tensors, model):
    renamed = {
        f"outer.inner.{name}".replace(".weight", ".old"): tensor
        for name, tensor in tensors.items()
    }
    unused = {"head.weight": np.ones(1, np.float32)}
    other = read_model(write(tmp_path, config, renamed | unused))
    assert_same_bits(other(IDS), model(IDS))


def test_one_tensor_that_is_two_weights(model, tensors):
    state = model.state_dict()
    wide = [state[f"encoder.layers.1.{key}_proj.weight"] for key in ("up", "gate")]
    assert_same_bits(np.concatenate(wide), tensors["block1.wide.weight"])


def test_saved_under_its_own_names(tmp_path, model, tensors):
    model.save(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    assert written.keys() == tensors.keys()
    for name, tensor in written.items():
        assert_same_bits(tensor, tensors[name])


def test_one_layer_in_many_places(tmp_path, config, tensors, monkeypatch, family):
    def read_shared(settings):
        architecture = read(settings)
        return replace(
            architecture,
            layers=[cache(architecture.layers[0])] * 3,
            weights=[
                place
                for place in architecture.weights
                if "layers.1" not in place.weights[0]
            ],
        )

    once = {name: t for name, t in tensors.items() if not name.startswith("block1")}
    folder = write(tmp_path, config, once)
    monkeypatch.setattr(family, "FAMILY", replace(family.FAMILY, read=read_shared))
    model = read_model(folder)
    first, *others = model.encoder.layers
    assert [other is first for other in others] == [True, True]
    x = computed(once, IDS[0], blocks=[0, 0, 0])
    assert_same_bits(model(IDS)[0], x)


def test_a_variant_by_the_names_of_tensors(tmp_path, config, tensors, model, family):
    def read_swapped(settings):
        architecture = read(settings)
        return replace(architecture, weights=[swapped(p) for p in architecture.weights])

    def swapped(place):
        tensors = {name.replace(".a.", ".z."): t for name, t in place.tensors.items()}
        return replace(place, tensors=tensors)

    variant = Family(read=read_swapped)
    family.FAMILY = replace(family.FAMILY, variants={".z.weight": variant})
    assert_same_bits(read_model(write(tmp_path, config, tensors))(IDS), model(IDS))
    swapped_names = {name.replace(".a.", ".z."): t for name, t in tensors.items()}
    other = read_model(write(tmp_path, config, swapped_names))
    assert_same_bits(other(IDS), model(IDS))
    assert_same_bits(EncoderModel.from_weights(config, swapped_names)(IDS), model(IDS))
    other.save(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    assert written.keys() == swapped_names.keys()


def test_embeddings_are_scaled(tmp_path, config, tensors, family):
    def read_scaled(settings):
        return replace(read(settings), embedding_scale=7**0.5)

    family.FAMILY = replace(family.FAMILY, read=read_scaled)
    model = read_model(write(tmp_path, config, tensors))
    assert_same_bits(model(IDS)[0], computed(tensors, IDS[0], scale=7**0.5))
    trace = fa.trace(model, IDS)
    total = np.float32(7**0.5) * (trace["embeddings"] + trace["positions"])
    assert_same_bits(trace["embedding_sum"], total)


def test_weights_that_are_stored_as_less(tmp_path, config, tensors, family):
    def read_offset(settings):
        architecture = read(settings)
        return replace(architecture, weights=[of_norms(p) for p in architecture.weights])

    def of_norms(place):
        return replace(place, offset=1.0) if "norm1" in place.weights[0] else place

    family.FAMILY = replace(family.FAMILY, read=read_offset)
    norms = ("block0.a.weight", "block1.a.weight")
    # 1 is added exactly to numbers of so few digits.
    less = {name: np.float32(tensors[name].astype(np.float16)) for name in norms}
    model = read_model(write(tmp_path, config, tensors | less))
    more = {name: tensor + 1 for name, tensor in less.items()}
    assert_same_bits(model(IDS)[0], computed(tensors | more, IDS[0]))
    key = "encoder.layers.1.norm1.weight"
    assert_same_bits(model.state_dict()[key], more["block1.a.weight"])
    model.save(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    for name in norms:
        assert_same_bits(written[name], less[name])


def test_every_family_there_is_can_be_imported():
    for name in set(families.MODULES.values()):
        module = families.import_module(f".{name}", families.__name__)
        assert isinstance(module.FAMILY, Family)


def test_affine():
    assert list(affine(["a.", "b."], {"c": (4, 3)})) == [
        SameRows(("a.weight", "b.weight"), {"c.weight": (4, 3)}),
        SameRows(("a.bias", "b.bias"), {"c.bias": (4,)}),
    ]


def test_inside():
    assert list(inside("a.", "b.", affine(["c."], {"d": (4,), "e": (4,)}, bias=False))) == [
        SameRows(("a.c.weight",), {"b.d.weight": (4,), "b.e.weight": (4,)})
    ]
