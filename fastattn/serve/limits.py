"""How much a server takes before it refuses."""

from dataclasses import dataclass

# Fewer than `encode` takes at a time: what comes in meanwhile waits less, and clients that
# have their vectors send the next texts while those of others are computed.
BATCH_TOKENS = 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a server takes before it refuses.

    Attributes
    ----------
    body_bytes : int
        Bytes of the body of a request: 413 beyond, before more of it is read.
    held_bytes : int
        Bytes of all bodies and answers in memory: 429 beyond.
    texts : int
        Texts of a request: 413 beyond.
    characters : int
        Characters of a text: 413 beyond. Of what a text has beyond the model's
        `max_length` nothing is read, and the answer counts the texts that were cut.
    queue_tokens : int
        A request is taken while fewer tokens than this are to be computed: 429 beyond.
    batch_tokens : int
        Tokens computed at a time; many cores have more to share in 4096.
    body_seconds : float
        How long a body may take to arrive: 408 beyond. A connection whose client takes
        nothing of its answer for so long is closed, on Linux.

    Examples
    --------
    >>> from fastattn.serve import Limits
    >>> Limits(texts=32).texts
    32
    """

    body_bytes: int = 2**21
    held_bytes: int = 2**27
    texts: int = 2048
    characters: int = 2**20
    queue_tokens: int = 2**17
    batch_tokens: int = BATCH_TOKENS
    body_seconds: float = 30.0
