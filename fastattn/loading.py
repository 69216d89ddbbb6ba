"""From the name of a model, or its folder, to the object that it is."""

import os
from collections.abc import Mapping
from typing import Any

from ._packed import FORMATS, PRECISIONS
from .arrays import as_choice
from .cross_encoder import CrossEncoder
from .keywords import in_our_words
from .models.download import folder_of
from .models.kinds import kinds_of
from .sparse_encoder import SparseEncoder
from .text import TextEncoder
from .text_base import TextModel

CLASSES: dict[str, type[TextModel]] = {
    "CrossEncoder": CrossEncoder,
    "SparseEncoder": SparseEncoder,
    "TextEncoder": TextEncoder,
}


@in_our_words
def load(
    name_or_folder: str | os.PathLike[str],
    *,
    compute: str = "float32",
    weights: str = "float32",
    max_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    revision: str | None = None,
    download: bool = False,
) -> Any:
    """Load a model; the network is touched only if that is asked for.

    Parameters
    ----------
    name_or_folder : str or path
        A folder in the format of transformers or sentence-transformers: config.json,
        model.safetensors or the files that its index lists, tokenizer.json, and
        modules.json where vectors are not just the mean. Or the name of a model,
        ``all-MiniLM-L6-v2`` or ``sentence-transformers/all-MiniLM-L6-v2``, which is looked
        for as a folder, in the local Hugging Face cache, then in an installed package that
        carries it.
    compute : str, default "float32"
        In what the products of dense layers are taken: "int8", "int16" or "bfloat16" for
        speed, the last where :func:`fastattn.show_config` says that an instruction takes
        such products. docs/accuracy.md says how close vectors stay, and
        :func:`fastattn.compare_compute` how close and how fast they are on your texts.
    weights : str, default "float32"
        How the matrices of the layers are stored, whatever they are in the file, as for
        :meth:`fastattn.nn.Layer.store_weights_as`: in fewer bytes as "int8", for example.
    max_length : int, optional
        Tokens of a text that are read, special tokens included; unless given, what the
        folder says. As many are possible as the model has positions for.
    prompts : mapping of str to str, optional
        Prompts by name, which join those of the folder or stand in their place: for models
        whose prompts stand in no file.
    revision : str, optional
        Which branch, tag or commit of a model of the hub, in the cache too; the main
        branch unless given.
    download : bool, default False
        Get a model that is not on this machine from the Hugging Face hub, as
        :func:`fastattn.download` does. One that is here makes no request.

    Returns
    -------
    TextEncoder, CrossEncoder or SparseEncoder
        What the folder is: a model that turns texts into vectors, one that scores pairs of
        texts, or texts, or one that gives weights to words. Their own ``load`` takes the
        same arguments and refuses a folder of another kind.

    Raises
    ------
    FileNotFoundError
        If it is nowhere on this machine; the message says how to get it. With `download`,
        if the hub has no such model or revision.
    ModelFormatError
        If the folder holds something that fastattn does not know, by file and field:
        what is damaged, NaN or infinity in a weight, a file that is a pipe, a folder or a
        link out of the folder.
    OSError
        If a file cannot be read: no permission, or a disk that fails. With `download`,
        ConnectionError and PermissionError about the hub.
    MemoryError
        If the weights do not fit into memory.
    ImportError
        If tokenizers or safetensors is not installed, or huggingface_hub to download:
        ``pip install 'fastattn[text]'``.
    ValueError
        If there are no such `compute` or `weights`, both are given, a number is too large
        for them, `revision` goes with a folder, or `max_length` is more than the model has
        positions for.

    Notes
    -----
    Attention, norms and activations are always computed in float32, and every promise of
    bits holds for all `compute` and `weights`. Classifiers and modules behind the encoder
    stay float32. With "int8" columns are evened out by factors that are found here, from
    random token ids of a fixed seed. In a static model there is nothing for `compute` and
    `weights` to change.

    Narrow weights save memory, and time where few tokens are computed at once, which wait
    for the weights; docs/accuracy.md says how they are rounded, and how close vectors
    stay.

    The file of the weights is mapped. The matrices are packed for the kernels; the
    embedding tables stay in the map, which all processes share; the file must not be
    changed in place while the model lives. Nothing in a folder is executed or unpickled;
    SECURITY.md says what may be expected of a folder that a stranger made.

    A model pickles by its name and a hash, with settings such as `max_length` as they are,
    and is loaded again where it is unpickled; FileNotFoundError and ValueError there tell
    of a folder that is missing or different. One whose weights, layers or tokenizer were
    changed pickles whole.

    Examples
    --------
    >>> import fastattn as fa
    >>> model = fa.load("all-MiniLM-L6-v2")
    >>> model.encode(["a text", "another"]).shape
    (2, 384)
    """
    as_choice(compute, "compute", PRECISIONS)
    as_choice(weights, "weights", FORMATS)
    kind, *_ = kinds_of(folder_of(name_or_folder, revision, download))
    return CLASSES[kind].load(
        name_or_folder,
        compute=compute,
        weights=weights,
        max_length=max_length,
        prompts=prompts,
        revision=revision,
        download=download,
    )
