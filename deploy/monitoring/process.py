"""What a process says of itself: which it is, what works in it, how much room its disk has."""

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy.health import Readiness
from fhir_server.settings import Settings


class ProcessFacts(Collector):
    """Its version and role, the outcome of its checks, whether it is to be without backups, and the
    disk of its data folder."""

    def __init__(self, settings: Settings, readiness: Readiness) -> None:
        self._settings = settings
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        """As it was when readiness was asked last."""
        build = GaugeMetricFamily(
            "medsage_build_info", "Always 1", labels=("version", "role", "profile")
        )
        settings = self._settings
        build.add_metric((version("medsage"), settings.role, settings.profile), 1)
        yield build
        ready = GaugeMetricFamily(
            "medsage_ready", "Whether a part of the process works", labels=("check",)
        )
        for name in self._readiness.checks:
            ready.add_metric((name,), float(name not in self._readiness.known))
        yield ready
        yield GaugeMetricFamily(
            "medsage_backup_declined",
            "Whether others back the store up, as set",
            float(settings.backup_declined),
        )
        disk = shutil.disk_usage(existing(settings.data))
        yield GaugeMetricFamily(
            "medsage_disk_free_bytes", "Free on the disk of the data folder", disk.free
        )
        yield GaugeMetricFamily(
            "medsage_disk_size_bytes", "Size of the disk of the data folder", disk.total
        )


def existing(folder: Path) -> Path:
    """The folder, or what it will lie in."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
