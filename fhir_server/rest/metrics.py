"""Counters and times of the FHIR base for Prometheus; labels never name a person or an id."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram

from fhir_server.rest.type_classes import class_of

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class FhirMetrics:
    """Counts requests by interaction, class of resource type and status, and times them by
    interaction and class."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "medsage_fhir_requests",
            "FHIR requests answered",
            ("interaction", "type_class", "status"),
            registry=registry,
        )
        seconds = Histogram(
            "medsage_fhir_request_seconds",
            "Time from the request's head to the end of its answer",
            ("interaction", "type_class"),
            buckets=_BUCKETS,
            registry=registry,
        )
        # Looking up a child by its labels costs more than counting.
        self._count = lru_cache(maxsize=4096)(requests.labels)
        self._time = lru_cache(maxsize=512)(seconds.labels)

    def observe(self, interaction: str, type: str | None, status: int, seconds: float) -> None:
        """Note one answered request."""
        type_class = class_of(type)
        self._count(interaction, type_class, str(status)).inc()
        self._time(interaction, type_class).observe(seconds)
