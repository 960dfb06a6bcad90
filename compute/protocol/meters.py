"""What an axon counts about itself, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150)


class Meters:
    """Counters of one axon.

    Args:
        registry: where they are registered; a fresh one when None.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._answers = Counter(
            "compute_axon_answers",
            "Answers by synapse and code (ok, or that of the error).",
            ("synapse", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "compute_axon_seconds",
            "Time from a request's head to its answer, admitted requests only.",
            ("synapse",),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._running = Gauge(
            "compute_axon_running", "Synapses that are handled now.", registry=self.registry
        )
        self._age = Gauge(
            "compute_axon_metagraph_age_seconds",
            "Age of the metagraph that admission uses.",
            registry=self.registry,
        )

    def watch(self, *, running: Callable[[], float], age_s: Callable[[], float]) -> None:
        """Say where the gauges read their values."""
        self._running.set_function(running)
        self._age.set_function(age_s)

    def answered(self, synapse: str, code: str) -> None:
        """Count one answer."""
        self._answers.labels(synapse, code).inc()

    def took(self, synapse: str, seconds: float) -> None:
        """Record how long an admitted request took."""
        self._seconds.labels(synapse).observe(seconds)

    def page(self) -> bytes:
        """Everything in the registry, as Prometheus reads it."""
        return generate_latest(self.registry)
