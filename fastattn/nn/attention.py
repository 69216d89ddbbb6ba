"""Multi-head attention: of a sequence to itself, or to another one."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _attention, _rowwise
from .._program import Program
from ..arrays import as_flag, as_mask, as_number
from ..init import Initializer, Seed, initializer
from ..padding import Packing, packing_of, pad, unpad
from ..positions import rotary_positions
from ..scaled_dot import attention_weights
from .buffers import Buffers, Heads
from .cache import KeyValueCache
from .heads import (
    Alibi,
    attend,
    by_head,
    causal_mask,
    score_matrix,
    score_settings,
    slopes_of,
)
from .layer import Layer, draw_packed, positive
from .linear import Linear, add_and_norm
from .norm import RowNorm
from .projection import SEPARATE, project, project_rows
from .recorder import program_for
from .sequence import MaskedRun, as_batch, masked_runs
from .torch_modules import attention_settings

__all__ = ["MultiHeadAttention"]

Array = NDArray[np.float32]


class MultiHeadAttention(Layer):
    """Attention with several heads: of a sequence to itself, or to a source.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    num_heads : int
        Number of heads; each works on ``head_dim = hidden_size / num_heads`` columns.
    num_kv_heads : int, optional
        Number of heads of keys and values, a divisor of `num_heads`: query head h uses
        head ``h // (num_heads // num_kv_heads)`` of them. By default `num_heads`; 1 is
        multi-query attention.
    source_size : int, optional
        Size of a vector of the source, from which keys and values are made. By default
        `hidden_size`; with any other size the layer needs a source.
    rotary : float, optional
        Base of the rotary positions that turn queries and keys, 10000.0 in the paper,
        as for :func:`fastattn.rotary_positions`. By default nothing is turned.
    rotary_dim : int, optional
        How many columns of a head are turned, its first ones; by default all.
    rotary_interleaved : bool, default False
        Which columns are turned together, as for :func:`fastattn.apply_rotary`.
    alibi : bool or array_like (num_heads,), default False
        Whether scores fall with the distance of query and key (ALiBi), by the slopes of
        :func:`fastattn.alibi_slopes` or by those given.
    bias : bool, default True
        Whether the projections have biases.
    init : str, optional
        How weights are drawn, as for :class:`Linear`. By default as torch does:
        "xavier_uniform" for the projection to queries, keys and values, as one matrix
        where they have one. Biases are 0.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, `hidden_size` is not a multiple of
        `num_heads` or that of `num_kv_heads`, `rotary` is less than 1, the columns that
        are turned are an odd number or more than a head has, slopes are not one for
        each head, or `init` is unknown.

    Notes
    -----
    With ``s = x`` where there is no source::

        q, k, v = x @ Wq.T + bq, s @ Wk.T + bk, s @ Wv.T + bv

    each split into heads; ``softmax(q @ k.T / sqrt(head_dim)) @ v`` for every head, side
    by side; then the output projection. The matrix of scores is never built.

    With `rotary`, q and k of every head are turned before that, and with `alibi`
    ``slope * abs(i - j)`` is taken off the score of query i and key j. The position of
    a token is its column, in x and in a source, or its place behind what is in a
    cache, wherever the padding is.

    Weights have torch's names. ``in_proj_weight``, of ``(num_heads + 2 * num_kv_heads) *
    head_dim`` rows, holds Wq, Wk and Wv on top of each other; with another `source_size`
    they are ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight``. Either way the
    biases are one ``in_proj_bias``.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.2. For fewer heads of
    keys and values: Ainslie et al., "GQA" (2023), section 2.2. For rotary positions: Su
    et al., "RoFormer" (2021), section 3.2. For ALiBi: Press, Smith and Lewis, "Train
    Short, Test Long" (2022), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.MultiHeadAttention(8, 2, rng=0)
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> layer(x, lengths=[3, 1]).any(axis=-1)
    array([[ True,  True,  True],
           [ True, False, False]])

    Three queries look at a source of five vectors, the last two of them padding:

    >>> layer = fa.nn.MultiHeadAttention(8, 2, source_size=6, rng=0)
    >>> source = np.ones((1, 5, 6), np.float32)
    >>> out, weights = layer(x[:1], source=source, lengths=[3], return_weights=True)
    >>> weights[0, 0].round(2)
    array([[0.33, 0.33, 0.33, 0.  , 0.  ],
           [0.33, 0.33, 0.33, 0.  , 0.  ],
           [0.33, 0.33, 0.33, 0.  , 0.  ]], dtype=float32)
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        source_size: int | None = None,
        rotary: float | None = None,
        rotary_dim: int | None = None,
        rotary_interleaved: bool = False,
        alibi: bool | ArrayLike = False,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.hidden_size = positive(hidden_size, "hidden_size")
        self.num_heads = _divisor(num_heads, "num_heads", hidden_size, "hidden_size")
        self.num_kv_heads = self.num_heads
        if num_kv_heads is not None:
            self.num_kv_heads = _divisor(
                num_kv_heads, "num_kv_heads", self.num_heads, "num_heads"
            )
        self.source_size = self.hidden_size
        if source_size is not None:
            self.source_size = positive(source_size, "source_size")
        self._settle_positions(rotary, rotary_dim, alibi)
        self.rotary_interleaved = as_flag(rotary_interleaved, "rotary_interleaved")
        rng = np.random.default_rng(rng)
        self._draw(initializer("xavier_uniform" if init is None else init), rng)
        if as_flag(bias, "bias"):
            self._weights["in_proj_bias"] = np.zeros(self._ends[-1], np.float32)
        self.out_proj = Linear(self.hidden_size, self.hidden_size, bias, init=init, rng=rng)
        if bias:
            # As torch does: no other Linear starts with a bias of 0 by default.
            self.out_proj._weights["bias"] = np.zeros(self.hidden_size, np.float32)

    def _settle_positions(
        self, rotary: float | None, rotary_dim: int | None, alibi: bool | ArrayLike
    ) -> None:
        """Check what makes attention look at positions."""
        self.rotary = None if rotary is None else as_number(rotary, "rotary")
        if self.rotary is not None and self.rotary < 1:
            raise ValueError(f"rotary must be at least 1, got {rotary}")
        self.rotary_dim = self._head_dim
        if rotary_dim is not None:
            self.rotary_dim = positive(rotary_dim, "rotary_dim")
        if self.rotary is not None and (
            self.rotary_dim % 2 or self.rotary_dim > self._head_dim
        ):
            raise ValueError(
                "the columns that rotary positions turn must be even and at most the "
                f"size of a head, {self._head_dim}, got {self.rotary_dim}"
            )
        self.alibi_slopes = slopes_of(alibi, self.num_heads)

    def _draw(self, draw: Initializer, rng: np.random.Generator) -> None:
        """Draw the weights of queries, keys and values."""
        if self.source_size == self.hidden_size:
            whole = draw_packed(draw, (self._ends[-1], self.hidden_size), rng)
            self._weights["in_proj_weight"] = whole
            return
        inputs = (self.hidden_size, self.source_size, self.source_size)
        rows = np.diff(self._ends, prepend=0).tolist()
        for name, *shape in zip(SEPARATE, rows, inputs, strict=True):
            self._weights[name] = draw_packed(draw, (shape[0], shape[1]), rng)

    def _children(self) -> Mapping[str, Layer]:
        return {"out_proj.": self.out_proj}

    @property
    def _head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def _ends(self) -> list[int]:
        """Where queries, keys and values end in a projected vector."""
        heads = self.num_kv_heads * self._head_dim
        return [self.hidden_size, self.hidden_size + heads, self.hidden_size + 2 * heads]

    @property
    def in_proj_weight(self) -> Array | None:
        """The weights of query, key and value as one matrix, read-only.

        None where `source_size` is not `hidden_size`: they are three matrices then.
        """
        return self._read("in_proj_weight") if "in_proj_weight" in self._weights else None

    @property
    def in_proj_bias(self) -> Array | None:
        """The biases of query, key and value, one behind the other, read-only, or None."""
        return self._read("in_proj_bias") if "in_proj_bias" in self._weights else None

    def __call__(
        self,
        x: ArrayLike,
        *,
        source: ArrayLike | None = None,
        padding_mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Any:
        """Apply the layer to a batch of sequences, or to one sequence.

        Parameters
        ----------
        x : array_like of float32 (batch, length, hidden_size) or (length, hidden_size)
            The sequences that the queries are made from.
        source : array_like of float32 (batch, source length, source_size), optional
            The sequences that keys and values are made from, without the batch where x
            has none. By default x.
        padding_mask : array_like of bool or of the integers 0 and 1, optional
            True or 1 where a token is real, False or 0 where there is padding: of the
            source where one is given, (batch, source length), and of x otherwise,
            (batch, length). That is where PyTorch's `key_padding_mask` stands, which
            says the opposite: pass ``~key_padding_mask``.
        lengths : array_like of int (batch,), optional
            How many tokens of each row of the source, or of x, are real, counted from
            the left: the same as a padding mask with its gaps on the right. Give one of
            the two.
        mask : array_like, broadcastable to (batch, num_heads, length, \
        source length)
            What each query may attend to, besides padding: bool, True = attend; or
            float32, added to the scaled scores. PyTorch's boolean `attn_mask` says the
            opposite.
        causal : bool, default False
            Whether query i attends only to the keys 0 to i, or ``len(cache) + i``.
        cache : KeyValueCache, optional
            Keys and values of the tokens before x, to which those of x are added: x
            stands at the positions from ``len(cache)`` on, and attends to what is in the
            cache too. All its tokens are real, and there is no source. A call that
            fails leaves the cache as it was.
        return_weights : bool, default False
            Whether to return what each head attends to, to look at it.

        Returns
        -------
        out : float32 array of the shape of `x`
            Without a source, padded positions are not computed and come back as zeros.
            With one, every position of x is computed.
        weights : float32 array (batch, num_heads, length, source length)
            Only with `return_weights`; without the batch where x has none. Rows add up
            to 1; what is padded or may attend to nothing has zeros. PyTorch returns
            their mean over the heads by default: ``weights.mean(axis=-3)``.

        Raises
        ------
        TypeError
            When an argument has the wrong dtype.
        ValueError
            When a shape is wrong, both `padding_mask` and `lengths` are given, a layer
            whose `source_size` is not its `hidden_size` gets no source, or a cache
            comes with `source`, `padding_mask` or `lengths`, or from another layer or
            batch.

        Notes
        -----
        A sequence gives the same bits alone, in any batch, with any padding on the right
        and with any number of threads; what stands at padded positions, NaN too, has no
        influence. A query that may attend to nothing gets the bias of the output
        projection.
        """
        batch, single = as_batch(x, "x", self.hidden_size)
        made_from = self._source(source, batch, single)
        flags = as_flag(causal, "causal"), as_flag(return_weights, "return_weights")
        if cache is None:
            keys = packing_of(
                *made_from.shape[:2], lengths=lengths, padding_mask=padding_mask
            )
            other = None if source is None else made_from
            result, weights = self._packed(batch, other, keys, mask, *flags)
        elif not isinstance(cache, KeyValueCache):
            raise TypeError(f"cache must be a KeyValueCache, got {type(cache).__name__}")
        elif source is None and padding_mask is None and lengths is None:
            result, weights = self._continued(batch, cache, mask, *flags)
        else:
            raise ValueError("with a cache, source, padding_mask and lengths must be None")
        if single:
            result, weights = result[0], None if weights is None else weights[0]
        return result if weights is None else (result, weights)

    def _packed(
        self,
        batch: Array,
        source: Array | None,
        keys: Packing,
        mask: ArrayLike | None,
        causal: bool,
        return_weights: bool,
    ) -> tuple[Array, Array | None]:
        """Compute the output, and the weights, of real tokens; `keys` says which are."""
        queries = keys if source is None else packing_of(*batch.shape[:2])
        if source is not None and causal and keys.index is not None:
            # Packed keys have lost the columns that queries are compared with.
            shape = (len(batch), self.num_heads, queries.length, keys.length)
            mask = causal_mask(mask, shape)
            causal = False
        runs = None
        if mask is not None:
            runs = masked_runs(mask, queries, keys, self.num_heads)
        tokens = unpad(batch, queries)
        program = program_for(queries, keys)
        heads = self._project(
            program, tokens, None if source is None else unpad(source, keys)
        )
        of_queries, of_keys = queries.columns, keys.columns
        self._turn(program, heads, of_queries, of_keys)
        alibi = self._alibi(of_queries, of_keys)
        attended = np.empty(heads.query.shape, np.float32)
        starts = queries.cu_seqlens, keys.cu_seqlens
        attend(program, heads, attended, *starts, causal, runs, alibi)
        out = np.empty(tokens.shape, np.float32)
        self.out_proj.steps(program, attended.reshape(out.shape), out)
        program.record("output", out)
        program.run()
        if not return_weights:
            return pad(out, queries), None
        return pad(out, queries), score_matrix(heads, queries, keys, causal, runs, alibi)

    def _continued(
        self,
        batch: Array,
        cache: KeyValueCache,
        mask: ArrayLike | None,
        causal: bool,
        return_weights: bool,
    ) -> tuple[Array, Array | None]:
        """Compute the output, and the weights, of tokens behind those in a cache."""
        rows, length, past = *batch.shape[:2], len(cache)
        slopes = self.alibi_slopes
        cache.check(rows, self.num_kv_heads, self._head_dim)
        if mask is not None:
            shape = (rows, self.num_heads, length, past + length)
            mask = as_mask(mask, "mask", shape)
        program = Program()
        heads = self._project(program, batch.reshape(rows * length, self.hidden_size))
        positions = np.tile(np.arange(length), rows)
        self._turn(program, heads, positions, positions, offset=past)
        program.run()
        query, key, value = (by_head(part, rows) for part in heads)
        keys, values = cache.extended(key, value)
        attended = np.empty((rows * length, self.hidden_size), np.float32)
        context = by_head(attended.reshape(heads.query.shape), rows)
        program = Program()
        _attention.attention(
            program,
            *(query, keys, values, context),
            mask=mask,
            query_offset=np.full(rows, past),
            slopes=None if slopes is None else np.tile(slopes, (rows, 1)),
            **score_settings(self._head_dim, causal),
        )
        out = np.empty_like(attended)
        self.out_proj.steps(program, attended, out)
        program.run()
        weights = None
        if return_weights:
            weights = attention_weights(
                query, keys, mask, causal=causal, query_offset=past, alibi_slopes=slopes
            )
        cache.advance(length)
        return out.reshape(batch.shape), weights

    def _turn(
        self,
        program: Program,
        heads: Heads,
        queries: NDArray[np.int64],
        keys: NDArray[np.int64],
        *,
        offset: int = 0,
        angles: dict[Any, Any] | None = None,
    ) -> None:
        """Add the turning of queries and keys, in place, where the layer does so.

        Their positions count from `offset`; `angles` are those of layers before.
        """
        if self.rotary is None:
            return
        length = int(max(queries.max(initial=-1), keys.max(initial=-1))) + 1
        angles = {} if angles is None else angles
        table = length, self.rotary_dim, self.rotary
        if table not in angles:
            angles[table] = rotary_positions(
                length, self.rotary_dim, base=self.rotary, offset=offset
            )
        cos, sin = angles[table]
        form = self.rotary_interleaved
        for part, positions in ((heads.query, queries), (heads.key, keys)):
            _rowwise.rotary(program, part, cos, sin, positions, interleaved=form)

    def _alibi(self, queries: NDArray[np.int64], keys: NDArray[np.int64]) -> Alibi | None:
        """Give the slopes, where the layer has some, and the positions they count from."""
        slopes = self.alibi_slopes
        return None if slopes is None else Alibi(slopes, queries, keys)

    def _source(self, source: ArrayLike | None, batch: Array, single: bool) -> Array:
        """Give what keys and values are made from, as a batch."""
        if source is None:
            if self.source_size != self.hidden_size:
                raise ValueError(
                    f"source is needed: keys and values are made from vectors of size "
                    f"{self.source_size}, and x has size {self.hidden_size}"
                )
            return batch
        vectors, alone = as_batch(source, "source", self.source_size)
        if alone != single or len(vectors) != len(batch):
            raise ValueError(
                "x and source must have the same batch, "
                f"got shapes {batch.shape[single:]} and {vectors.shape[alone:]}"
            )
        return vectors

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a ``torch.nn.MultiheadAttention`` computes.

        Parameters
        ----------
        module : torch.nn.MultiheadAttention
            Its sizes and weights are read; torch is not imported. `batch_first` has no
            meaning here: the batch always comes first.

        Returns
        -------
        MultiHeadAttention
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When there is no such layer here: dropout in a module that is training,
            ``add_bias_kv``, ``add_zero_attn``, or `kdim` and `vdim` that differ.
        """
        layer = cls(**attention_settings(module), init="zeros")
        layer.load_state_dict(module.state_dict())
        return layer

    def buffers(self, tokens: int, intermediate_size: int = 0) -> Buffers:
        """Allocate the working memory that `steps` needs, and a network behind it."""
        sizes = self.num_heads, self._head_dim, self._ends[-1], intermediate_size
        return Buffers(tokens, *sizes)

    def steps(
        self,
        program: Program,
        x: Array,
        out: Array,
        cu_seqlens: NDArray[np.int64],
        buffers: Buffers,
        *,
        causal: bool = False,
        runs: Sequence[MaskedRun] | None = None,
        positions: NDArray[np.int64] | None = None,
        residual: Array | None = None,
        norm: RowNorm | None = None,
    ) -> None:
        """Add out = norm(out_proj(attention(x)) + residual) to a program.

        x, out and residual are packed tokens (tokens, hidden_size). x may be
        `buffers.context`; out may be neither that nor residual. `runs` and `positions`
        as for :class:`SequenceLayer`.
        """
        heads, context = buffers.heads, buffers.context
        project_rows(program, self._weights, x, buffers.qkv)
        if positions is None:
            positions = np.arange(len(x))
            positions -= np.repeat(cu_seqlens[:-1], np.diff(cu_seqlens))
        self._turn(program, heads, positions, positions, angles=buffers.angles)
        starts, alibi = (cu_seqlens, cu_seqlens), self._alibi(positions, positions)
        attend(program, heads, buffers.context_heads, *starts, causal, runs, alibi)
        add_and_norm(program, self.out_proj, context, out, residual, norm, "attention")

    def _project(
        self,
        program: Program,
        x: Array,
        source: Array | None = None,
    ) -> Heads:
        """Add the projections of x, and of a source, to a program."""
        sizes = self._ends, self._head_dim
        return project(program, self._weights, *sizes, x, source)


def _divisor(value: int, name: str, of: int, name_of: str) -> int:
    """Check a number of heads, which must divide another number."""
    heads = positive(value, name)
    if of % heads != 0:
        raise ValueError(f"{name_of} must be a multiple of {name}, got {of} and {heads}")
    return heads
