"""`fastattn serve` as openai's own client and LangChain use it.

pip install openai langchain-openai && python tests/integrations/serve_openai.py
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openai
from langchain_openai import OpenAIEmbeddings

import fastattn as fa

TINY = Path(__file__).parents[1] / "data" / "tiny_bert"
TEXTS = ["the cat", "a dog", "the sun is red", "the " * 600]
COMMAND = [sys.executable, "-P", "-m", "fastattn", "serve", "--port", "0", "--model"]


def main():
    process = subprocess.Popen(
        [*COMMAND, f"tiny={TINY}"], stdout=subprocess.PIPE, text=True
    )
    try:
        [url] = re.findall(r"http\S+", process.stdout.readline())
        model = fa.load(TINY)
        expected = model.encode(TEXTS, on_truncation="ignore")
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            check_client(client, model, expected)
        check_langchain(f"{url}/v1", expected)
    finally:
        process.terminate()
        process.wait()
    print("openai", openai.__version__, "and LangChain's OpenAIEmbeddings: right")


def check_client(client, model, expected):
    """Use every option of the client."""

    def vectors(**options):
        reply = client.embeddings.create(model="tiny", **options)
        return np.array([item.embedding for item in reply.data], np.float32), reply.usage

    for form in {}, {"encoding_format": "float"}:
        found, usage = vectors(input=TEXTS, **form)
        np.testing.assert_array_equal(found, expected)
    assert usage.prompt_tokens == usage.total_tokens
    assert usage.truncated_texts == 1
    found, _ = vectors(input=TEXTS[0])
    np.testing.assert_array_equal(found, expected[:1])
    found, _ = vectors(input=TEXTS, dimensions=5)
    cut = model.encode(TEXTS, truncate_dim=5, on_truncation="ignore")
    np.testing.assert_array_equal(found, cut)
    ids = [model.tokenizer.encode(text).ids for text in TEXTS]
    for given in ids, ids[0]:
        found, _ = vectors(input=given)
        np.testing.assert_array_equal(found, expected[: len(found)])
    assert [each.id for each in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    refused(openai.BadRequestError, client, model="tiny", input=[])
    refused(openai.BadRequestError, client, model="tiny", input="a", dimensions=0)
    error = refused(openai.NotFoundError, client, model="no", input="a")
    assert (error.code, error.param) == ("model_not_found", "model")


def refused(kind, client, **options):
    """Make sure that a request is refused, and give the error."""
    try:
        client.embeddings.create(**options)
    except kind as error:
        return error
    raise AssertionError(f"{options} is right")


def check_langchain(url, expected):
    """Embed documents and a query, token ids being left to the server."""
    embeddings = OpenAIEmbeddings(
        base_url=url, api_key="none", model="tiny", check_embedding_ctx_length=False
    )
    found = np.array(embeddings.embed_documents(TEXTS), np.float32)
    np.testing.assert_array_equal(found, expected)
    found = np.array(embeddings.embed_query(TEXTS[0]), np.float32)
    np.testing.assert_array_equal(found, expected[0])


if __name__ == "__main__":
    main()
