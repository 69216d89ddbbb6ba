"""The error and the warning that are fastattn's own, and a cure that several name."""


class ModelFormatError(ValueError):
    """A model folder holds something that fastattn cannot read, or does not know.

    The message begins with the path of the file and names the field or the tensor.

    Examples
    --------
    >>> import fastattn as fa
    >>> issubclass(fa.ModelFormatError, ValueError)
    True
    """


class TruncationWarning(UserWarning):
    """Texts were cut at the model's `max_length`; the message says how many.

    Examples
    --------
    >>> import fastattn as fa
    >>> issubclass(fa.TruncationWarning, UserWarning)
    True
    """


def cure_for(model: object) -> str:
    """Say how a model of another library gets here, for the end of a message."""
    if type(model).__module__.startswith(("transformers.", "sentence_transformers.")):
        return ": save_pretrained(folder) of the model and its tokenizer, then load it"
    return ""
