"""How far behind Subscriptions are, and what became of the attempts to deliver."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600)
OUTCOMES = frozenset({"taken", "refused", "unreachable"})


class SubscriptionMetrics(Collector):
    """Of one process; without a `registry` nobody reads them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        attempts = Counter(
            "medsage_subscription_attempts",
            "Attempts to deliver a notification",
            ("outcome",),
            registry=registry,
        )
        self._attempts = {outcome: attempts.labels(outcome) for outcome in OUTCOMES}
        self.delivery_seconds = Histogram(
            "medsage_subscription_delivery_seconds",
            "Time from the commit to its notification being taken",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.follow_failures = Counter(
            "medsage_feed_failures", "Times that following the change feed broke", registry=registry
        )
        self._followed: datetime | None = None
        if registry is not None:
            registry.register(self)

    def attempted(self, problem: str | None) -> None:
        """One attempt, and what was wrong with it."""
        refused = problem is not None and problem.startswith("HTTP ")
        outcome = "taken" if problem is None else "refused" if refused else "unreachable"
        self._attempts[outcome].inc()

    def followed(self, updated: datetime) -> None:
        """The follower has dealt with the change that was committed then."""
        if self._followed is None or updated > self._followed:
            self._followed = updated

    def collect(self) -> Iterator[Metric]:
        """The moment of the newest change that was dealt with; nothing before the first."""
        if self._followed is not None:
            yield GaugeMetricFamily(
                "medsage_feed_followed_timestamp_seconds",
                "When the newest change that the follower has dealt with was committed",
                self._followed.timestamp(),
            )
