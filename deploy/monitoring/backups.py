"""The last good backup, whoever made it: as the target has it where this process may look there,
and as the processes tell that make backups."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deploy.backups import last_at_target
from deploy.monitoring.durations import words
from deploy.monitoring.parts import Part
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.schedule import ALLOWED_SKEW
from fhir_server.findings import Finding
from fhir_server.settings import Settings
from fhir_server.storage.port import ResourceStore

LATE_INTERVALS = 3
"""A last backup that is older than so many intervals is late, as in the alert `BackupOld`."""
_PATIENCE_SECONDS = 5.0
_RUNBOOK = "See docs/runbooks/backup-old.md"


@dataclass(frozen=True)
class LastBackup:
    """When the last good backup was made (None: none is known) and how often one is to be made, in
    seconds; what kept the target from being looked at."""

    made: float | None
    every: float
    problem: str = ""


async def last_backup(
    settings: Settings, store: ResourceStore, parts: Sequence[Part]
) -> LastBackup:
    """What target and processes say; nothing is changed."""
    known = [part.backup for part in parts if part.backup]
    intervals = [part.backup_every for part in parts if part.backup_every]
    every = max(intervals, default=60.0 * settings.backup_minutes)
    problem = ""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = await last_at_target(settings, store)
    except (BackupFailed, TimeoutError) as failure:
        found, problem = None, str(failure) or "the target does not answer"
    if found is not None:
        known.append(found.timestamp())
    return LastBackup(max(known, default=None), every, problem)


def backup_finding(last: LastBackup, now: datetime, *, is_declined: bool) -> Finding:
    """Whether there is one that is young enough; where others back the store up, none is."""
    what = "Last good backup"
    if last.made is None and is_declined:
        return Finding(what, "unknown", "others back the store up (MEDSAGE_BACKUP_DECLINED)")
    if last.made is None:
        found = "none is known" + (f" ({last.problem})" if last.problem else "")
        return Finding(what, "warning", found, _RUNBOOK)
    age = now.timestamp() - last.made
    if age < -ALLOWED_SKEW.total_seconds():
        found = f"made {words(-age)} from now: was the clock put back? Make another"
        return Finding(what, "failed", found, _RUNBOOK)
    if age > LATE_INTERVALS * last.every:
        return Finding(what, "failed", f"{words(age)} ago", _RUNBOOK)
    return Finding(what, "ok", f"{words(age)} ago")
