"""For scikit-learn: a transformer that turns texts into vectors."""

from functools import lru_cache
from typing import Any, Self

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)

from ..text import TextEncoder

# One model for the copies of a transformer that a search or a cross-validation makes.
load = lru_cache(maxsize=2)(TextEncoder.load)


class TextVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Vectors of texts by a TextEncoder.

    Parameters
    ----------
    model : str
        Its name or folder; the model itself is in no pickle, and loaded once a process.
    compute : str
        As :func:`fastattn.load` takes it.
    normalize, truncate_dim, prompt_name
        As :meth:`fastattn.TextEncoder.encode` takes them.
    """

    def __init__(
        self,
        model: str,
        *,
        compute: str = "float32",
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        prompt_name: str | None = None,
    ) -> None:
        self.model = model
        self.compute = compute
        self.normalize = normalize
        self.truncate_dim = truncate_dim
        self.prompt_name = prompt_name

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn nothing, but how many values a vector has."""
        self._n_features_out = (
            self.truncate_dim or load(self.model, compute=self.compute).dim
        )
        return self

    def transform(self, X: Any) -> Any:
        """Turn texts into vectors (texts, dim)."""
        return load(self.model, compute=self.compute).encode(
            X,
            normalize=self.normalize,
            truncate_dim=self.truncate_dim,
            prompt_name=self.prompt_name,
        )
