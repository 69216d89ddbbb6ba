"""The transformer encoder and its layers."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._program import Program
from ..arrays import as_flag
from ..init import Seed
from ..keywords import in_our_words
from .attention import MultiHeadAttention
from .buffers import Buffers, Sizes
from .feed_forward import FeedForward
from .layer import Layer, positive
from .norm import Norms, RowNorm, make_norm, norm_from_torch
from .recorder import Kind
from .sequence_layer import SequenceLayer
from .sequences import Sequences
from .torch_modules import attributes, encoder_layer_settings, warn_of_order

__all__ = ["Encoder", "EncoderLayer"]

Array = NDArray[np.float32]
Pair = tuple[RowNorm | None, RowNorm | None]


class EncoderLayer(SequenceLayer):
    """Self-attention and a feed-forward network, each with a residual and a norm.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    num_heads : int
        Number of attention heads.
    intermediate_size : int
        Size of the vector inside the feed-forward network.
    activation : str, default "relu"
        Activation of the feed-forward network, as for :class:`FeedForward`.
    gated : bool, default False
        Whether the feed-forward network has a gate, as for :class:`FeedForward`.
    norm : {"layer", "rms"}, default "layer"
        Kind of the norms: :class:`LayerNorm`, or :class:`RMSNorm`, which has no bias.
    norm_first : bool, default False
        Whether the norms come before attention and feed-forward network (pre-norm) or
        after the residuals (post-norm, as in the paper).
    norm_eps : float, optional
        Added to the variance, or to the mean square, in the norms; by default 1e-5, or
        1e-6 in :class:`RMSNorm`.
    bias : bool, default True
        Whether attention, dense layers and norms have biases.
    init, rng : optional
        As for :class:`Linear`.
    **attention : optional
        What else :class:`MultiHeadAttention` takes: `num_kv_heads`, `head_dim`,
        `qk_norm`, `rotary`, `alibi`, `window` ...

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, `hidden_size` is not a multiple of
        `num_heads`, `activation`, `norm` or `init` is unknown, or something is not what
        :class:`MultiHeadAttention` takes.

    Notes
    -----
    Post-norm::

        h = norm1(x + self_attn(x))
        y = norm2(h + feed_forward(h))

    Pre-norm::

        h = x + self_attn(norm1(x))
        y = h + feed_forward(norm2(h))

    :meth:`from_parts` makes any other order of norms. The defaults are those of
    ``torch.nn.TransformerEncoderLayer``: a state dict does not carry them.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.1. For pre-norm: Xiong
    et al., "On Layer Normalization in the Transformer Architecture" (2020), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.EncoderLayer(8, 2, 32, activation="gelu", rng=0)
    >>> layer(np.ones((2, 3, 8), np.float32), lengths=[3, 1]).shape
    (2, 3, 8)
    """

    @in_our_words
    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        activation: str = "relu",
        gated: bool = False,
        norm: str = "layer",
        norm_first: bool = False,
        norm_eps: float | None = None,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
        **attention: Any,
    ) -> None:
        rng = np.random.default_rng(rng)
        drawn: dict[str, Any] = {"bias": bias, "init": init, "rng": rng}
        self_attn = MultiHeadAttention(hidden_size, num_heads, **drawn, **attention)
        feed_forward = FeedForward(
            hidden_size, intermediate_size, activation, gated=gated, **drawn
        )
        norms = (
            make_norm(norm, hidden_size, norm_eps, bias),
            make_norm(norm, hidden_size, norm_eps, bias),
        )
        if as_flag(norm_first, "norm_first"):
            self._settle(self_attn, feed_forward, before=norms)
        else:
            self._settle(self_attn, feed_forward, after=norms)

    @classmethod
    def from_parts(
        cls,
        self_attn: MultiHeadAttention,
        feed_forward: FeedForward,
        *,
        before: Pair = (None, None),
        inside: Pair = (None, None),
        after: Pair = (None, None),
        twice: tuple[bool, bool] = (False, False),
    ) -> Self:
        """Make a layer of parts, which may be those of other layers, and any norms.

        Parameters
        ----------
        self_attn : MultiHeadAttention
            The first part.
        feed_forward : FeedForward
            The second part.
        before, inside, after : pair of LayerNorm, RMSNorm or None
            The norms of attention and of the feed-forward network, None for none:
            ``y = after(x + inside(part(before(x))))``.
        twice : pair of bool
            Whether the inner norm of a part gets x, too:
            ``y = after(x + inside(x + part(before(x))))``.

        Returns
        -------
        EncoderLayer
            It shares the parts.

        Raises
        ------
        TypeError
            When a part or a norm is something else.
        ValueError
            When the sizes of the parts differ, the keys and values of `self_attn` are
            made from a source, or what is `twice` has no inner norm.

        Notes
        -----
        In a state dict a norm before or after a part is ``norm1`` or ``norm2``, one after
        a part that has one before, too, ``post_norm1`` or ``post_norm2``, and one inside
        ``inner_norm1`` or ``inner_norm2``.

        Examples
        --------
        The first layer of ModernBERT has no norm before attention:

        >>> import fastattn as fa
        >>> layer = fa.nn.EncoderLayer.from_parts(
        ...     fa.nn.MultiHeadAttention(8, 2, bias=False, rng=0),
        ...     fa.nn.FeedForward(8, 16, "gelu", gated=True, bias=False, rng=0),
        ...     before=(None, fa.nn.LayerNorm(8, bias=False)),
        ... )
        >>> list(layer.state_dict())[-2:]
        ['down_proj.weight', 'norm2.weight']
        """
        layer = cls.__new__(cls)
        layer._settle(self_attn, feed_forward, before, inside, after, twice)
        return layer

    def _settle(
        self,
        self_attn: MultiHeadAttention,
        feed_forward: FeedForward,
        before: Pair = (None, None),
        inside: Pair = (None, None),
        after: Pair = (None, None),
        twice: tuple[bool, bool] = (False, False),
    ) -> None:
        """Check the parts and keep them."""
        super().__init__()
        _check_parts(self_attn, feed_forward, before, inside, after)
        if any(again and norm is None for again, norm in zip(twice, inside, strict=True)):
            raise ValueError(f"twice needs a norm inside, got {twice} and {inside}")
        self.self_attn, self.feed_forward = self_attn, feed_forward
        self.hidden_size, self.num_heads = self_attn.hidden_size, self_attn.num_heads
        self.intermediate_size = feed_forward.intermediate_size
        self.sizes = self_attn.sizes._replace(intermediate=self.intermediate_size)
        self.norms = tuple(
            Norms(*four) for four in zip(before, inside, after, twice, strict=True)
        )

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a torch encoder layer computes.

        Parameters
        ----------
        module : torch.nn.TransformerEncoderLayer
            Its sizes, settings and weights are read; torch is not imported. The batch
            always comes first here: one that is not `batch_first` is a warning.

        Returns
        -------
        EncoderLayer
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When there is no such layer here: dropout in a module that is training, an
            activation that :func:`fastattn.linear` does not know, norms of different eps.
        """
        layer = cls(**encoder_layer_settings(module), init="zeros")
        warn_of_order(module.self_attn)
        layer.load_state_dict(module.state_dict())
        return layer

    def _children(self) -> Mapping[str, Layer]:
        # In torch the dense layers belong to the encoder layer itself.
        return {
            "self_attn.": self.self_attn,
            "": self.feed_forward,
            **self.norms[0].named(1),
            **self.norms[1].named(2),
        }

    def steps(
        self,
        program: Program,
        x: Array,
        out: Array,
        sequences: Sequences,
        buffers: Buffers,
    ) -> None:
        """Add the layer to a program; x and out are packed tokens, out may be x."""
        h, (first, second) = buffers.attended, self.norms
        given = x
        if first.before is not None:
            given = buffers.normed
            first.before.steps(program, x, given)
            program.record("attention_norm", given, Kind.QUERIES)
        self.self_attn.steps(program, given, h, sequences, buffers, residual=x, norms=first)
        given = h
        if second.before is not None:
            given = buffers.normed
            second.before.steps(program, h, given)
            program.record("feed_forward_norm", given, Kind.QUERIES)
        intermediate = buffers.intermediate(self.intermediate_size)
        self.feed_forward.steps(program, given, out, intermediate, residual=h, norms=second)
        program.record("output", out, Kind.QUERIES)


def _check_parts(
    self_attn: MultiHeadAttention, feed_forward: FeedForward, *norms: Pair
) -> None:
    """Make sure that parts fit together."""
    for part, kind, name in (
        (self_attn, MultiHeadAttention, "self_attn"),
        (feed_forward, FeedForward, "feed_forward"),
    ):
        if not isinstance(part, kind):
            got = type(part).__name__
            raise TypeError(f"{name} must be a {kind.__name__}, got {got}")
    size = self_attn.hidden_size
    if self_attn.source_size != size:
        raise ValueError(
            f"self_attn makes keys and values from a source of size "
            f"{self_attn.source_size}: an encoder layer has none"
        )
    sizes = [("feed_forward", feed_forward.hidden_size)]
    for pair, name in zip(norms, ("before", "inside", "after"), strict=True):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{name} must be a pair of norms or None, got {pair!r}")
        for norm in pair:
            if norm is not None and not isinstance(norm, RowNorm):
                got = type(norm).__name__
                raise TypeError(f"{name} must hold LayerNorm, RMSNorm or None, got {got}")
            if norm is not None:
                sizes.append((name, norm.dim))
    for name, other in sizes:
        if other != size:
            raise ValueError(f"self_attn has size {size} and {name} has size {other}")


class Encoder(SequenceLayer):
    """A stack of encoder layers, with a norm at the end if wanted.

    Parameters
    ----------
    hidden_size : int
        Size of an input and of an output vector.
    num_heads : int
        Number of attention heads.
    intermediate_size : int
        Size of the vector inside the feed-forward networks.
    num_layers : int
        Number of layers.
    final_norm : bool, default False
        Whether a norm of the same kind follows the last layer, as it should in a
        pre-norm encoder.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one.
    **settings : optional
        What else :class:`EncoderLayer` takes.

    Raises
    ------
    TypeError, ValueError
        As for :class:`EncoderLayer`.

    Notes
    -----
    A large batch is computed in parts of some hundred tokens for each thread, so that
    working memory stays in the caches. It is shared by all layers and parts: a token takes
    ``max(3 * hidden_size, intermediate_size) + 3 * hidden_size`` floats at most, where
    heads have their usual size.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> encoder = fa.nn.Encoder(8, 2, 32, 3, norm_first=True, final_norm=True, rng=0)
    >>> x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    >>> y = encoder(x, lengths=[5, 2])
    >>> np.array_equal(y[1, :2], encoder(x[1, :2]))
    True
    """

    @in_our_words
    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        num_layers: int,
        *,
        final_norm: bool = False,
        rng: Seed = None,
        **settings: Any,
    ) -> None:
        rng = np.random.default_rng(rng)
        layers = [
            EncoderLayer(hidden_size, num_heads, intermediate_size, rng=rng, **settings)
            for _ in range(positive(num_layers, "num_layers"))
        ]
        norm = None
        if as_flag(final_norm, "final_norm"):
            kind, eps = settings.get("norm", "layer"), settings.get("norm_eps")
            norm = make_norm(kind, hidden_size, eps, settings.get("bias", True))
        self._settle(layers, norm)

    @classmethod
    def from_layers(
        cls, layers: Iterable[EncoderLayer], norm: RowNorm | None = None
    ) -> Self:
        """Make an encoder of layers, which may differ, and of which one may occur often.

        Parameters
        ----------
        layers : iterable of EncoderLayer
            One behind the other; at least one. They are shared, not copied.
        norm : LayerNorm or RMSNorm, optional
            Follows the last layer.

        Returns
        -------
        Encoder
            Its state dict has a layer that occurs often once, under its first place.

        Raises
        ------
        TypeError
            When a layer or the norm is something else.
        ValueError
            When there is no layer, or their sizes differ.

        Examples
        --------
        Every third layer sees all tokens, the others 8 on both sides:

        >>> import fastattn as fa
        >>> encoder = fa.nn.Encoder.from_layers(
        ...     [
        ...         fa.nn.EncoderLayer(8, 2, 16, window=None if i % 3 == 0 else (8, 8))
        ...         for i in range(6)
        ...     ]
        ... )
        >>> len(encoder.layers)
        6
        """
        encoder = cls.__new__(cls)
        encoder._settle(layers, norm)
        return encoder

    def _settle(self, layers: Iterable[EncoderLayer], norm: RowNorm | None) -> None:
        """Check the layers and keep them."""
        super().__init__()
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("layers must hold at least one EncoderLayer, got none")
        for layer in self.layers:
            if not isinstance(layer, EncoderLayer):
                got = type(layer).__name__
                raise TypeError(f"layers must hold EncoderLayer, got {got}")
        if norm is not None and not isinstance(norm, RowNorm):
            raise TypeError(
                f"norm must be a LayerNorm or RMSNorm, got {type(norm).__name__}"
            )
        self.norm = norm
        sizes = {layer.hidden_size for layer in self.layers}
        sizes |= set() if norm is None else {norm.dim}
        if len(sizes) > 1:
            raise ValueError(f"layers and norm must have one size, got {sorted(sizes)}")
        self.hidden_size = self.layers[0].hidden_size
        each = (layer.sizes for layer in self.layers)
        self.sizes = Sizes(*map(max, zip(*each, strict=True)))
        heads = {layer.num_heads for layer in self.layers}
        # A mask for each head can be had where all layers have equally many.
        self.num_heads = heads.pop() if len(heads) == 1 else 1

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the encoder that computes what a torch encoder computes.

        Parameters
        ----------
        module : torch.nn.TransformerEncoder
            Its sizes, settings and weights are read; torch is not imported. The batch
            always comes first here: one that is not `batch_first` is a warning.

        Returns
        -------
        Encoder
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When there is no such layer here: dropout in a module that is training, or an
            activation that :func:`fastattn.linear` does not know.
        """
        layers, norm = attributes(module, "TransformerEncoder", "layers", "norm")
        settings = [encoder_layer_settings(layer) for layer in layers]
        encoder = cls.from_layers(
            [EncoderLayer(**one, init="zeros") for one in settings],
            None if norm is None else norm_from_torch(norm),
        )
        warn_of_order(layers[0].self_attn)
        encoder.load_state_dict(module.state_dict())
        return encoder

    def _children(self) -> Mapping[str, Layer]:
        # A layer that occurs often has one place.
        first: dict[int, int] = {}
        for i, layer in enumerate(self.layers):
            first.setdefault(id(layer), i)
        children: dict[str, Layer] = {
            f"layers.{i}.": self.layers[i] for i in first.values()
        }
        if self.norm is not None:
            children["norm."] = self.norm
        return children

    def steps(
        self,
        program: Program,
        x: Array,
        out: Array,
        sequences: Sequences,
        buffers: Buffers,
    ) -> None:
        """Add all layers to a program; x and out are packed tokens, out may be x."""
        recorder = program.recorder
        for i, layer in enumerate(self.layers):
            if recorder is not None:
                recorder.layer = i
            layer.steps(program, x, out, sequences, buffers)
            x = out
        if recorder is not None:
            recorder.layer = None
        if self.norm is not None:
            self.norm.steps(program, out, out)
        program.record("output", out, Kind.QUERIES)
