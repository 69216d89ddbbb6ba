"""fastattn in the tools of others: a module for each, which is imported by its name.

:mod:`~fastattn.integrations.sentence_transformers` has the classes of that library, with
their own methods and keywords. The others import the library they are named after.
"""

import sys
from importlib import import_module

THEIRS = "sentence_transformers"


def install_as_sentence_transformers() -> None:
    """Let ``import sentence_transformers`` find the classes of fastattn in this process.

    It is for libraries that ask for the class by the name of its module; call it before
    they are imported.

    Raises
    ------
    RuntimeError
        If the real library is imported already: who has taken its class from there would
        not see the change.

    Examples
    --------
    >>> from fastattn.integrations import install_as_sentence_transformers
    >>> install_as_sentence_transformers()  # doctest: +SKIP
    >>> from sentence_transformers import SentenceTransformer  # doctest: +SKIP
    """
    ours = import_module(f".{THEIRS}", __name__)
    if sys.modules.get(THEIRS, ours) is not ours:
        raise RuntimeError(
            f"{THEIRS} is imported already: call install_as_{THEIRS}() before what imports "
            "it, at the start of the program"
        )
    # With its modules, which a path would let be imported a second time.
    for name, module in list(sys.modules.items()):
        if name == ours.__name__ or name.startswith(f"{ours.__name__}."):
            sys.modules[THEIRS + name.removeprefix(ours.__name__)] = module
