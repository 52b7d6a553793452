"""A drill: the last backup, or one made for it, is restored into an empty temporary store and held
against the source."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.backups import keys_of, source_of, target_of
from deploy.commands.operating import opened
from deploy.restoring import Wanted, filled
from fhir_server.backup.catalogue import catalogue
from fhir_server.backup.compare import compare
from fhir_server.backup.create import create, identity
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import FolderTarget, Target
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import master_keys, new_master_key
from fhir_server.storage.snapshot import WholeStore
from fhir_server.system import utc_now


@dataclass(frozen=True)
class Place:
    """Where the backup lies, and what opens it."""

    target: Target
    keys: SealKeys


async def drilled(settings: Settings, place: str | None, key_file: Path | None) -> dict[str, Any]:
    """What came of it, as JSON: `equal`, the differences, the recovery point and time. The backup
    is the last one of this store at the place, or a new one where no place is named or set."""
    with tempfile.TemporaryDirectory(prefix="medsage-drill-") as temporary:
        folder = Path(temporary)
        async with opened(settings) as store, _place(settings, place, key_file, folder) as at:
            if place is None and settings.backup_target is None:
                await create(source_of(settings, store), at.target, at.keys)
            return await _held(settings, store, at, folder / "restored")


async def _held(settings: Settings, source: WholeStore, at: Place, folder: Path) -> dict[str, Any]:
    found = await catalogue(at.target, at.keys)
    found.newest()
    backups = found.by_time(await identity(source))
    if not backups:
        raise BackupFailed("there is no backup of this store")
    last = backups[-1]
    now, started = utc_now(), time.monotonic()
    empty = settings.model_copy(update={"mongodb_uri": None, "data": folder})
    await filled(empty, Wanted(at.target, found.chain(last)))
    took = time.monotonic() - started
    async with opened(empty) as restored:
        comparison = await compare(source, restored, last.manifest.cut)
    return {
        "equal": not comparison.counts["differences"],
        "differences": comparison.differences,
        "backup": last.manifest.backup,
        "recovery_point": {
            "position": last.manifest.cut.place,
            "time": last.manifest.cut.moment.isoformat(),
            "age_seconds": round((now - last.manifest.cut.moment).total_seconds(), 3),
        },
        "recovery_seconds": round(took, 3),
        "backup_seconds": last.manifest.seconds,
        "backup_bytes": sum(each.manifest.bytes for each in found.chain(last)),
        "compared": {
            name: comparison.counts[name]
            for name in (
                *("resources", "versions", "audit_blocks", "audit_events", "records"),
                *("late", "newer_records"),
            )
        },
    }


@asynccontextmanager
async def _place(
    settings: Settings, place: str | None, key_file: Path | None, folder: Path
) -> AsyncIterator[Place]:
    if place is None and settings.backup_target is None:
        own = SealKeys(master_keys([new_master_key()]))
        keys = own if key_file is None else keys_of(settings, key_file)
        yield Place(FolderTarget(folder / "backup"), keys)
        return
    target = target_of(settings, place)
    try:
        yield Place(target, keys_of(settings, key_file))
    finally:
        await target.close()
