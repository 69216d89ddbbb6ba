"""For Chroma: an embedding function, which a collection remembers by its name."""

from typing import Any

from chromadb.api.types import Documents, EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function

from ..text import TextEncoder

# The spaces of Chroma that compare as a model's folder may say.
SPACES = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@register_embedding_function
class FastattnEmbeddingFunction(EmbeddingFunction[Documents]):
    """Vectors by the TextEncoder of a name or folder; `options` are those of `encode`."""

    def __init__(self, model: str, **options: Any) -> None:
        self.model = model
        self.options = options
        self._encoder = TextEncoder.load(model)

    def __call__(self, input: Documents) -> Any:
        """Turn documents into vectors, with the prompt for them."""
        return list(self._encoder.encode_document(input, **self.options))

    def embed_query(self, input: Documents) -> Any:
        """Turn queries into vectors, with the prompt for them."""
        return list(self._encoder.encode_query(input, **self.options))

    @staticmethod
    def name() -> str:
        """Give the name that a collection remembers."""
        return "fastattn"

    def default_space(self) -> Any:
        """Say how vectors are to be compared."""
        return SPACES.get(self._encoder.similarity_fn_name, "cosine")

    def get_config(self) -> dict[str, Any]:
        """Give what a collection remembers, to make this again."""
        return {"model": self.model, **self.options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "FastattnEmbeddingFunction":
        """Make what a collection remembers."""
        return FastattnEmbeddingFunction(**config)
