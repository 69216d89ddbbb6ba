"""The encoder of a transformer: token ids in, hidden states out.

What all families of models have in common, and the only class there is for them.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, Never, TypeAlias

import numpy as np
from numpy import float32, int64
from numpy.typing import ArrayLike, NDArray

from .. import _rowwise
from .._packed import FORMATS, PRECISIONS
from .._program import Program
from ..arrays import as_choice, as_integers
from ..keywords import unexpected
from ..nn import Embedding, Encoder, Layer, LayerNorm, Linear
from ..nn.buffers import empty_rows
from ..nn.recorder import Kind, program_for
from ..nn.sequences import Sequences
from ..nn.smoothing import smoothing_factors
from ..padding import Packing, packing_of, pad, unpad
from .checkpoint import Settings
from .cures import WEIGHTS, no_config
from .families import family_of
from .families.family import TASK, Architecture, Family, Indices, SameRows, names_in
from .folder import Folder
from .refused import refuse_architecture
from .saving import Writer, json_file, write_folder
from .sentence import TRANSFORMER
from .tensor_files import TensorFiles
from .tensors import Tensors
from .weights import GivenTensors, find_weights, weights_file

# What is loaded at once, a layer of the encoder or another layer, and the rest of a key.
PART = re.compile(r"(encoder\.layers\.\d+\.|relative\.|.*\.)(.*)")

# What stands in a state dict: prefix of a part -> rest of the key -> value.
Parts: TypeAlias = dict[str, dict[str, ArrayLike]]

# Random token ids by which int8 evens out columns: 2048 make nothing closer in MiniLM.
SAMPLE_TOKENS = 32

TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


class Config(Mapping[str, Any]):
    """The fields of a config.json: items, and attributes as transformers has them.

    Nothing here changes a model: it was built of them.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, field: str) -> Any:
        """Give the value of a field."""
        return self._fields[field]

    def __getattr__(self, field: str) -> Any:
        """Give the value of a field."""
        # Where an object is unpickled it has no fields yet.
        fields = vars(self).get("_fields", {})
        if field not in fields:
            raise AttributeError(f"config.json has no {field}")
        return fields[field]

    def __iter__(self) -> Iterator[str]:
        """List the fields."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Count the fields."""
        return len(self._fields)

    def __repr__(self) -> str:
        """Show all fields."""
        return f"Config({self._fields})"


class EncoderModel(Layer):
    """The encoder of a transformer: token ids in, hidden states out.

    :func:`fastattn.load` makes one, as the `model` of what it gives. It may be called from
    many threads at once, and pickles.

    Attributes
    ----------
    config : Config
        The fields of config.json, as items and as attributes.
    vocab_size, hidden_size : int
        Token ids are less than the one; the other is the size of a vector.
    max_positions : int
        Tokens of the longest sequence.
    num_token_types : int
        Token types are less than this. A model that has none, or one, takes any.
    word_embeddings, position_embeddings, token_type_embeddings : Embedding
        The tables; the last two are None where a model has no such table. Where the file
        holds float32 they are views of it.
    embedding_norm : LayerNorm or None
        The norm behind the sum of their rows.
    embedding_projection : Linear or None
        Behind it, what makes vectors of the hidden size of narrower ones.
    encoder : Encoder or None
        The layers; a static model has none, and its hidden states are rows of the table.
    """

    def __init__(
        self,
        config: Config,
        architecture: Architecture,
        encoder: Encoder | None,
        tables: Mapping[str, Embedding],
        behind: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = architecture.vocab_size
        self.hidden_size = architecture.hidden_size
        self.max_positions = architecture.max_positions
        self.num_token_types = architecture.num_token_types
        self.word_embeddings = tables["word_embeddings"]
        self.position_embeddings = tables.get("position_embeddings")
        self.token_type_embeddings = tables.get("token_type_embeddings")
        self.embedding_norm: LayerNorm | None = behind.get("embedding_norm")
        self.embedding_projection: Linear | None = behind.get("embedding_projection")
        self.encoder = encoder
        self._relative: Layer | None = behind.get("relative")
        self._position_ids = architecture.position_ids
        self._embedding_scale = architecture.embedding_scale
        self._places = architecture.weights

    @classmethod
    def from_weights(
        cls,
        config: Mapping[str, Any],
        tensors: Mapping[str, ArrayLike],
        *,
        weights: str = "float32",
    ) -> "EncoderModel":
        """Make a model of settings and weights that are in memory already.

        Parameters
        ----------
        config : mapping of str to value
            What stands in a config.json; of a model of transformers
            ``model.config.to_dict()``.
        tensors : mapping of str to array_like
            The weights under the names that transformers has for them,
            ``model.state_dict()``: float32, float16 or bfloat16. They are copied.
        weights : str, default "float32"
            How the matrices of the layers are stored, as for :func:`fastattn.load`.

        Returns
        -------
        EncoderModel
            The same as :func:`fastattn.load` makes of the same in a folder.

        Raises
        ------
        TypeError
            If `config` or `tensors` is not a mapping.
        ModelFormatError
            If a field or a tensor is missing, unknown or wrong; the message names it.
        ValueError
            If there are no such `weights`, or a number is too large for them.

        Examples
        --------
        >>> import fastattn as fa
        >>> from fastattn.models import EncoderModel
        >>> EncoderModel.from_weights({"model_type": "bert"}, {})
        Traceback (most recent call last):
        fastattn.errors.ModelFormatError: config: vocab_size is missing
        """
        for name, value in (("config", config), ("tensors", tensors)):
            if not isinstance(value, Mapping):
                raise TypeError(
                    f"{name} must map names to values, as a dict does, got "
                    f"{type(value).__name__}; of a model of transformers, take "
                    "model.config.to_dict() and model.state_dict()"
                )
        as_choice(weights, "weights", FORMATS)
        settings = Settings(Path("config"), dict(config))
        family = family_of(settings).with_tensors(tensors)
        architecture = family.read(settings)
        taken = names_in(architecture.weights)
        given = GivenTensors(tensors, partial(family.name_of, taken=taken))
        parts = find_parts(architecture.weights, given)
        return build(Config(config), architecture, parts, given, weights)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that transformers reads: config.json and model.safetensors.

        Parameters
        ----------
        folder : str or path
            A new folder, or an empty one. It is there as a whole or not at all.

        Raises
        ------
        FileExistsError
            If there is a file of this name, or something in the folder.
        TypeError
            If the `config` that the model was made with holds what JSON has no word for.

        Notes
        -----
        The weights are written as the float32 numbers that are computed with, however
        they are stored, under the names of transformers. Tensors that take no part in
        hidden states, a pooler for example, were not read and are not written.
        """
        write_folder(folder, self.files())

    def files(
        self,
        head: Layer | None = None,
        places: Sequence[SameRows] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> dict[str, Writer]:
        """Give what writes each of the files of `save`, by name.

        With the weights of a head among the model's, `places` says where all stand;
        `fields` take the places of those in config.json.
        """
        owners = [*self._owners(), *(() if head is None else head._owners())]
        weights = {key: partial(layer._read, name) for key, layer, name in owners}
        # transformers computes in what is named here, whatever the file holds.
        dtypes = dict.fromkeys({"dtype", "torch_dtype"} & self.config.keys(), "float32")
        try:
            config = json_file(dict(self.config) | dtypes | dict(fields or {}))
        except TypeError as error:
            raise TypeError(f"config cannot be written as JSON: {error}") from None
        return {
            "config.json": config,
            WEIGHTS: weights_file(places or self._places, weights),
        }

    def compute_in(
        self, precision: str, factors: Mapping[str, ArrayLike] | None = None
    ) -> None:
        """Take the products of all dense layers in another precision.

        Parameters
        ----------
        precision : str
            "float32", "int8", "int16" or "bfloat16", as for
            :meth:`fastattn.nn.Layer.compute_in`.
        factors : mapping of str to array_like of float32 (in_features,), optional
            For "int8", as there. By default they are found in a call with random token
            ids, always the same ones, so that equal models compute equal bits.

        Raises
        ------
        ValueError
            As there.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2").model
        >>> model.compute_in("int8")
        >>> model
        EncoderModel(vocab_size=30522, hidden_size=384, max_positions=512, \
num_token_types=2, compute='int8')
        """
        as_choice(precision, "precision", PRECISIONS)
        if factors is None and precision == "int8":
            factors = self._smoothing_factors()
        super().compute_in(precision, factors)

    def _smoothing_factors(self) -> dict[str, NDArray[float32]]:
        """Find what evens out columns, of token ids that are drawn from a fixed seed."""
        shape = 1, min(SAMPLE_TOKENS, self.max_positions)
        ids = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return smoothing_factors(self, ids)

    def _children(self) -> Mapping[str, Layer]:
        children = {
            "word_embeddings.": self.word_embeddings,
            "position_embeddings.": self.position_embeddings,
            "token_type_embeddings.": self.token_type_embeddings,
            "embedding_norm.": self.embedding_norm,
            "embedding_projection.": self.embedding_projection,
            "relative.": self._relative,
            "encoder.": self.encoder,
        }
        return {prefix: layer for prefix, layer in children.items() if layer is not None}

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        **others: Never,
    ) -> NDArray[float32]:
        """Compute the hidden states of token ids.

        Parameters
        ----------
        input_ids : array_like of int (batch, length)
            Token ids, 0 to ``vocab_size - 1`` at real positions; `length` is at most
            ``max_positions``.
        attention_mask : array_like of bool or of the integers 0 and 1, optional
            (batch, length); True or 1 at real positions, which all are unless given. A
            token keeps the position of its column, wherever the padding is; models that
            count positions by ids, as RoBERTa does, count those that are hidden, too.
        token_type_ids : array_like of int (batch, length), optional
            Which text of a pair a token is of, 0 to ``num_token_types - 1``; 0 unless
            given. A model with one type or none takes any.

        Returns
        -------
        array (batch, length, hidden) float32
            What transformers calls last_hidden_state, with zeros at padded positions.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If a shape is wrong, or an id out of its range.

        Notes
        -----
        A sequence gives the same bits alone, in any batch and with any padding on its
        right. On text, hidden states of MiniLM are within 5e-6 of what transformers
        computes in float64.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> input_ids, mask = [[101, 7592, 102], [101, 102, 0]], [[1, 1, 1], [1, 1, 0]]
        >>> model.model(input_ids, mask).shape
        (2, 3, 384)
        """
        if others:
            raise unexpected(type(self).__call__, others, type(self).__name__)
        ids = as_integers(input_ids, "input_ids")
        if ids.ndim != 2:
            raise ValueError(f"input_ids must have shape (batch, length), got {ids.shape}")
        batch, length = ids.shape
        if length > self.max_positions:
            raise ValueError(
                f"input_ids must have at most {self.max_positions} positions, got {length}"
            )
        packing = packing_of(batch, length, padding_mask=attention_mask)
        tokens = unpad(ids, packing)
        _check_range(tokens, "input_ids", self.vocab_size)
        types = np.zeros(len(tokens), int64)
        if token_type_ids is not None:
            given = as_integers(token_type_ids, "token_type_ids")
            if given.shape != ids.shape:
                raise ValueError(
                    f"token_type_ids must have the shape of input_ids {ids.shape}, "
                    f"got {given.shape}"
                )
            types = unpad(given, packing)
            if self.num_token_types > 1:
                _check_range(types, "token_type_ids", self.num_token_types)
        # What is hidden counts where positions are counted by ids.
        positions = self._positions(ids.ravel(), packing_of(batch, length))
        positions = unpad(positions.reshape(ids.shape), packing)
        hidden = empty_rows(len(tokens), self.hidden_size)
        program = program_for(packing)
        sequences = Sequences(packing, packing)
        self.steps(program, tokens, types, sequences, hidden, positions)
        program.run()
        return np.ascontiguousarray(pad(hidden, packing))

    def steps(
        self,
        program: Program,
        input_ids: Indices,
        token_type_ids: Indices,
        sequences: Sequences,
        out: NDArray[float32],
        positions: Indices | None = None,
    ) -> None:
        """Add the model to a program: packed ids (tokens,), out (tokens, hidden).

        `positions` are rows of their table, which follow from the ids unless given.
        """
        # By the names that a trace has for the rows of the tables.
        lookups = {"embeddings": (self.word_embeddings.table_for_lookup, input_ids)}
        if self.position_embeddings is not None:
            if positions is None:
                positions = self._positions(input_ids, sequences.queries)
            lookups["positions"] = (self.position_embeddings.table_for_lookup, positions)
        if self.token_type_embeddings is not None:
            types = token_type_ids if self.num_token_types > 1 else token_type_ids * 0
            lookups["token_types"] = (self.token_type_embeddings.table_for_lookup, types)
        scale = self._embedding_scale
        if program.recorder is not None:
            _record(program, lookups, scale)
        tables, indices = zip(*lookups.values(), strict=True)
        norm = self.embedding_norm
        fused = None if norm is None else norm.parameters_for_norm
        projection, embedded = self.embedding_projection, out
        if projection is not None:
            embedded = empty_rows(len(out), projection.in_features)
        _rowwise.embed(program, tables, indices, embedded, scale=scale, norm=fused)
        if norm is not None:
            program.record("embedding_norm", embedded, Kind.QUERIES)
        if projection is not None:
            projection.steps(program, embedded, out)
            program.record("embedding_output", out, Kind.QUERIES)
        if self.encoder is not None:
            # Every layer may write where it reads: they all run in place, in out.
            self.encoder.add_parts(program, out, out, sequences)

    def _positions(self, ids: Indices, packing: Packing) -> Indices:
        """Say which row of the table of positions each packed token takes."""
        if self._position_ids is None:
            return packing.columns
        return self._position_ids(ids, packing.columns, packing.cu_seqlens)


def read_model(folder: Folder, weights: str = "float32") -> EncoderModel:
    """Read the model of a folder, whose matrices are then stored as `weights` says."""
    settings, family, architecture, files = describe(folder)
    taken = names_in(architecture.weights)
    tensors = Tensors(files, partial(family.name_of, taken=taken))
    parts = find_parts(architecture.weights, tensors)
    return build(Config(settings.fields), architecture, parts, tensors, weights)


def describe(folder: Folder) -> tuple[Settings, Family, Architecture, TensorFiles]:
    """Read the config.json of a folder, and what model it means; find its weights."""
    if not folder.has("config.json"):
        raise no_config(folder)
    settings = Settings.read(folder, "config.json")
    refuse_architecture(settings)
    family, files = family_of(settings), TensorFiles(folder)
    if family.variants:
        family = family.with_tensors(files.names)
    settings = _with_task(folder, settings, family)
    # What config.json says is checked before there is anything else to read.
    architecture = family.read(settings)
    # What has been merged is no adapter any more where the model is written.
    kept = {k: v for k, v in settings.fields.items() if k not in (TASK, *family.adapters)}
    return Settings(settings.path, kept), family, architecture, files


def _with_task(folder: Folder, settings: Settings, family: Family) -> Settings:
    """Add the task whose adapter is wanted, which stands in another file, to a config.json.

    It is a setting of the code that such a model comes with for sentence-transformers.
    """
    others = (Settings.read(folder, name) for name in TRANSFORMER if folder.has(name))
    beside = next(others, settings)
    if not beside.has(TASK):
        return settings
    if not family.adapters:
        raise beside.error(TASK, "is about adapters for tasks, and the model has none")
    return Settings(settings.path, settings.fields | {TASK: beside.get(TASK, str)})


def find_parts(weights: Sequence[SameRows], tensors: Tensors) -> Parts:
    """Find weights among tensors, of which none may be left over."""
    parts: Parts = defaultdict(dict)
    for key, rows in find_weights(weights, tensors).items():
        part, name = PART.findall(key)[0]
        parts[part][name] = rows
    return parts


def build(
    config: Config,
    architecture: Architecture,
    parts: Parts,
    tensors: Tensors,
    format: str,
) -> EncoderModel:
    """Build a model of weights that were found, so that they bear out what config says."""
    size = architecture.hidden_size
    width = architecture.embedding_size or size
    final_norm = architecture.final_norm and architecture.final_norm(size)
    encoder = Encoder.from_layers([make() for make in architecture.layers], final_norm)
    encoder.store_weights_as(format)
    for part, layer in encoder._children().items():
        layer.load_state_dict(parts[f"encoder.{part}"])
    behind: dict[str, Layer] = {}
    if architecture.embedding_norm is not None:
        behind["embedding_norm"] = architecture.embedding_norm(width)
    if architecture.embedding_size is not None:
        behind["embedding_projection"] = Linear(width, size, init="zeros")
    if architecture.relative is not None:
        behind["relative"] = architecture.relative
    for name, layer in behind.items():
        layer.store_weights_as(format)
        layer.load_state_dict(parts[f"{name}."])
    tables = {
        name: Embedding.from_table(tensors.to_keep(np.asarray(parts[f"{name}."]["weight"])))
        for name in TABLES
        if f"{name}." in parts
    }
    return EncoderModel(config, architecture, encoder, tables, behind)


def _record(
    program: Program,
    lookups: Mapping[str, tuple[NDArray[float32], Indices]],
    scale: float,
) -> None:
    """Record what is looked up, none of which is stored."""
    rows = {name: partial(table.take, ids, 0) for name, (table, ids) in lookups.items()}
    for name, take in rows.items():
        program.record(name, take, Kind.QUERIES)
    program.record(
        "embedding_sum",
        lambda: reduce(np.add, [take() for take in rows.values()]) * float32(scale),
        Kind.QUERIES,
    )


def _check_range(ids: NDArray[int64], name: str, limit: int) -> None:
    """Make sure that ids are from 0 to limit - 1."""
    # As unsigned numbers, those below 0 are the largest.
    if ids.view(np.uint64).max(initial=0) >= limit:
        wrong = ids[(ids < 0) | (ids >= limit)]
        raise ValueError(f"{name} must be from 0 to {limit - 1}, got {wrong[0]}")
