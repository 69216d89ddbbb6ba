"""The comparison with peers: what stands between the times and the tables."""

import sys

import numpy as np
import pytest
from support.processes import ROOT

# Behind everything else: fastattn stays the installed one.
sys.path.append(str(ROOT))

import fastattn as fa
from benchmarks.compare.cases import ATTENTION_SHAPES, Case, all_cases, attention_case
from benchmarks.compare.inputs import (
    attention_arrays,
    attention_keywords,
    dense_mask,
    rerank_texts,
)
from benchmarks.compare.models import MODELS, WINDOWED, model_flops
from benchmarks.compare.peers import Settings, Unsupported
from benchmarks.compare.peers.fastattn import Fastattn
from benchmarks.compare.results import Results
from benchmarks.compare.runner import Disagreement, check_agreement
from benchmarks.compare.targets import Outcome, times_peer

CASE = Case("attention", "attention", (1, 2, 40, 8))


def test_a_peer_that_disagrees_is_an_error_that_names_it():
    ours = np.linspace(-2, 2, 10, dtype=np.float32)
    check_agreement(CASE, {"fastattn": ours, "torch": ours + np.float32(1e-4)})
    for theirs in ours + np.float32(1e-3), ours * np.float32(np.nan), ours[:9]:
        with pytest.raises(Disagreement, match="torch"):
            check_agreement(CASE, {"fastattn": ours, "torch": theirs})


@pytest.mark.parametrize("option", ["key_lengths", "causal", "window", "alibi_slopes"])
def test_peers_get_a_mask_that_means_the_same(option):
    case = CASE._replace(option=option)
    query, key, value = attention_arrays(case)
    ours = fa.attention(query, key, value, **attention_keywords(case))
    theirs = fa.attention(query, key, value, dense_mask(case))
    check_agreement(case, {"keywords": ours, "mask": theirs})


def test_the_shortest_time_counts_and_the_best_peer_is_compared_with():
    first, second = (attention_case(shape, "") for shape in ATTENTION_SHAPES[:2])
    results = Results([1, 2])
    for peer, seconds in (
        ("fastattn", 2.0),
        ("fastattn", 1.0),
        ("torch", 4.0),
        ("NumPy", 9.0),
    ):
        results.add(first, peer, 2, seconds)
    for peer, seconds in ("fastattn", 1.0), ("torch", 1.0):
        results.add(second, peer, 2, seconds)
    mean = times_peer(results, "", 1.9, results.cases("attention"), mean=True)
    assert mean.values == pytest.approx({"geometric mean": 2.0})
    assert mean.met() == 1
    each = times_peer(results, "", 1.9, results.cases("attention"))
    assert each.worst() == (str(second), 1.0)
    assert each.met() == 1
    assert Outcome("", "", 3.0, each.values, at_most=True).worst() == (str(first), 4.0)


def test_models_without_weights_are_left_out(tmp_path):
    fastattn = Fastattn(Settings(fa.get_num_threads(), "", str(tmp_path)))
    cases = [case for case in all_cases() if case.group in ("models", "ragged")]
    assert {case.option for case in cases} < set(MODELS)
    for case in cases:
        with pytest.raises(Unsupported, match="weights"):
            getattr(fastattn, case.operation)(case)


def test_what_windows_hide_is_no_work():
    whole = [model_flops("BERT base", 1, length) for length in (512, 1024)]
    assert whole[1] > 2 * whole[0]
    # Eight layers of 22 see twice as many keys, at four operations for each of 768 numbers.
    windowed = [model_flops(WINDOWED, 1, length) for length in (512, 1024)]
    assert windowed[1] - 2 * windowed[0] == 8 * 4 * 1024 * 512 * 768


def test_documents_of_a_reranker_have_all_lengths():
    query, documents = rerank_texts(Case("ragged", "rerank", (50,)))
    lengths = [len(document.split()) for document in documents]
    assert len(query.split()) == 8
    assert min(lengths) < 60
    assert max(lengths) > 370
