"""What Prometheus is told of drift: how many sites, by figure and verdict; never which ones."""

from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from models.monitoring.drift_report import verdict_in
from models.monitoring.figures import Verdict
from models.monitoring.limits import FIGURES
from models.monitoring.watch import Watched

VERDICTS = (Verdict.WATCH.value, Verdict.EXCEEDED.value)


class DriftMetrics:
    """The gauges; a process makes them once for its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._held = Gauge(
            "medsage_ai_readings_held",
            "Sites whose AI reading of images is held",
            registry=registry,
        )
        self._drifting = Gauge(
            "medsage_ai_drift_sites",
            "Sites and versions of the last window, by figure of drift and how it was judged",
            ("figure", "verdict"),
            registry=registry,
        )
        self.seen(())

    def held(self, count: int) -> None:
        """So many holds are in force."""
        self._held.set(count)

    def seen(self, found: Sequence[Watched]) -> None:
        """What the last run of the watch found; what it did not find is none."""
        counted = Counter(
            (group["code"]["coding"][0]["code"], verdict_in(group))
            for each in found
            for group in each.report.get("group", ())
        )
        for figure in FIGURES:
            for verdict in VERDICTS:
                self._drifting.labels(figure, verdict).set(counted[figure, verdict])
