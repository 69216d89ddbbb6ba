"""Requests that nobody should send, and some that many do by mistake."""

import http.client
import json
import socket
import string

# In place of a status: the server closed the connection, or the client did.
CLOSED, GONE = 0, -1

JSON = {"Content-Type": "application/json"}
PATHS = "/v1/embeddings", "/embed", "/rerank", "/predict", "/v1/rerank"
NAMES = "input", "inputs", "query", "documents", "texts", "model", "dimensions", "top_n"

# Of characters that tokenizers have trouble with: marks, spaces, emoji, other planes.
CHARACTERS = "aé\u0301\u200d\u00a0\u3000\ufffd\U0001f468\u200d\U00020000\u0000\n<|>[MASK] "


def random_text(rng, length):
    return "".join(rng.choice([*CHARACTERS], rng.integers(1, length)))


def random_value(rng, depth=0):
    """Make any JSON."""
    kind = rng.integers(9 if depth < 3 else 6)
    if kind == 0:
        return int(rng.integers(-(10**6), 10**6))
    if kind == 1:
        return 10 ** int(rng.integers(300))
    if kind == 2:
        return float(rng.standard_normal())
    if kind == 3:
        return [None, True, False][rng.integers(3)]
    if kind < 6:
        return random_text(rng, 200)
    if kind < 8:
        return [random_value(rng, depth + 1) for _ in range(rng.integers(5))]
    return {str(rng.choice(NAMES)): random_value(rng, depth + 1)}


def fields(rng):
    """Fields that there are, with values of any kind."""
    names = rng.choice(NAMES, rng.integers(1, 5), replace=False)
    return json.dumps({str(name): random_value(rng) for name in names}).encode()


def damaged(rng):
    """A right body with some bytes changed."""
    body = bytearray(b'{"input": ["a text", "another"], "encoding_format": "base64"}')
    for place in rng.integers(len(body), size=rng.integers(1, 4)):
        body[place] = rng.integers(256)
    return bytes(body)


def strange(rng):
    """Texts of strange characters, which are right all the same."""
    texts = [random_text(rng, 3000) for _ in range(rng.integers(1, 5))]
    return json.dumps({"input": texts}, ensure_ascii=bool(rng.integers(2))).encode()


def nested(rng):
    return b'{"input": ' + b"[" * int(rng.integers(1, 10**5))


def token_ids(rng):
    ids = rng.integers(-2, 40_000, size=rng.integers(1, 600)).tolist()
    return json.dumps({"input": [ids]}).encode()


def many_texts(rng):
    return json.dumps({"input": ["a"] * int(rng.integers(1, 5000))}).encode()


def one_long_text(rng):
    text = str(rng.choice([*string.ascii_letters])) * int(rng.integers(1, 3 * 10**6))
    return json.dumps({"input": text}).encode()


BODIES = (
    *(fields, damaged, strange, nested, token_ids, many_texts, one_long_text),
    lambda rng: rng.bytes(rng.integers(2000)),
)


def ask(port, method, path, body, headers, **options):
    """Send a request and give the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers, **options)
        response = connection.getresponse()
        response.read()
        return response.status
    except (ConnectionError, http.client.HTTPException):
        return CLOSED
    finally:
        connection.close()


def bodies(port, rng):
    body = BODIES[rng.integers(len(BODIES))](rng)
    return ask(port, "POST", str(rng.choice(PATHS)), body, JSON)


def in_chunks(port, rng):
    body = BODIES[rng.integers(len(BODIES))](rng)
    size = int(rng.integers(1, 5000))
    chunks = (body[i : i + size] for i in range(0, len(body), size))
    return ask(port, "POST", "/embed", chunks, JSON, encode_chunked=True)


def paths(port, rng):
    method = str(rng.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS"]))
    path = "/" + "".join(rng.choice([*"ave/.%01_-"], rng.integers(30)))
    return ask(port, method, path, b"{}", JSON)


def headers(port, rng):
    name = str(
        rng.choice(["Content-Encoding", "Content-Length", "Expect", "Authorization"])
    )
    value = str(rng.choice(["gzip", "-1", "10", "99999999999999", "100-continue", "\xe9"]))
    return ask(port, "POST", "/embed", b'{"inputs": "a"}', JSON | {name: value})


def send_raw(port, content, rng):
    """Send bytes and go away, without a look at the answer."""
    with socket.create_connection(("127.0.0.1", port), 120) as connection:
        connection.sendall(content)
        if rng.integers(2):
            connection.settimeout(0.05)
            try:
                connection.recv(1000)
            except TimeoutError:
                pass
    return GONE


def goes_away(port, rng):
    """Leave in the middle of a request, or before it is answered."""
    body = json.dumps({"input": ["a text"] * int(rng.integers(1, 300))}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    content = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    end = len(content) if rng.integers(2) else int(rng.integers(len(content)))
    return send_raw(port, content[:end], rng)


def no_http(port, rng):
    return send_raw(port, rng.bytes(rng.integers(1, 3000)) + b"\r\n\r\n", rng)


HOSTILE = bodies, bodies, bodies, in_chunks, paths, headers, goes_away, no_http


def send_hostile(port, rng):
    """Send one of all of them: the status of the answer, or what became of it."""
    return HOSTILE[rng.integers(len(HOSTILE))](port, rng)
