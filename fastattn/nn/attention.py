"""Multi-head self-attention."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .. import _attention, _gemm
from .._cpu import Program
from .._gemm import PackedMatrix
from ..init import Seed, initializer
from .layer import Layer, positive
from .linear import Linear
from .norm import Norm
from .sequence import Buffers, MaskedRun, SequenceLayer

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(SequenceLayer):
    """Self-attention with several heads.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    num_heads : int
        Number of heads; each works on ``hidden_size / num_heads`` columns.
    bias : bool, default True
        Whether the projections have biases.
    init : str, optional
        How weights are drawn, as for :class:`Linear`. By default as torch does:
        "xavier_uniform" for the projection to queries, keys and values, as one matrix.
        Biases are 0.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, `hidden_size` is not a multiple of
        `num_heads`, or `init` is unknown.

    Notes
    -----
    ``q, k, v = split(x @ in_proj_weight.T + in_proj_bias)``, each split again into
    heads; ``softmax(q @ k.T / sqrt(head_dim)) @ v`` for every head, side by side; then
    the output projection. The matrix of scores is never built.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.MultiHeadAttention(8, 2, rng=0)
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> layer(x, lengths=[3, 1]).any(axis=-1)
    array([[ True,  True,  True],
           [ True, False, False]])
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.hidden_size = positive(hidden_size, "hidden_size")
        self.num_heads = positive(num_heads, "num_heads")
        if self.hidden_size % self.num_heads != 0:
            raise ValueError(
                f"hidden_size must be a multiple of num_heads, "
                f"got {hidden_size} and {num_heads}"
            )
        rng = np.random.default_rng(rng)
        draw = initializer("xavier_uniform" if init is None else init)
        in_proj = draw((3 * self.hidden_size, self.hidden_size), rng)
        self._weights["in_proj_weight"] = PackedMatrix(in_proj)
        if bias:
            self._weights["in_proj_bias"] = np.zeros(3 * self.hidden_size, np.float32)
        self.out_proj = Linear(self.hidden_size, self.hidden_size, bias, init=init, rng=rng)
        if bias:
            # As torch does: no other Linear starts with a bias of 0 by default.
            self.out_proj._weights["bias"] = np.zeros(self.hidden_size, np.float32)

    def _children(self) -> Mapping[str, Layer]:
        return {"out_proj.": self.out_proj}

    @property
    def in_proj_weight(self) -> NDArray[np.float32]:
        """The weights of query, key and value (3 * hidden, hidden), read-only."""
        return self._read("in_proj_weight")

    @property
    def in_proj_bias(self) -> NDArray[np.float32] | None:
        """The biases of query, key and value (3 * hidden,), read-only, or None."""
        return self._read("in_proj_bias") if "in_proj_bias" in self._weights else None

    def buffers(self, tokens: int) -> Buffers:
        """Allocate the working memory that `steps` needs."""
        return Buffers(tokens, self.hidden_size)

    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        cu_seqlens: NDArray[np.int64],
        buffers: Buffers,
        *,
        causal: bool = False,
        runs: Sequence[MaskedRun] | None = None,
        residual: NDArray[np.float32] | None = None,
        norm: Norm | None = None,
    ) -> None:
        """Add out = norm(out_proj(attention(x)) + residual) to a program.

        x, out and residual are packed tokens (tokens, hidden_size). x may be
        `buffers.context`; out may be neither that nor residual. `runs` as for
        :class:`SequenceLayer`.
        """
        _gemm.linear(
            program,
            x,
            self._weights["in_proj_weight"],
            buffers.qkv,
            bias=self._weights.get("in_proj_bias"),
        )
        self._attend(program, cu_seqlens, buffers, causal, runs)
        self.out_proj.steps(program, buffers.context, out, residual=residual, norm=norm)

    def _attend(
        self,
        program: Program,
        cu_seqlens: NDArray[np.int64],
        buffers: Buffers,
        causal: bool,
        runs: Sequence[MaskedRun] | None,
    ) -> None:
        """Add context = attention of the queries, keys and values in qkv."""
        head_dim = self.hidden_size // self.num_heads
        scale = head_dim**-0.5
        right = 0 if causal else _attention.FAR
        heads = (self.num_heads, head_dim)
        tokens = len(buffers.qkv)
        # A row of qkv is q|k|v, each with its heads side by side: views are enough.
        query, key, value = buffers.qkv.reshape(tokens, 3, *heads).swapaxes(0, 1)
        context = buffers.context.reshape(tokens, *heads)
        if runs is None:
            _attention.attention_varlen(
                program,
                query,
                key,
                value,
                context,
                cu_seqlens,
                cu_seqlens,
                scale=scale,
                right=right,
            )
            return
        for run in runs:
            dense = (len(run.mask), run.mask.shape[-1], *heads)
            _attention.attention(
                program,
                *(
                    array[run.tokens].reshape(dense).swapaxes(1, 2)
                    for array in (query, key, value, context)
                ),
                scale=scale,
                mask=run.mask,
                right=right,
            )
