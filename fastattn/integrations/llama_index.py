"""For LlamaIndex: an embedding model, and a postprocessor that reranks."""

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode

from ..cross_encoder import CrossEncoder
from ..text import TextEncoder
from .loaded import loaded


class FastattnEmbedding(BaseEmbedding):
    """Embeddings by a TextEncoder, or its name; `options` are those of BaseEmbedding."""

    _model: TextEncoder = PrivateAttr()

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(**options)
        self._model = loaded(TextEncoder, model)

    def _get_query_embedding(self, query: str) -> Any:
        return self._model.encode_query(query).tolist()

    def _get_text_embedding(self, text: str) -> Any:
        return self._model.encode_document(text).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> Any:
        return self._model.encode_document(texts).tolist()

    async def _aget_query_embedding(self, query: str) -> Any:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Any:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> Any:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class FastattnRerank(BaseNodePostprocessor):
    """Keep the best `top_n` nodes, by a CrossEncoder or its name, the best first."""

    top_n: int = 2
    _model: CrossEncoder = PrivateAttr()

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(**options)
        self._model = loaded(CrossEncoder, model)

    def _postprocess_nodes(self, nodes: list[Any], query_bundle: Any = None) -> list[Any]:
        if query_bundle is None:
            raise ValueError("nodes are ranked by a query: give query_bundle or query_str")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = self._model.rank(query_bundle.query_str, texts, top_k=self.top_n)
        for entry in ranked:
            nodes[entry["corpus_id"]].score = entry["score"]
        return [nodes[entry["corpus_id"]] for entry in ranked]
