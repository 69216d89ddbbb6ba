"""What Prometheus may ask for."""

import os

# Where processes that share a port write down what they count: a folder.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

TOKEN_BUCKETS = [2**n for n in range(4, 14)]


class Metrics:
    """What a server counts."""

    def __init__(self) -> None:
        # It looks for the folder when it is imported.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "fastattn_requests",
            "Requests that were answered",
            ("path", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "fastattn_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ("path",),
            registry=registry,
        )
        self.texts = Counter(
            "fastattn_texts", "Texts, or pairs, computed", ("model",), registry=registry
        )
        self.tokens = Counter(
            "fastattn_tokens", "Tokens of them", ("model",), registry=registry
        )
        self.truncated = Counter(
            "fastattn_truncated_texts",
            "Texts that were cut at max_length",
            ("model",),
            registry=registry,
        )
        self.queue_tokens = Gauge(
            "fastattn_queue_tokens",
            "Tokens of all that is not computed yet",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batch_tokens = Histogram(
            "fastattn_batch_tokens",
            "Tokens of a batch",
            buckets=TOKEN_BUCKETS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "fastattn_batch_seconds", "Seconds to compute a batch", registry=registry
        )

    def text(self) -> bytes:
        """Give all of it in the format of Prometheus, of all processes that share it."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if SHARED_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
