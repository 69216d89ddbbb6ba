"""The error and the warning that are fastattn's own."""


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
