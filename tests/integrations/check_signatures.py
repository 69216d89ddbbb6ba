"""Every public method of the real classes, and every keyword of it, is here or left out."""

import inspect
import sys

import pytest
import sentence_transformers as real
from side_by_side import CLASSES

from fastattn.integrations import sentence_transformers as ours
from fastattn.integrations.sentence_transformers.base import OLD_NAMES
from fastattn.integrations.sentence_transformers.left_out import ATTRIBUTES, MODULES, NAMES

VARIABLE = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD

# Of util: what is about torch, training, files, and several vectors for a text.
NOT_IN_UTIL = {
    *("all_gather", "all_gather_padded", "all_gather_with_grad", "append_to_last_row"),
    *("batch_to_device", "cat_padded_token_embeddings", "check_package_availability"),
    *("check_teacher_targets", "check_version_requirements", "compute_count_vector"),
    *("disable_datasets_caching", "disable_logging", "disabled_tqdm", "fullname"),
    *("get_device_name", "get_rank", "get_world_size", "http_get", "import_from_string"),
    *("import_module_class", "install_logger", "is_accelerate_available"),
    *("is_datasets_available", "is_dist_initialized", "is_sentence_transformer_model"),
    *("is_training_available", "load_dir_path", "load_file_path", "maxsim"),
    *("maxsim_pairwise", "mean_maxsim", "mean_maxsim_pairwise", "mine_hard_negatives"),
    *("pairwise_angle_sim", "repad_flattened_features", "resolve_ids", "LoggingHandler"),
    *("save_to_hub_args_decorator", "select_max_active_dims", "similarity_fct_name"),
    *("stack_padded_token_embeddings", "to_scipy_coo", "ORIGINAL_TRANSFORMER_MODELS"),
    "disable_cuda_memory_history",
}


def members(kind):
    """List the public methods and properties that a library's own classes define."""
    for each in kind.__mro__:
        if each.__module__.startswith("sentence_transformers"):
            for name, value in vars(each).items():
                if not name.startswith("_") and (
                    callable(value) or hasattr(value, "__get__")
                ):
                    yield name


MEMBERS = [(k, name) for k in CLASSES for name in sorted({*members(getattr(real, k))})]
FUNCTIONS = sorted(
    name
    for name in real.util.__all__
    if not name.startswith("_") and inspect.isfunction(getattr(real.util, name))
)


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return {p.name: p for p in found if p.name != "self" and p.kind not in VARIABLE}


def assert_same_keywords(theirs, found):
    """Hold parameters to the real ones: names, order, defaults."""
    assert [name for name in found if name in theirs] == [*theirs]
    for name, parameter in theirs.items():
        assert found[name].kind == parameter.kind, name
        default = found[name].default
        if callable(default) and default is not inspect.Parameter.empty:
            assert parameter.default.__name__ == "cos_sim"
        else:
            assert default == parameter.default, name


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_member(kind, name):
    found = getattr(getattr(ours, kind), name, None)
    if name.endswith("_class"):
        return  # of a model card
    if found is None:
        assert name in ATTRIBUTES, "neither here nor left out"
        return
    value = inspect.getattr_static(getattr(real, kind), name)
    if isinstance(value, property):
        assert isinstance(found, property) or not callable(found)
        settable = value.fset is not None and name not in ("tokenizer", "config")
        assert not settable or found.fset is not None
    else:
        assert_same_keywords(
            parameters(getattr(getattr(real, kind), name)), parameters(found)
        )


@pytest.mark.parametrize("kind", CLASSES)
def test_constructor(kind):
    found = {}
    for each in reversed(getattr(ours, kind).__mro__[:-1]):
        if "__init__" in vars(each):
            found |= parameters(each.__init__)
    for name, parameter in parameters(getattr(real, kind).__init__).items():
        if name not in OLD_NAMES:
            assert found[name].kind == parameter.kind, name
            assert found[name].default == parameter.default, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_util(name):
    if name in NOT_IN_UTIL:
        assert not hasattr(ours.util, name)
        return
    theirs = parameters(getattr(real.util, name))
    assert_same_keywords(theirs, parameters(getattr(ours.util, name)))


def test_what_can_be_imported():
    assert {*real.__all__} - {*vars(ours)} == NAMES.keys()
    moved = [
        path.split(".") for path in real.util.deprecated_import.DEPRECATED_MODULE_PATHS
    ]
    modules = {name for _, name, *inside in moved if not inside}
    there = {name for name in modules if f"{ours.__name__}.{name}" in sys.modules}
    missing = modules - there - MODULES.keys()
    assert missing == {"LoggingHandler", "SentenceTransformer"}  # called as a class is


def test_what_util_lacks():
    others = {name for name in real.util.__all__ if not name.startswith("_")}
    assert {name for name in others if not hasattr(ours.util, name)} <= NOT_IN_UTIL


def test_similarity_functions():
    known = {e.name for e in ours.SimilarityFunction}
    assert {e.name for e in real.SimilarityFunction} - known <= {"MAXSIM", "MEAN_MAXSIM"}
