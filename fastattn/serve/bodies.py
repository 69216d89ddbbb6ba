"""What people send: fields that are not listed here are refused by name.

A field that may be left out may be null as well, as many clients send it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]

# A text, texts, the token ids of a text, or those of several.
Inputs = str | list[str | int | list[int]]


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """What all of them may have."""

    model: str | None = None


class Embeddings(Body, kw_only=True):
    """OpenAI's ``/v1/embeddings``, and text-embeddings-inference's `prompt_name`."""

    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    prompt_name: str | None = None
    user: str | None = None


class Truncation(Body):
    """What text-embeddings-inference lets people say about long texts."""

    truncate: bool | None = None
    truncation_direction: Literal["left", "Left", "right", "Right"] | None = None


class Embed(Truncation, kw_only=True):
    """text-embeddings-inference's ``/embed``."""

    inputs: Inputs
    normalize: bool | None = None
    dimensions: Positive | None = None
    prompt_name: str | None = None


class Predict(Truncation, kw_only=True):
    """text-embeddings-inference's ``/predict``: a text, one text or pair, or several."""

    inputs: str | list[str | list[str]]
    raw_scores: bool | None = None


class Document(Struct, forbid_unknown_fields=True):
    """A document of Cohere or Jina that is not a plain text."""

    text: str


class Rerank(Truncation, kw_only=True):
    """``/rerank``: with `documents` as Cohere and Jina, with `texts` as the other one."""

    query: str
    documents: list[str | Document] | None = None
    texts: list[str] | None = None
    top_n: Positive | None = None
    return_documents: bool | None = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    max_tokens_per_doc: Positive | None = None
    max_chunks_per_doc: Literal[1] | None = None
    priority: int | None = None
