"""Taking backups away that are not to be kept any longer; no chain is ever broken."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fhir_server.backup.catalogue import Catalogue
from fhir_server.backup.manifest import BEGUN, MANIFEST, Sealed, manifest_name
from fhir_server.backup.problems import Altered
from fhir_server.backup.target import Target

LEFT_ALONE = timedelta(days=1)
"""What is unfinished may still be written for so long."""
WAY_PAST = (
    "Nothing was taken away, because that backup may need any other. Make a full one"
    " (medsage backup create --full), then move the folder of that backup, and of each that goes"
    " on from it, out of the target, and prune again"
)


@dataclass(frozen=True)
class Retention:
    """The `least` newest backups of each store are kept, and all of the last `days`."""

    least: int
    days: int


def to_go(found: Catalogue, retention: Retention, now: datetime) -> list[Sealed]:
    """The backups that are neither kept nor needed by one that is, newest first. BackupFailed when
    one of those there can't be read: it may need any other."""
    try:
        return _to_go(found, retention, now)
    except Altered as problem:
        raise Altered(f"{problem}. {WAY_PAST}") from problem


def _to_go(found: Catalogue, retention: Retention, now: datetime) -> list[Sealed]:
    if found.problems:
        raise found.problems[0]
    oldest = now - timedelta(days=retention.days)
    kept: set[str] = set()
    all_newest_first = found.by_time()[::-1]
    for lineage in {each.manifest.lineage for each in found.backups.values()}:
        newest_first = [each for each in all_newest_first if each.manifest.lineage == lineage]
        for place, each in enumerate(newest_first):
            if place < retention.least or each.manifest.cut.moment >= oldest:
                kept |= {one.manifest.backup for one in found.chain(each)}
    return [each for each in found.by_time()[::-1] if each.manifest.backup not in kept]


def interrupted(found: Catalogue, now: datetime) -> list[str]:
    """Backups that were begun more than a day ago and have no manifest."""
    return [each for each in found.unfinished if _begun(each) < now - LEFT_ALONE]


async def take_away(target: Target, found: Catalogue, going: Sequence[str]) -> None:
    """Delete these, each as a whole: one whose deletion was interrupted is an unfinished one."""
    for backup in going:
        await target.put(f"{backup}/{BEGUN}", b"")
        await target.delete(manifest_name(backup))
        for name in found.names[backup]:
            if name not in (BEGUN, MANIFEST):
                await target.delete(f"{backup}/{name}")
        await target.delete(f"{backup}/{BEGUN}")


def _begun(backup: str) -> datetime:
    """When it was begun, as its name says; long ago for a name that says nothing."""
    with suppress(ValueError):
        return datetime.strptime(backup.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


async def prune(target: Target, found: Catalogue, retention: Retention, now: datetime) -> list[str]:
    """Take away what is to go; the names."""
    going = [each.manifest.backup for each in to_go(found, retention, now)]
    going += interrupted(found, now)
    await take_away(target, found, going)
    return going
