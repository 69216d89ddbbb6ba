"""What the classes of sentence-transformers over ours refuse, and what has no effect."""

import pytest
from support.bits import assert_same_bits
from support.folders import DATA

import fastattn as fa
from fastattn.integrations import sentence_transformers as theirs

TEXTS = ["the cat", "a dog is under the sky, and red", "", "the red sky"]


@pytest.fixture
def dropin(folder):
    return fa.SentenceTransformer(folder, device="cpu")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"device": "cuda"}, "device must be 'cpu'"),
        ({"modules": []}, "modules of torch are not computed"),
        ({"backend": "tensorrt"}, "backend must be one of 'torch'"),
        ({"model_kwargs": {"torch_dtype": "float16"}}, "must be float32"),
        ({"model_kwargs": {"file_name": "onnx/model_qint8.onnx"}}, "file_name"),
        ({"processor_kwargs": {"padding_side": "left"}}, "padding_side"),
        ({"config_kwargs": {"hidden_act": "relu"}}, "hidden_act"),
        ({"similarity_fn_name": "maxsim"}, "similarity_fn_name must be one of 'cosi"),
        ({"compute": "int8"}, r"^SentenceTransformer.* model_kwargs={'compute': "),
        ({"max_length": 8}, "set max_seq_length"),
        ({"model_kwargs": 5}, "model_kwargs must be a dictionary, got 5"),
        ({"local_files_only": "yes"}, "local_files_only must be True or False"),
        ({"truncate_dim": 0}, "truncate_dim must be at least 1"),
        ({"model_kwargs": {"compute": "int4"}}, "compute must be one of"),
        ({"unheard": 1}, "unheard"),
    ],
)
def test_of_the_constructor(folder, keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fa.SentenceTransformer(folder, **keywords)


@pytest.mark.parametrize("value", [None, "8", 0])
def test_of_max_seq_length(dropin, value):
    with pytest.raises((TypeError, ValueError), match=r"^max_seq_length must be "):
        dropin.max_seq_length = value


def test_of_other_settings(dropin):
    with pytest.raises(ValueError, match="similarity_fn_name must be one of 'cosine'"):
        dropin.similarity_fn_name = "foo"
    with pytest.raises(TypeError, match="prompts must map names to texts, got list"):
        dropin.prompts = ["a"]
    with pytest.raises(TypeError, match="evaluator must be a function of a model"):
        dropin.evaluate(5)
    for name in (5, ["a"]):
        with pytest.raises(TypeError, match="or its folder, must be a str, got "):
            fa.SentenceTransformer(name)


def test_without_a_name():
    with pytest.raises(TypeError, match="needs the name of a model, or its folder"):
        fa.SentenceTransformer()


def test_of_a_folder_of_another_kind(folder):
    for cls in theirs.CrossEncoder, theirs.SparseEncoder:
        with pytest.raises(fa.ModelFormatError, match=r"give it to SentenceTransformer$"):
            cls(folder)
    with pytest.raises(fa.ModelFormatError, match=r"give it to CrossEncoder$"):
        fa.SentenceTransformer(DATA / "cross" / "electra")


def test_what_has_no_effect(folder, dropin):
    model = fa.SentenceTransformer(
        str(folder),
        device="cpu:0",
        trust_remote_code=True,
        revision="main",
        token=True,
        backend="onnx",
        model_card_data=object(),
        model_kwargs={"attn_implementation": "sdpa", "torch_dtype": "auto"},
        tokenizer_kwargs={"use_fast": True},
        config_kwargs={"trust_remote_code": True},
    )
    assert_same_bits(model.encode(TEXTS), dropin.encode(TEXTS))
    assert model.eval().cpu().to("cpu") is model


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"device": "mps"}, "device must be 'cpu'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"truncate_dim": 0}, "truncate_dim must be at least 1"),
        ({"precision": "int4"}, "precision must be one of"),
        ({"output_value": None}, "output_value must be one of"),
        ({"task": "retrieval"}, "encode.. got 'task'"),
    ],
)
def test_of_encode(dropin, keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dropin.encode(TEXTS, **keywords)


@pytest.mark.parametrize("given", ["cuda", "float16"])
def test_another_place(dropin, given):
    with pytest.raises(ValueError, match=given):
        dropin.to(given)


def test_what_is_left_out_says_why(dropin):
    with pytest.raises(AttributeError, match="'fit': nothing is trained here"):
        dropin.fit([])
    with pytest.raises(AttributeError, match=r"no attribute 'unheard'$"):
        dropin.unheard  # noqa: B018
    assert not hasattr(dropin, "forward")
    with pytest.raises(TypeError, match=r"^SentenceTransformer has no \[0\]: there is no"):
        dropin[0].auto_model  # noqa: B018
    for name in "_first_module", "half", "train":
        with pytest.raises(AttributeError, match=f"'{name}': \\w+"):
            getattr(dropin, name)
    with pytest.raises(AttributeError, match=r"util has no attribute 'http_get': \w+"):
        theirs.util.http_get  # noqa: B018
    with pytest.raises(AttributeError, match=r"util has no attribute 'unheard'$"):
        theirs.util.unheard  # noqa: B018


def test_modules():
    for make in (theirs.models.Pooling, theirs.models.StaticEmbedding.from_model2vec):
        with pytest.raises(TypeError, match="not put together from modules"):
            make("name")
