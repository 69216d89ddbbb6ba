"""ONNX's Attention (opset 25) as ONNX Runtime computes it: an oracle beside our own."""

import dataclasses
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

from support import attention_calls
from support.attention_calls import Array, Call

INPUTS = ["query", "key", "value", "mask", "past_key", "past_value", "key_lengths"]


def draw(seed: int, index: int) -> Call:
    """Draw a call and leave out what the operator has no word for."""
    call = attention_calls.draw(seed, index)
    if not (call.query.size and call.key.size):  # which ONNX Runtime refuses
        return draw(seed + 1, index)
    query, key, value = (clean(x) for x in call.operands(np.float32))
    while query.ndim != 4:
        join = query.ndim > 4
        query, key, value = (x[0] if join else x[None] for x in (query, key, value))
    keywords = {
        name: call.keywords[name]
        for name in ("causal", "window", "softcap", "scale")
        if name in call.keywords
    }
    # It multiplies query and key by the root of the scale, in float32: exact for these.
    keywords["scale"] = 0.25 if keywords.get("scale", 1) != 1.0 else 1.0
    seqlen_q, seqlen_k = query.shape[-2], key.shape[-2]
    if "key_lengths" in call.keywords:
        lengths = np.resize(call.keywords["key_lengths"], len(query))
        # With lengths, the last query stands at the last key.
        keywords |= {"key_lengths": lengths, "query_offset": lengths - seqlen_q}
    else:
        # The cache of a call is what stands in front of its first query.
        keywords["query_offset"] = int(np.random.default_rng(index).integers(seqlen_k))
    mask = call.mask
    if mask is not None:
        while mask.ndim > 4:
            mask = mask[0]
        try:
            np.broadcast_to(mask, (*query.shape[:-1], seqlen_k))
        except ValueError:
            mask = None
    return dataclasses.replace(
        call, query=query, key=key, value=value, mask=mask, keywords=keywords
    )


def clean(x: Array) -> Array:
    """Without NaN and infinities, which reach everything there where they are hidden."""
    return np.where(np.isfinite(x), x, np.float32(0))


def attention(call: Call) -> Array:
    """Return the output of a one-node model in float64."""
    query, key, value = call.operands(np.float64)
    keywords = dict(call.keywords)
    attributes: dict[str, Any] = {"scale": keywords["scale"]}
    attributes["is_causal"] = int(keywords.get("causal", False))
    attributes["softcap"] = keywords.get("softcap", 0.0)
    left, right = keywords.get("window", (None, None))
    attributes["left_window_size"] = -1 if left is None else left
    attributes["right_window_size"] = -1 if right is None else right
    feeds = {"query": query, "key": key, "value": value}
    if call.mask is not None:
        mask = np.broadcast_to(call.mask, (*query.shape[:-1], key.shape[-2]))
        feeds["mask"] = mask if mask.dtype == bool else mask.astype(np.float64)
    if "key_lengths" in keywords:
        feeds["key_lengths"] = keywords["key_lengths"].astype(np.int64)
    elif past := keywords["query_offset"]:
        feeds |= {"past_key": key[:, :, :past], "past_value": value[:, :, :past]}
        feeds |= {"key": key[:, :, past:], "value": value[:, :, past:]}
    return run({name: np.ascontiguousarray(x) for name, x in feeds.items()}, attributes)


def run(feeds: dict[str, Array], attributes: dict[str, Any]) -> Array:
    """Build the model of one Attention node and run it."""
    outputs = ["out"]
    if "past_key" in feeds:
        outputs += ["present_key", "present_value"]
    names = [name if name in feeds else "" for name in INPUTS]
    node = helper.make_node("Attention", names, outputs, **attributes)
    types = {n: helper.np_dtype_to_tensor_dtype(x.dtype) for n, x in feeds.items()}
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(n, types[n], x.shape) for n, x in feeds.items()],
        [helper.make_tensor_value_info(n, types["query"], None) for n in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: Array = session.run(["out"], feeds)[0]
    return result
