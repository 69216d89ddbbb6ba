"""What can be imported from the module that has the classes of sentence-transformers."""

import pickle
from importlib import import_module
from types import SimpleNamespace

import pytest
from support.processes import printed, python

from fastattn.integrations import sentence_transformers as theirs
from fastattn.integrations.sentence_transformers import left_out


class TestLeftOut:
    @pytest.mark.parametrize("name", [*left_out.MODULES, *left_out.NAMES])
    def test_what_is_left_out_says_why(self, name):
        start = f"^{name} of sentence-transformers is left out of fastattn: "
        with pytest.raises(ImportError, match=start):
            exec(f"from {theirs.__name__} import {name}")

    @pytest.mark.parametrize("kind", ["", ".cross_encoder", ".sparse_encoder"])
    @pytest.mark.parametrize("name", left_out.MODULES)
    def test_what_is_in_a_module_that_is_left_out(self, kind, name):
        with pytest.raises(ImportError, match=f"^{name} of .*: {left_out.MODULES[name]}$"):
            exec(f"from {theirs.__name__}{kind}.{name} import anything")

    def test_nothing_else_is_refused_so(self):
        with pytest.raises(ImportError, match="cannot import name 'unheard'"):
            exec(f"from {theirs.__name__} import unheard")
        assert not hasattr(theirs, "unheard")
        with pytest.raises(ImportError, match=r"^No module named '.*\.unheard'"):
            import_module(f"{theirs.__name__}.cross_encoder.unheard")

    def test_what_looks_through_all_modules_is_not_told(self):
        # As pickle does for what does not say where it is from.
        assert pickle.whichmodule(SimpleNamespace(), "unheard") == "__main__"

    def test_where_util_was_before(self):
        for name in ("quantization", "similarity_functions"):
            assert import_module(f"{theirs.__name__}.{name}") is theirs.util


class TestInstead:
    """The module takes the name of sentence_transformers where it is asked to."""

    SCRIPT = """
        import sys
        import fastattn as fa
        assert not any("integrations" in name for name in sys.modules)
        from fastattn.integrations import install_as_sentence_transformers
        assert "sentence_transformers" not in sys.modules
        install_as_sentence_transformers()
        install_as_sentence_transformers()
        import sentence_transformers
        from sentence_transformers import SentenceTransformer, util
        from sentence_transformers.cross_encoder import CrossEncoder
        from sentence_transformers.models import StaticEmbedding
        from sentence_transformers.util import cos_sim
        from sentence_transformers.quantization import quantize_embeddings
        try:
            from sentence_transformers.losses import CosineSimilarityLoss
        except ImportError as error:
            assert "nothing is trained here" in str(error)
        from sentence_transformers.sentence_transformer import SentenceTransformer as Same
        print(SentenceTransformer is fa.SentenceTransformer is Same)
        print(util.cos_sim is cos_sim)
        print(sentence_transformers.__version__.split(".")[0], "torch" in sys.modules)
    """

    def test_it_is_found_by_that_name(self):
        assert printed(self.SCRIPT).splitlines() == ["True", "True", "6 False"]

    def test_not_when_the_real_one_is_imported(self):
        script = """
            import sys, types
            sys.modules["sentence_transformers"] = types.ModuleType("sentence_transformers")
            from fastattn.integrations import install_as_sentence_transformers
            install_as_sentence_transformers()
        """
        done = python(script)
        assert "RuntimeError: sentence_transformers is imported already" in done.stderr
