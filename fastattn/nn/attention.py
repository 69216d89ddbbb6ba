"""Multi-head attention: of a sequence to itself, or to another one."""

from collections.abc import Mapping
from typing import Any, Never, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _rowwise
from .._program import Program
from ..arrays import as_flag
from ..init import Seed, initializer
from ..keywords import in_our_words, unexpected
from ..padding import packing_of, pad, unpad
from ..scores import Scores, Window
from .buffers import Buffers, Heads, Sizes
from .cache import KeyValueCache
from .heads import attend, score_matrix, slopes_of
from .layer import Layer, draw_packed, positive
from .linear import Linear, finish_part
from .norm import Norms, RowNorm, make_norm, normalise_heads
from .projection import SEPARATE, project_rows, project_source
from .recorder import Kind, program_for
from .relative import RelativeAttention, RelativeBias, RelativePositions
from .rotary import Rotary
from .sequence_layer import as_batch, real_tokens
from .sequences import Sequences
from .torch_modules import attention_settings, warn_of_order

__all__ = ["MultiHeadAttention"]

Array = NDArray[np.float32]


class MultiHeadAttention(Layer):
    """Attention with several heads: of a sequence to itself, or to a source.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    num_heads : int
        Number of heads.
    num_kv_heads : int, optional
        Number of heads of keys and values, a divisor of `num_heads`: query head h uses
        head ``h // (num_heads // num_kv_heads)`` of them. By default `num_heads`; 1 is
        multi-query attention.
    head_dim : int, optional
        Size of a head, by default ``hidden_size / num_heads``.
    source_size : int, optional
        Size of a vector of the source, from which keys and values are made. By default
        `hidden_size`; with any other size the layer needs a source.
    bias : bool, default True
        Whether the projections have biases.
    out_bias : bool, optional
        Whether the output projection has one; by default as `bias` says.
    qk_norm : {"layer", "rms"} or pair of LayerNorm and RMSNorm, optional
        Norms of queries and of keys, before positions turn them. A word is a norm over
        each head; of a pair, one for queries and one for keys, each is over a head or
        over all of them side by side, as its size says. By default there is none.
    scale : float, optional
        What scores are multiplied by, ``1 / sqrt(head_dim)`` by default.
    window : (left, right), optional
        How far a query sees, as for :func:`fastattn.attention`.
    softcap : float, optional
        The bound of scores, as for :func:`fastattn.attention`.
    rotary : float, array_like (rotary_dim / 2,), or pair of such an array and a float, \
    optional
        Base of the rotary positions that turn queries and keys, 10000.0 in the paper, or
        the frequencies themselves, as for :func:`fastattn.rotary_positions`; with a
        factor behind them, cosines and sines are multiplied by it (YaRN's attention
        factor). By default nothing is turned.
    rotary_dim : int, optional
        How many columns of a head are turned, its first ones; by default all.
    rotary_interleaved : bool, default False
        Which columns are turned together, as for :func:`fastattn.apply_rotary`.
    alibi : bool or array_like (num_heads,), default False
        Whether scores fall with the distance of query and key (ALiBi), by the slopes of
        :func:`fastattn.alibi_slopes` or by those given.
    distance_bias : array_like (num_heads, 2 * m + 1), optional
        What is added to scores by the distance of query and key, as for
        :func:`fastattn.attention`.
    relative_bias : RelativeBias, optional
        In place of `distance_bias`, one that is learned and that layers share.
    relative : RelativePositions, optional
        Vectors of distances, with which queries and keys are multiplied, and what comes of
        it added to their product. With grouped queries, or a source of another size, there
        is no such thing.
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
        `num_heads` where no `head_dim` is given, `num_heads` not one of `num_kv_heads`,
        `rotary` is less than 1, the columns that are turned are an odd number or more
        than a head has, slopes or biases are not those of each head, or `init` or a norm
        is unknown.

    Notes
    -----
    With ``s = x`` where there is no source::

        q, k, v = x @ Wq.T + bq, s @ Wk.T + bk, s @ Wv.T + bv

    each split into heads; ``softmax(q @ k.T * scale) @ v`` for every head, side by side;
    then the output projection. The matrix of scores is never built.

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

    @in_our_words
    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        source_size: int | None = None,
        bias: bool = True,
        out_bias: bool | None = None,
        qk_norm: str | tuple[RowNorm, RowNorm] | None = None,
        scale: float | None = None,
        window: Window | None = None,
        softcap: float | None = None,
        rotary: Any = None,
        rotary_dim: int | None = None,
        rotary_interleaved: bool = False,
        alibi: bool | ArrayLike = False,
        distance_bias: ArrayLike | None = None,
        relative_bias: RelativeBias | None = None,
        relative: RelativePositions | None = None,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self._settle_sizes(hidden_size, num_heads, num_kv_heads, head_dim, source_size)
        self._relative_bias = relative_bias
        self._relative = RelativeAttention.of(relative, self)
        self._scores = Scores.of(
            self.num_heads,
            self.head_dim,
            window=window,
            scale=scale,
            softcap=softcap,
            alibi_slopes=slopes_of(alibi, self.num_heads),
            distance_bias=distance_bias,
        )
        interleaved, self.rotary = as_flag(rotary_interleaved, "rotary_interleaved"), None
        if rotary is not None:
            dim = self.head_dim if rotary_dim is None else rotary_dim
            self.rotary = Rotary.of(rotary, dim, self.head_dim, interleaved)
        self.q_norm, self.k_norm = self._norms(qk_norm)
        rng = np.random.default_rng(rng)
        self._draw(init, rng, as_flag(bias, "bias"))
        out_bias = bias if out_bias is None else as_flag(out_bias, "out_bias")
        sizes = self.sizes.context, self.hidden_size
        self.out_proj = Linear(*sizes, out_bias, init=init, rng=rng)
        if out_bias:
            # As torch does: no other Linear starts with a bias of 0 by default.
            self.out_proj._weights["bias"] = np.zeros(self.hidden_size, np.float32)

    def _settle_sizes(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int | None,
        head_dim: int | None,
        source_size: int | None,
    ) -> None:
        """Check the sizes and fill in those that follow from others."""
        self.hidden_size = positive(hidden_size, "hidden_size")
        self.num_heads = positive(num_heads, "num_heads")
        if head_dim is None:
            sizes = self.num_heads, "num_heads", self.hidden_size, "hidden_size"
            _check_divides(*sizes)
            head_dim = self.hidden_size // self.num_heads
        self.head_dim = positive(head_dim, "head_dim")
        self.num_kv_heads = self.num_heads
        if num_kv_heads is not None:
            self.num_kv_heads = positive(num_kv_heads, "num_kv_heads")
            sizes = self.num_kv_heads, "num_kv_heads", self.num_heads, "num_heads"
            _check_divides(*sizes)
        self.source_size = self.hidden_size
        if source_size is not None:
            self.source_size = positive(source_size, "source_size")
        # Where queries, keys and values end in a projected vector.
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self._ends = [queries, queries + keys, queries + 2 * keys]
        self.sizes = Sizes(self.hidden_size, self._ends[-1], queries)

    def _norms(
        self, qk_norm: str | tuple[RowNorm, RowNorm] | None
    ) -> tuple[RowNorm | None, RowNorm | None]:
        """Make or check the norms of queries and keys."""
        if qk_norm is None:
            return None, None
        if isinstance(qk_norm, str):
            first, second = (make_norm(qk_norm, self.head_dim, None, True) for _ in "qk")
            return first, second
        if not isinstance(qk_norm, tuple) or len(qk_norm) != 2:
            raise TypeError(
                f'qk_norm must be "layer", "rms" or a pair of norms, got {qk_norm!r}'
            )
        for norm, heads in zip(qk_norm, (self.num_heads, self.num_kv_heads), strict=True):
            if norm.dim not in (self.head_dim, heads * self.head_dim):
                raise ValueError(
                    f"a norm of qk_norm must have the size of a head, {self.head_dim}, or "
                    f"of all, {heads * self.head_dim}, got {norm.dim}"
                )
        return qk_norm

    def _draw(self, init: str | None, rng: np.random.Generator, bias: bool) -> None:
        """Draw the weights of queries, keys and values; biases are 0."""
        draw = initializer("xavier_uniform" if init is None else init)
        parts: dict[str, tuple[int, int]] = {
            "in_proj_weight": (self._ends[-1], self.hidden_size)
        }
        if self.source_size != self.hidden_size:
            inputs = (self.hidden_size, self.source_size, self.source_size)
            rows = np.diff(self._ends, prepend=0).tolist()
            parts = dict(zip(SEPARATE, zip(rows, inputs, strict=True), strict=True))
        for name, shape in parts.items():
            self._weights[name] = draw_packed(draw, shape, rng)
        if bias:
            self._weights["in_proj_bias"] = np.zeros(self._ends[-1], np.float32)

    def _children(self) -> Mapping[str, Layer]:
        children: dict[str, Layer] = {"out_proj.": self.out_proj}
        if self.q_norm is not None and self.k_norm is not None:
            children |= {"q_norm.": self.q_norm, "k_norm.": self.k_norm}
        if self._relative is not None:
            children |= self._relative._children()
        return children

    @property
    def scores(self) -> Scores:
        """What becomes of a score."""
        scores = self._scores
        if self._relative_bias is not None:
            scores = scores._replace(distance_bias=self._relative_bias.table)
        if self._relative is not None:
            scores = scores._replace(relative=self._relative.tables(self._weights))
        return scores

    @property
    def alibi_slopes(self) -> Array | None:
        """The slopes (num_heads,) by which scores fall with distance, or None."""
        slopes = self._scores.slopes
        return None if slopes is None else slopes[0]

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
        **others: Never,
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
            floating, added to the scaled scores. PyTorch's boolean `attn_mask` says the
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
        if others:
            raise unexpected(type(self).__call__, others, type(self).__name__)
        batch, single = as_batch(x, "x", self.hidden_size)
        made_from = self._source(source, batch, single)
        sequences = self._sequences(
            batch, made_from, cache, padding_mask, lengths, mask, as_flag(causal, "causal")
        )
        tokens = unpad(batch, sequences.queries)
        out = np.empty(tokens.shape, np.float32)
        program = program_for(sequences.queries, sequences.keys)
        heads = self.steps(
            program,
            tokens,
            out,
            sequences,
            Buffers(len(tokens), self.sizes),
            source=None if made_from is None else unpad(made_from, sequences.keys),
            cache=cache,
        )
        program.record("output", out, Kind.QUERIES)
        program.run()
        weights = None
        if as_flag(return_weights, "return_weights"):
            weights = score_matrix(heads, sequences, self.scores)
        if cache is not None:
            cache.advance(sequences.queries.length)
        result = pad(out, sequences.queries)
        if single:
            result, weights = result[0], None if weights is None else weights[0]
        return result if weights is None else (result, weights)

    def _sequences(
        self,
        batch: Array,
        source: Array | None,
        cache: KeyValueCache | None,
        padding_mask: ArrayLike | None,
        lengths: ArrayLike | None,
        mask: ArrayLike | None,
        causal: bool,
    ) -> Sequences:
        """Find out what is real and who sees whom: in x, in a source, or in a cache."""
        rows, length = batch.shape[:2]
        if cache is None:
            given = batch if source is None else source
            keys = real_tokens(given, lengths, padding_mask)
            queries = keys if source is None else packing_of(rows, length)
            return Sequences.of(queries, keys, self.num_heads, mask, causal)
        if not isinstance(cache, KeyValueCache):
            raise TypeError(f"cache must be a KeyValueCache, got {type(cache).__name__}")
        if not source is padding_mask is lengths is None:
            raise ValueError("with a cache, source, padding_mask and lengths must be None")
        cache.check(rows, self.num_kv_heads, self.head_dim)
        past = len(cache)
        queries, keys = packing_of(rows, length), packing_of(rows, past + length)
        return Sequences.of(queries, keys, self.num_heads, mask, causal, past)

    def _source(self, source: ArrayLike | None, batch: Array, single: bool) -> Array | None:
        """Give what keys and values are made from, as a batch; None for x itself."""
        if source is None:
            if self.source_size != self.hidden_size:
                raise ValueError(
                    f"source is needed: keys and values are made from vectors of size "
                    f"{self.source_size}, and x has size {self.hidden_size}"
                )
            return None
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
            Its sizes and weights are read; torch is not imported. The batch always comes
            first here: one that is not `batch_first` is a warning.

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
        warn_of_order(module)
        layer.load_state_dict(module.state_dict())
        return layer

    def steps(
        self,
        program: Program,
        x: Array,
        out: Array,
        sequences: Sequences,
        buffers: Buffers,
        *,
        source: Array | None = None,
        cache: KeyValueCache | None = None,
        residual: Array | None = None,
        norms: Norms = Norms(),  # noqa: B008  it is a constant
    ) -> Heads:
        """Add out = after(inside(out_proj(attention(x))) + residual) to a program.

        x, out and residual are packed tokens (tokens, hidden_size), and so is a source. x
        may be `buffers.normed`; out may be neither that nor residual. Returns what
        attention reads, once the program has run.
        """
        width, head_dim = self._ends[-1], self.head_dim
        qkv, heads, context, by_head = buffers.of_attention(width, self.num_heads, head_dim)
        if source is None:
            project_rows(program, self._weights, x, qkv)
        else:
            heads = project_source(program, self._weights, self._ends, head_dim, x, source)
        if self.q_norm is not None and self.k_norm is not None:
            normalise_heads(program, heads.query, self.q_norm)
            normalise_heads(program, heads.key, self.k_norm)
        if self.rotary is not None:
            of_keys = sequences.key_columns if source is not None else None
            self._turn(program, heads, self.rotary, sequences, of_keys, buffers)
        if cache is not None:
            heads = cache.extended(program, heads, sequences.queries.batch)
        attend(program, heads, by_head, sequences, self.scores)
        finish_part(program, self.out_proj, context, out, residual, norms, "attention")
        return heads

    def _turn(
        self,
        program: Program,
        heads: Heads,
        rotary: Rotary,
        sequences: Sequences,
        of_keys: NDArray[np.int64] | None,
        buffers: Buffers,
    ) -> None:
        """Add the turning of queries and keys, in place; keys of x have its columns."""
        queries = sequences.query_columns
        keys = queries if of_keys is None else of_keys
        length = int(max(queries.max(initial=-1), keys.max(initial=-1))) + 1
        table = length, sequences.past, rotary
        if table not in buffers.angles:
            buffers.angles[table] = rotary.angles(length, sequences.past)
        cos, sin = buffers.angles[table]
        form = rotary.interleaved
        for part, positions in ((heads.query, queries), (heads.key, keys)):
            _rowwise.rotary(program, part, cos, sin, positions, interleaved=form)


def _check_divides(number: int, name: str, of: int, name_of: str) -> None:
    """Check a number of heads, which must divide another number."""
    if of % number != 0:
        raise ValueError(f"{name_of} must be a multiple of {name}, got {of} and {number}")
