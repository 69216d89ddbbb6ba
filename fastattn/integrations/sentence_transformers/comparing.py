"""What the classes share whose models make something that is compared."""

from typing import Any

from ...sparse_encoder import SparseEncoder
from ...text import TextEncoder
from .base import Model
from .util import SimilarityFunction


class ComparingModel(Model):
    """Base class: a model with a function that compares what it makes of texts."""

    encoder: TextEncoder | SparseEncoder

    def __init__(
        self,
        model_name_or_path: Any = None,
        *,
        similarity_fn_name: str | SimilarityFunction | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, **options)
        if similarity_fn_name is not None:
            self.similarity_fn_name = similarity_fn_name

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether something is one text."""
        return isinstance(inputs, str)

    @property
    def similarity_fn_name(self) -> str:
        """How :meth:`similarity` compares vectors; it can be set."""
        return self.encoder.similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | SimilarityFunction) -> None:
        self.encoder.similarity_fn_name = SimilarityFunction(value).value
