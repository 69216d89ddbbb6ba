"""The server's paths: what is right is answered, as the models themselves answer it."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.folders import DATA, TINY
from support.processes import ROOT
from support.serving import JSON, reply, serving

import fastattn as fa
from fastattn.serve import bodies

TEXTS = ["the cat", "a dog", "the sun is red", "", "the " * 600]


@pytest.fixture(scope="module")
def scorer():
    return fa.load(DATA / "cross" / "electra")


@pytest.fixture(scope="module")
def classifier():
    return fa.load(DATA / "cross" / "roberta")


@pytest.fixture(scope="module")
def server(model, scorer, classifier):
    models = {"tiny": model, "scorer": scorer, "org/classifier": classifier}
    with serving(models) as server:
        yield server


@pytest.fixture
def client(server):
    return server.client


def encode(model, texts=TEXTS, **options):
    return model.encode(texts, on_truncation="ignore", **options)


def floats(reply):
    return np.array([item["embedding"] for item in reply.body["data"]], np.float32)


def test_embeddings_have_the_bits_of_encode(client, model):
    reply = client.post("/v1/embeddings", {"model": "tiny", "input": TEXTS})
    assert reply.status == 200
    assert reply.body["object"] == "list"
    assert reply.body["model"] == "tiny"
    assert [item["index"] for item in reply.body["data"]] == [*range(len(TEXTS))]
    assert {item["object"] for item in reply.body["data"]} == {"embedding"}
    np.testing.assert_array_equal(floats(reply), encode(model))


def test_base64_has_the_bits_of_encode(client, model):
    body = {"input": TEXTS, "encoding_format": "base64", "user": "somebody"}
    reply = client.post("/v1/embeddings", body)
    rows = [base64.b64decode(item["embedding"]) for item in reply.body["data"]]
    found = np.array([np.frombuffer(row, "<f4") for row in rows])
    np.testing.assert_array_equal(found, encode(model))


def test_usage_counts_tokens_and_truncated_texts(client, model):
    reply = client.post("/v1/embeddings", {"input": TEXTS})
    tokens = [len(model.tokenizer.encode(text).ids) for text in TEXTS]
    usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    assert reply.body["usage"] == usage | {"truncated_texts": 1}
    assert reply.headers["x-compute-tokens"] == str(sum(tokens))
    assert reply.headers["x-truncated-texts"] == "1"


@pytest.mark.parametrize("path, name", [("/v1/embeddings", "input"), ("/embed", "inputs")])
def test_token_ids_are_taken_as_they_are(client, model, path, name):
    ids = [model.tokenizer.encode(text).ids for text in TEXTS]
    for given, texts in (ids, TEXTS), (ids[0], TEXTS[:1]):
        reply = client.post(path, {name: given})
        found = floats(reply) if path != "/embed" else np.array(reply.body, np.float32)
        np.testing.assert_array_equal(found, encode(model, texts))


def test_dimensions(client, model):
    reply = client.post("/v1/embeddings", {"input": TEXTS, "dimensions": 5})
    np.testing.assert_array_equal(floats(reply), encode(model, truncate_dim=5))
    reply = client.post("/embed", {"inputs": TEXTS, "dimensions": 5})
    expected = encode(model, truncate_dim=5, normalize=True)
    np.testing.assert_array_equal(np.array(reply.body, np.float32), expected)


@pytest.mark.parametrize("normalize", [True, False])
def test_embed(client, model, normalize):
    reply = client.post("/embed", {"inputs": TEXTS, "normalize": normalize})
    expected = encode(model, normalize=normalize)
    np.testing.assert_array_equal(np.array(reply.body, np.float32), expected)


def test_the_page_asks_by_the_standard_library(client, model):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    block = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    namespace = {}
    exec(block.replace("localhost:8000", f"127.0.0.1:{client.port}"), namespace)
    expected = encode(model, ["A cat sleeps.", "Shares fell."])
    np.testing.assert_array_equal(np.array(namespace["vectors"], np.float32), expected)


NULLS = [
    ("/v1/embeddings", {"input": "the cat"}, bodies.Embeddings),
    ("/embed", {"inputs": "the cat"}, bodies.Embed),
    ("/predict", {"inputs": "the cat", "model": "scorer"}, bodies.Predict),
    ("/rerank", {"query": "a", "texts": ["b"], "model": "scorer"}, bodies.Rerank),
    ("/rerank", {"query": "a", "documents": ["b"], "model": "scorer"}, bodies.Rerank),
]


@pytest.mark.parametrize("path, body, kind", NULLS)
def test_what_is_null_is_absent(client, path, body, kind):
    reply = client.post(path, dict.fromkeys(kind.__struct_fields__) | body)
    assert reply.status == 200
    assert reply.body == client.post(path, body).body


def test_a_request_may_name_all_of_a_url(client, model):
    expected = encode(model, ["the cat"], normalize=True)
    for start in "http://host", "HTTPS://host:80":
        found = client.post(f"{start}/embed", {"inputs": "the cat"})
        np.testing.assert_array_equal(np.array(found.body, np.float32), expected)
        assert client.get(f"{start}/v1/models/tiny").body["id"] == "tiny"
        assert client.get(start).body["error"] == "GET /: Not Found"


def test_a_body_may_say_that_it_is_not_compressed(client):
    answer = client.post("/embed", {"inputs": "a"}, **{"Content-Encoding": "Identity"})
    assert answer.status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_may_offer_to_go_on_in_http_2(client, chunked):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    headers = JSON | offer | {"HTTP2-Settings": "AAMAAABkAAQAAP__"}
    content = json.dumps({"inputs": "the cat"}).encode()
    body = iter([content]) if chunked else content
    answer = reply(client.send("POST", "/embed", body, headers, encode_chunked=chunked))
    assert answer.status == 200
    assert answer.body == client.post("/embed", {"inputs": "the cat"}).body


def test_embed_makes_unit_vectors_unless_told(client, model):
    reply = client.post("/embed", {"inputs": "the cat", "truncate": True})
    expected = encode(model, ["the cat"], normalize=True)
    np.testing.assert_array_equal(np.array(reply.body, np.float32), expected)


def test_prompts(model):
    prompted = fa.load(TINY, prompts={"query": "a query: ", "passage": "a dog: "})
    with serving({"prompted": prompted}) as server:
        body = {"input": TEXTS, "prompt_name": "query"}
        reply = server.client.post("/v1/embeddings", body)
        expected = encode(prompted, prompt_name="query")
        np.testing.assert_array_equal(floats(reply), expected)
        body = {"query": "the cat", "documents": TEXTS}
        reply = server.client.post("/rerank", body)
        query = prompted.encode_query("the cat")
        documents = prompted.encode_document(TEXTS, on_truncation="ignore")
        check_ranked(reply.body["results"], prompted.similarity(query, documents)[0])


def check_ranked(results, scores, name="relevance_score"):
    order = np.argsort(-scores, kind="stable")[: len(results)].tolist()
    assert [result["index"] for result in results] == order
    found = np.array([result[name] for result in results], np.float32)
    np.testing.assert_array_equal(found, scores[order])


PAIRS = [("the cat", text) for text in TEXTS]


def predict(model, inputs, **options):
    return model.predict(inputs, on_truncation="ignore", **options)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rerank_as_cohere_and_jina(client, scorer, path):
    documents = [*TEXTS[:-1], {"text": TEXTS[-1]}]
    body = {"query": "the cat", "documents": documents, "model": "scorer"}
    reply = client.post(path, body | {"max_tokens_per_doc": 4096})
    assert (reply.status, reply.body["model"]) == (200, "scorer")
    assert reply.body["usage"]["truncated_texts"] == 1
    scores = predict(scorer, PAIRS, activation="sigmoid")
    check_ranked(reply.body["results"], scores)
    assert {tuple(result) for result in reply.body["results"]} == {
        ("index", "relevance_score")
    }
    reply = client.post(path, body | {"top_n": 2, "return_documents": True})
    check_ranked(reply.body["results"], scores)
    assert len(reply.body["results"]) == 2
    for result in reply.body["results"]:
        assert result["document"] == {"text": TEXTS[result["index"]]}


@pytest.mark.parametrize("raw", [True, False])
def test_rerank_as_text_embeddings_inference(client, scorer, raw):
    body = {"query": "the cat", "texts": TEXTS, "raw_scores": raw, "model": "scorer"}
    reply = client.post("/rerank", body | {"return_text": True})
    activation = "identity" if raw else "sigmoid"
    check_ranked(reply.body, predict(scorer, PAIRS, activation=activation), "score")
    assert all(result["text"] == TEXTS[result["index"]] for result in reply.body)
    assert "text" not in client.post("/rerank", body).body[0]


def test_rerank_by_vectors(client, model):
    body = {"query": "the cat", "documents": TEXTS, "model": "tiny"}
    reply = client.post("/rerank", body)
    scores = model.similarity(model.encode("the cat"), encode(model))[0]
    check_ranked(reply.body["results"], scores)


@pytest.mark.parametrize("name", ["scorer", "org/classifier"])
@pytest.mark.parametrize("raw", [True, False])
def test_predict(client, scorer, classifier, name, raw):
    model = scorer if name == "scorer" else classifier
    activation = "softmax" if len(model.labels) > 1 else "sigmoid"
    if raw:
        activation = "identity"
    body = {"raw_scores": raw, "model": name}
    texts, pairs = [[text] for text in TEXTS], [list(pair) for pair in PAIRS]
    for given, inputs in (texts, TEXTS), (pairs, PAIRS):
        reply = client.post("/predict", body | {"inputs": given})
        scores = predict(model, inputs, activation=activation)
        scores = scores.reshape(len(inputs), len(model.labels))
        for result, row in zip(reply.body, scores, strict=True):
            assert [item["label"] for item in result] == [
                model.labels[i] for i in np.argsort(-row, kind="stable")
            ]
            found = np.array([item["score"] for item in result], np.float32)
            np.testing.assert_array_equal(found, np.sort(row)[::-1])
        for single in (given[0], given[0][0]) if given is texts else (given[0],):
            alone = client.post("/predict", body | {"inputs": single})
            assert alone.body == reply.body[0]


def test_models(client):
    reply = client.get("/v1/models")
    assert reply.body["object"] == "list"
    assert [item["id"] for item in reply.body["data"]] == [
        "tiny",
        "scorer",
        "org/classifier",
    ]
    assert client.get("/v1/models/org/classifier").body == reply.body["data"][2]


def test_info(client, model, classifier):
    body = client.get("/info").body
    assert body["model_id"] == "tiny"
    assert body["max_input_length"] == model.max_length
    assert body["version"] == fa.__version__
    assert [*body["models"]] == ["tiny", "scorer", "org/classifier"]
    kinds = [next(iter(about)) for about in body["models"].values()]
    assert kinds == ["embedding", "reranker", "classifier"]
    labels = body["models"]["org/classifier"]["classifier"]["id2label"]
    assert [*labels.values()] == [*classifier.labels]


def test_metrics(client):
    def read():
        lines = client.get("/metrics").body.decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    names = [
        f'fastattn_{name}_total{{model="tiny"}}'
        for name in ("texts", "tokens", "truncated_texts")
    ]
    answered = 'fastattn_requests_total{path="/v1/embeddings",status="200"}'
    client.post("/v1/embeddings", {"input": TEXTS})
    before = read()
    reply = client.post("/v1/embeddings", {"input": TEXTS})
    after = read()
    risen = [float(after[name]) - float(before[name]) for name in (*names, answered)]
    assert risen == [len(TEXTS), reply.body["usage"]["total_tokens"], 1, 1]
    assert after["fastattn_queue_tokens"] == "0.0"


def test_many_clients_get_the_bits_of_encode(client, model):
    texts = [f"{text} {i}" for i in range(10) for text in TEXTS[:3]]
    with ThreadPoolExecutor(10) as pool:
        bodies = [{"input": text} for text in texts]
        replies = list(pool.map(lambda body: client.post("/v1/embeddings", body), bodies))
    np.testing.assert_array_equal(
        np.concatenate([floats(reply) for reply in replies]), encode(model, texts)
    )
