"""Models of folders: one class for all families, and what each family is as data."""

from .model import Config, EncoderModel, read_model

__all__ = ["Config", "EncoderModel", "read_model"]
