"""Counters and histograms for what happens several times in each request.

Those of prometheus_client take a lock and walk through their buckets for each observation, which
would be a tenth of the time of a read. These belong to one event loop: whoever counts is on it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Tally(Collector):
    """Counts by the values of its labels."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._described = name, text, labels
        self._counts: dict[Labels, int] = {}
        registry.register(self)

    def add(self, labels: Labels, count: int = 1) -> None:
        """So many more; 0 lets the series begin."""
        self._counts[labels] = self._counts.get(labels, 0) + count

    def collect(self) -> Iterator[Metric]:
        """One series for each combination that was met."""
        name, text, labels = self._described
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class _Times:
    __slots__ = ("counts", "seconds")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.seconds = 0.0


class Times(Collector):
    """A histogram of seconds by the values of its labels; `buckets` are upper bounds, ascending."""

    def __init__(
        self,
        named: tuple[str, str],
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._text = named
        self._labels = labels
        self._buckets = buckets
        self._found: dict[Labels, _Times] = {}
        registry.register(self)

    def observe(self, labels: Labels, seconds: float) -> None:
        """One more."""
        found = self._found.get(labels)
        if found is None:
            found = self._found[labels] = _Times(len(self._buckets))
        found.counts[bisect_left(self._buckets, seconds)] += 1
        found.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Cumulative, as Prometheus wants it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        for values, found in self._found.items():
            reached, buckets = 0, []
            for bound, count in zip(bounds, found.counts, strict=True):
                reached += count
                buckets.append((bound, reached))
            family.add_metric(values, buckets, found.seconds)
        yield family
