"""Counters and times of the FHIR base for Prometheus; labels never name a person or an id."""

from prometheus_client import CollectorRegistry

from fhir_server.rest.type_classes import class_of
from fhir_server.tallies import Tally, Times

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class FhirMetrics:
    """Counts requests by interaction, class of resource type and status, and times them by
    interaction and class."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("interaction", "type_class", "status")
        self._requests = Tally("medsage_fhir_requests", "FHIR requests answered", labels, registry)
        self._seconds = Times(
            (
                "medsage_fhir_request_seconds",
                "Time from the request's head to the end of its answer",
            ),
            ("interaction", "type_class"),
            _BUCKETS,
            registry,
        )

    def observe(self, interaction: str, type: str | None, status: int, seconds: float) -> None:
        """Note one answered request."""
        type_class = class_of(type)
        self._requests.add((interaction, type_class, str(status)))
        self._seconds.observe((interaction, type_class), seconds)
