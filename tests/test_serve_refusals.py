"""What the server refuses: with the right status, in the form of the path, and no 500."""

import itertools
import json
import socket

import numpy as np
import pytest
from support.folders import DATA
from support.serving import JSON, PATIENCE, reply, serving, wait_until

import fastattn as fa
from fastattn.serve import create_app

MODELS = "tiny", "scorer", "classifier"
LIMITS = {"body_bytes": 2000, "texts": 8, "characters": 100}


@pytest.fixture(scope="module")
def models(model):
    scorer, classifier = DATA / "cross" / "electra", DATA / "cross" / "roberta"
    return dict(zip(MODELS, (model, fa.load(scorer), fa.load(classifier)), strict=True))


@pytest.fixture(scope="module")
def server(models):
    with serving(models, **LIMITS) as server:
        yield server


@pytest.fixture
def client(server):
    yield server.client
    assert server.client.post("/embed", {"inputs": "still here"}).status == 200
    wait_until(lambda: server.service.held == 0)
    assert server.service.batcher.waiting == 0


def message(path, answer):
    """Hold an error to the form of its path, and give what it says."""
    if path.startswith("/v1/") and path != "/v1/rerank":
        error = answer.body["error"]
        assert [*error] == ["message", "type", "param", "code"]
        return error["message"]
    assert [*answer.body] == ["error", "error_type", "message"]
    assert answer.body["message"] == answer.body["error"]
    return answer.body["error"]


EMBEDDINGS = [
    ({"input": []}, 400, "input must not be empty"),
    ({"input": ["a", 1]}, 400, "input must be texts, or lists of token ids"),
    ({"input": [[1], "a"]}, 400, "input must be texts, or lists of token ids"),
    ({"input": [[]]}, 400, "from 1 to"),
    ({"input": [-1]}, 400, "token ids must be from 0"),
    ({"input": [10**30]}, 400, "token ids must be from 0"),
    ({"input": [1] * 500}, 400, "has 500"),
    ({"input": [1.5]}, 400, "got `float`"),
    ({"input": None}, 400, "got `null`"),
    ({"input": {"text": "a"}}, 400, "got `object`"),
    ({"input": ["a"] * 9}, 413, "input has 9 texts: at most 8"),
    ({"input": "a" * 101}, 413, "input[0] has 101 characters: at most 100"),
    ({"input": ["a", "b" * 101]}, 413, "input[1] has 101"),
    ({"input": "a", "dimensions": 0}, 400, "dimensions"),
    ({"input": "a", "dimensions": 10**30}, 400, "dimensions"),
    ({"input": "a", "dimensions": "5"}, 400, "dimensions"),
    ({"input": "a", "dimensions": 33}, 400, "dimensions must be from 1 to 32, got 33"),
    ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format"),
    ({"input": "a", "prompt_name": "no"}, 400, "prompt_name"),
    ({"input": [1], "prompt_name": "no"}, 400, "prompt_name is about texts"),
    ({"input": "a", "task": "retrieval"}, 400, "unknown field `task`"),
    ({"input": "a", "model": "no"}, 404, "there is no model 'no': tiny, scorer"),
    ({"input": "a", "model": "scorer"}, 400, "scorer: makes no embedding"),
    ({}, 400, "missing required field `input`"),
    ([], 400, "got `array`"),
    (None, 400, "got `null`"),
    (b"", 400, "truncated"),
    (b'{"input": "a"', 400, "truncated"),
    (b'{"input": "\xff"}', 400, "UTF-8"),
    (b'{"input": "\\ud800"}', 400, ""),
    (b'{"input": NaN}', 400, "malformed"),
    (b'{"input": ' + b"[" * 1900, 400, ""),
    (b'{"x": ' + b'{"x":' * 300, 400, "unknown field"),
    (b"\x00" * 100, 400, "malformed"),
]
RERANK = [
    ({"query": "a"}, 400, "give documents, or texts"),
    ({"query": "a", "documents": ["a"], "texts": ["a"]}, 400, "give documents, or texts"),
    ({"query": "a", "documents": []}, 400, "documents must not be empty"),
    ({"query": "a", "documents": "a"}, 400, "got `str`"),
    ({"query": "a", "documents": [{"title": "a"}]}, 400, "title"),
    ({"query": "a", "documents": ["a"], "top_n": 0}, 400, "top_n"),
    ({"query": "a" * 101, "documents": ["a"]}, 413, "query has 101 characters"),
    ({"query": "a", "documents": ["a"] * 9}, 413, "documents has 9 texts"),
    ({"query": "a", "texts": ["a" * 101]}, 413, "texts[0] has 101"),
    ({"query": "a", "texts": ["a"], "model": "classifier"}, 400, "labels: /predict"),
    ({"query": "a", "texts": ["a"], "max_tokens_per_doc": 9}, 400, "max_tokens_per_doc"),
    ({"query": "a", "texts": ["a"], "max_chunks_per_doc": 10}, 400, "max_chunks_per_doc"),
    ({"query": "a", "texts": ["a"], "truncation_direction": "left"}, 400, "cuts on the"),
    ({"query": "a", "texts": ["a"], "rank_fields": ["a"]}, 400, "rank_fields"),
]
EMBED = [
    ({"inputs": []}, 400, "inputs must not be empty"),
    ({"inputs": "a", "truncation_direction": "Left"}, 400, "tiny cuts on the right"),
    ({"inputs": "a " * 50, "truncate": False}, 413, "text 0 has more than"),
    ({"inputs": "a", "normalize": 1}, 400, "normalize"),
]
PREDICT = [
    ({"inputs": []}, 400, "inputs must not be empty"),
    ({"inputs": [[]]}, 400, "inputs must be a text"),
    ({"inputs": ["a", "b", "c"]}, 400, "inputs must be a text"),
    ({"inputs": [["a"], ["a", "b"]]}, 400, "inputs must be a text"),
    ({"inputs": ["a", ["b"]]}, 400, "inputs must be a text"),
    ({"inputs": [["a"]] * 9}, 413, "inputs has 9 texts"),
    ({"inputs": [["a", "b" * 101]]}, 413, "inputs[0] has 101"),
    ({"inputs": "a", "model": "tiny"}, 400, "tiny: makes no scores"),
]
CASES = [
    *(("/v1/embeddings", {"model": "tiny"}, *case) for case in EMBEDDINGS),
    *(("/rerank", {"model": "scorer"}, *case) for case in RERANK),
    *(("/embed", {}, *case) for case in EMBED),
    *(("/predict", {"model": "scorer"}, *case) for case in PREDICT),
]


@pytest.mark.parametrize("path, more, body, status, says", CASES)
def test_what_is_wrong_is_said(client, path, more, body, status, says):
    body = more | body if isinstance(body, dict) and "model" not in body else body
    answer = client.post(path, body)
    assert answer.status == status
    assert says in message(path, answer)


def test_a_model_must_be_named_where_there_are_several(client):
    for path, body in (
        ("/predict", {"inputs": "a"}),
        ("/rerank", {"query": "a", "texts": ["a"]}),
    ):
        answer = client.post(path, body)
        assert message(path, answer) == "model must be one of scorer, classifier"


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/embeddings", 405),
        ("POST", "/health", 405),
        ("DELETE", "/embed", 405),
        ("GET", "/", 404),
        ("GET", "/v1/models/no", 404),
        ("GET", "/v1/no", 404),
        ("GET", "/%ff%00", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_paths_and_methods_that_there_are_not(client, method, path, status):
    answer = reply(client.send(method, path))
    assert answer.status == status
    assert message(path, answer)


def test_what_is_repeated_is_repeated_in_part(client):
    long = "a" * 1500
    for answer in (
        client.get(f"/{long}"),
        client.get(f"/v1/models/{long}"),
        client.post("/embed", {"inputs": "a", "model": long}),
        client.post("/embed", {"inputs": "a", long: 1}),
    ):
        assert 400 <= answer.status < 500
        said = json.dumps(answer.body)
        assert long[:200] in said
        assert len(said) < 1500


JSON_WANTED = "send JSON with the header Content-Type: application/json, got "


@pytest.mark.parametrize(
    "headers, says",
    [
        ({"Content-Type": "text/plain; a=b"}, JSON_WANTED + "'text/plain; a=b'"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "x-www-form"),
        ({}, JSON_WANTED + "none"),
        (JSON | {"Content-Encoding": "gzip"}, "send no Content-Encoding"),
    ],
)
def test_other_bodies(client, headers, says):
    answer = reply(client.send("POST", "/embed", b'{"inputs": "a"}', headers))
    assert answer.status == 415
    assert says in message("/embed", answer)


def test_a_body_that_says_it_is_too_long_is_not_read(client):
    # What it announces never comes.
    connection = client.send("POST", "/embed", b"x", JSON | {"Content-Length": "2001"})
    assert reply(connection).status == 413


def test_a_body_in_chunks_is_read_up_to_the_limit(client):
    chunks = itertools.repeat(b" " * 100, 30)
    connection = client.send("POST", "/embed", chunks, JSON, encode_chunked=True)
    assert reply(connection).status == 413
    content = json.dumps({"inputs": "a"}).encode()
    chunks = (content[i : i + 1] for i in range(len(content)))
    connection = client.send("POST", "/embed", chunks, JSON, encode_chunked=True)
    assert reply(connection).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 2**17 + b"\r\n\r\n",
        b"\x16\x03\x01" + bytes(200),
    ],
)
def test_what_is_no_http(client, sent):
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_body_must_arrive_in_time(model):
    with serving({"tiny": model}, body_seconds=0.1) as server:
        headers = JSON | {"Content-Length": "100"}
        answer = reply(server.client.send("POST", "/embed", b"x", headers))
        assert (answer.status, message("/embed", answer)) == (
            408,
            "the body did not arrive in 0.1 s",
        )


def test_bytes_in_memory_have_a_limit(model):
    with serving({"tiny": model}, held_bytes=50) as server:
        answer = server.client.post("/embed", {"inputs": "a" * 60})
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert server.client.post("/embed", {"inputs": "a"}).status == 200
        wait_until(lambda: server.service.held == 0)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer secre", "Bearer s\xe9cret", "secret"]
)
def test_the_key_must_be_right(model, given):
    with serving({"tiny": model}, api_key="secret") as server:
        client = server.client
        for path in "/v1/models", "/info", "/metrics":
            assert client.get(path, Authorization=given).status == 401
            assert client.get(path, Authorization="Bearer secret").status == 200
        body = {"input": "a"}
        answer = client.post("/v1/embeddings", body, Authorization=given)
        assert (answer.status, answer.body["error"]["code"]) == (401, "invalid_api_key")
        assert client.post("/v1/embeddings", body).status == 401
        right = client.post("/v1/embeddings", body, Authorization="Bearer secret")
        assert right.status == 200
        assert client.get("/health").status == 200


@pytest.mark.parametrize("path, name", [("/v1/embeddings", "input"), ("/embed", "inputs")])
@pytest.mark.parametrize("fault", ["nan", "infinite", "raises"])
def test_faults_are_told_without_how_they_came_about(
    model, monkeypatch, caplog, path, name, fault
):
    def compute(tokens, call, rows, indices):
        if fault == "raises":
            raise RuntimeError("the inside")
        rows[:] = np.nan if fault == "nan" else np.inf

    with serving({"tiny": model}) as server:
        with monkeypatch.context() as patch:
            patch.setattr(model, "_compute", compute)
            answer = server.client.post(path, {name: "a"})
            assert answer.status == 500
            said = message(path, answer)
        wanted = "the server failed" if fault == "raises" else "is not finite"
        assert said.endswith(wanted)
        assert ("the inside" in caplog.text) == (fault == "raises")
        assert server.client.post(path, {name: "a"}).status == 200


def test_what_no_application_is_made_of(model):
    with pytest.raises(ValueError, match="there must be one at least"):
        create_app({})
    with pytest.raises(TypeError, match=r"models\['a'\] must be a TextEncoder or"):
        create_app({"a": "all-MiniLM-L6-v2"})
    for key in "", "schl\xfcssel":
        with pytest.raises(ValueError, match="api_key"):
            create_app({"a": model}, api_key=key)
