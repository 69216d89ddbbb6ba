"""The transformer encoder and its layers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._program import Program
from ..arrays import as_flag
from ..init import Seed
from .attention import MultiHeadAttention
from .buffers import Buffers
from .feed_forward import FeedForward
from .layer import Layer, positive
from .norm import LayerNorm, RowNorm, make_norm
from .sequence import MaskedRun, SequenceLayer
from .torch_modules import attributes, encoder_layer_settings

__all__ = ["Encoder", "EncoderLayer"]


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
    activation : {"relu", "gelu", "gelu_tanh", "silu"}, default "relu"
        Activation of the feed-forward network.
    gated : bool, default False
        Whether the feed-forward network has a gate, as for :class:`FeedForward`.
    norm : {"layer", "rms"}, default "layer"
        Kind of the norms: :class:`LayerNorm`, or :class:`RMSNorm`, which has no bias.
    norm_first : bool, default False
        Whether the norms come before attention and feed-forward network (pre-norm) or
        after the residuals (post-norm, as in the paper).
    norm_eps : float, default 1e-5
        Added to the variance, or to the mean square, in the norms.
    rotary, rotary_dim, rotary_interleaved, alibi : optional
        Positions, as for :class:`MultiHeadAttention`; by default none.
    bias : bool, default True
        Whether attention, dense layers and norms have biases.
    init, rng : optional
        As for :class:`Linear`.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer, `hidden_size` is not a multiple of
        `num_heads`, `activation`, `norm` or `init` is unknown, or positions are not
        what :class:`MultiHeadAttention` takes.

    Notes
    -----
    Post-norm::

        h = norm1(x + self_attn(x))
        y = norm2(h + feed_forward(h))

    Pre-norm::

        h = x + self_attn(norm1(x))
        y = h + feed_forward(norm2(h))

    The defaults are those of ``torch.nn.TransformerEncoderLayer``: a state dict does
    not carry them.

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
        norm_eps: float = 1e-5,
        rotary: float | None = None,
        rotary_dim: int | None = None,
        rotary_interleaved: bool = False,
        alibi: bool | ArrayLike = False,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        rng = np.random.default_rng(rng)
        self.hidden_size = positive(hidden_size, "hidden_size")
        self.num_heads = positive(num_heads, "num_heads")
        self.intermediate_size = positive(intermediate_size, "intermediate_size")
        self.norm_first = as_flag(norm_first, "norm_first")
        self.self_attn = MultiHeadAttention(
            hidden_size,
            num_heads,
            rotary=rotary,
            rotary_dim=rotary_dim,
            rotary_interleaved=rotary_interleaved,
            alibi=alibi,
            bias=bias,
            init=init,
            rng=rng,
        )
        self.feed_forward = FeedForward(
            hidden_size,
            intermediate_size,
            activation,
            gated=gated,
            bias=bias,
            init=init,
            rng=rng,
        )
        self.norm1 = make_norm(norm, hidden_size, norm_eps, bias)
        self.norm2 = make_norm(norm, hidden_size, norm_eps, bias)

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a torch encoder layer computes.

        Parameters
        ----------
        module : torch.nn.TransformerEncoderLayer
            Its sizes, settings and weights are read; torch is not imported.
            `batch_first` has no meaning here: the batch always comes first.

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
            activation other than relu, gelu and silu, norms of different eps.
        """
        layer = cls(**encoder_layer_settings(module), init="zeros")
        layer.load_state_dict(module.state_dict())
        return layer

    def _children(self) -> Mapping[str, Layer]:
        # In torch the dense layers belong to the encoder layer itself.
        return {
            "self_attn.": self.self_attn,
            "": self.feed_forward,
            "norm1.": self.norm1,
            "norm2.": self.norm2,
        }

    def buffers(self, tokens: int) -> Buffers:
        """Allocate the working memory that `steps` needs."""
        return self.self_attn.buffers(tokens, self.intermediate_size)

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
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the layer to a program; x and out are packed tokens, out may be x."""
        h, normed = buffers.attended, buffers.context
        if self.norm_first:
            # Attention has read its input before it writes its context there.
            self.norm1.steps(program, x, normed)
            program.record("attention_norm", normed)
        self.self_attn.steps(
            program,
            normed if self.norm_first else x,
            h,
            cu_seqlens,
            buffers,
            causal=causal,
            runs=runs,
            positions=positions,
            residual=x,
            norm=None if self.norm_first else self.norm1,
        )
        if self.norm_first:
            self.norm2.steps(program, h, normed)
            program.record("feed_forward_norm", normed)
        self.feed_forward.steps(
            program,
            normed if self.norm_first else h,
            out,
            buffers.intermediate,
            residual=h,
            norm=None if self.norm_first else self.norm2,
        )
        program.record("output", out)


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
    activation, gated, norm, norm_first, norm_eps, rotary, rotary_dim, \
    rotary_interleaved, alibi, bias, init, rng : optional
        As for :class:`EncoderLayer`.

    Raises
    ------
    TypeError, ValueError
        As for :class:`EncoderLayer`.

    Notes
    -----
    Working memory is allocated once per call and shared by all layers: a token takes
    ``max(3 * hidden_size, intermediate_size) + 3 * hidden_size`` floats at most.

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

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        num_layers: int,
        *,
        final_norm: bool = False,
        activation: str = "relu",
        gated: bool = False,
        norm: str = "layer",
        norm_first: bool = False,
        norm_eps: float = 1e-5,
        rotary: float | None = None,
        rotary_dim: int | None = None,
        rotary_interleaved: bool = False,
        alibi: bool | ArrayLike = False,
        bias: bool = True,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        rng = np.random.default_rng(rng)
        self.layers = tuple(
            EncoderLayer(
                hidden_size,
                num_heads,
                intermediate_size,
                activation=activation,
                gated=gated,
                norm=norm,
                norm_first=norm_first,
                norm_eps=norm_eps,
                rotary=rotary,
                rotary_dim=rotary_dim,
                rotary_interleaved=rotary_interleaved,
                alibi=alibi,
                bias=bias,
                init=init,
                rng=rng,
            )
            for _ in range(positive(num_layers, "num_layers"))
        )
        self.norm: RowNorm | None = None
        if as_flag(final_norm, "final_norm"):
            self.norm = make_norm(norm, hidden_size, norm_eps, bias)
        self.hidden_size = self.layers[0].hidden_size
        self.num_heads = self.layers[0].num_heads

    @classmethod
    def from_layers(
        cls, layers: Iterable[EncoderLayer], norm: RowNorm | None = None
    ) -> Self:
        """Make an encoder of layers that are there already.

        Parameters
        ----------
        layers : iterable of EncoderLayer
            The layers in their order; their positions may differ.
        norm : LayerNorm or RMSNorm, optional
            What follows the last layer.

        Returns
        -------
        Encoder
            With these layers, no copies of them.
        """
        encoder = cls.__new__(cls)
        Layer.__init__(encoder)
        encoder.layers = tuple(layers)
        encoder.norm = norm
        encoder.hidden_size = encoder.layers[0].hidden_size
        encoder.num_heads = encoder.layers[0].num_heads
        return encoder

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the encoder that computes what a torch encoder computes.

        Parameters
        ----------
        module : torch.nn.TransformerEncoder
            Its sizes, settings and weights are read; torch is not imported.
            `batch_first` has no meaning here: the batch always comes first.

        Returns
        -------
        Encoder
            With copies of the weights.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When there is no such layer here: dropout in a module that is training, an
            activation other than relu, gelu and silu, layers with different
            settings.
        """
        layers, norm = attributes(module, "TransformerEncoder", "layers", "norm")
        settings = encoder_layer_settings(layers[0])
        for i, layer in enumerate(layers):
            if encoder_layer_settings(layer) != settings:
                raise ValueError(f"layer {i} has other settings than layer 0")
        encoder = cls(num_layers=len(layers), **settings, init="zeros")
        state = module.state_dict()
        encoder.load_state_dict(
            {key: state[key] for key in state if key.startswith("layers.")}
        )
        if norm is not None:
            # Torch's final norm is a module of its own, with its own eps and bias.
            encoder.norm = LayerNorm.from_torch(norm)
        return encoder

    def _children(self) -> Mapping[str, Layer]:
        children: dict[str, Layer] = {
            f"layers.{i}.": layer for i, layer in enumerate(self.layers)
        }
        if self.norm is not None:
            children["norm."] = self.norm
        return children

    def buffers(self, tokens: int) -> Buffers:
        """Allocate the working memory that `steps` needs."""
        return self.layers[0].buffers(tokens)

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
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        """Add all layers to a program; x and out are packed tokens, out may be x."""
        recorder = program.recorder
        for i, layer in enumerate(self.layers):
            if recorder is not None:
                recorder.layer = i
            layer.steps(
                program,
                x,
                out,
                cu_seqlens,
                buffers,
                causal=causal,
                runs=runs,
                positions=positions,
            )
            x = out
        if recorder is not None:
            recorder.layer = None
        if self.norm is not None:
            self.norm.steps(program, out, out)
        program.record("output", out)
