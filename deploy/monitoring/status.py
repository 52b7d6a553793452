"""The operator's page: parts, jobs, deliveries, audit trail, backups, certificates, the disk."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from deploy.monitoring.backups import backup_finding, last_backup
from deploy.monitoring.certificates import Certificate, CertificateDates
from deploy.monitoring.durations import words
from deploy.monitoring.observed import Observed, StoreObserver, Waiting
from deploy.monitoring.parts import Part, app_problem, parts_of
from deploy.monitoring.process import existing
from fhir_server.findings import Finding, Section, State
from fhir_server.settings import Settings
from fhir_server.storage.port import ResourceStore

CERTIFICATE_DAYS = 14
"""With fewer days left a certificate should have been renewed."""
LATE_SECONDS = 300.0
"""What has waited longer than this needs somebody."""
LEAST_FREE = 0.1
"""With less of the disk free, room should be made."""
NAMES = {
    "analysis": "Analyses",
    "report-to-ehr": "Reports to record systems",
    "requested": "waiting",
    "in-progress": "at work",
}
_RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True)
class Board:
    """What the page asks."""

    store: ResourceStore
    observer: StoreObserver
    dates: CertificateDates
    http: httpx.AsyncClient
    settings: Settings

    async def __call__(self) -> Sequence[Section]:
        """Everything as it is now."""
        await self.observer.refresh()
        await self.dates.refresh()
        seen, now = self.observer.last, self.observer.clock()
        if seen is None:
            away = Finding("Store", "failed", "can't be asked", f"See {_RUNBOOKS}/store-failing.md")
            return [Section("Parts", (away,))]
        parts = await parts_of(self.store)
        app = await app_problem(self.http, self.settings.base_url)
        last = await last_backup(self.settings, self.store, parts)
        declined = self.settings.backup_declined
        return [
            Section("Parts", (*_processes(parts, now), _app(app))),
            Section("Jobs", tuple(_jobs(seen))),
            Section("Deliveries", (_late("Notifications", seen.deliveries, "subscription-lag"),)),
            Section("Audit trail", (_late("Records to be sealed", seen.audit, "audit-seal-lag"),)),
            Section("Backups", (backup_finding(last, now, is_declined=declined),)),
            Section("Certificates", tuple(certificate_findings(self.dates.found, now))),
            Section("Disk", (disk_finding(self.settings.data),)),
        ]


def _processes(parts: Sequence[Part], now: datetime) -> Iterator[Finding]:
    roles = {part.role for part in parts}
    for part in parts:
        wrong = ", ".join(f"{name}: {problem}" for name, problem in part.problems.items())
        age = words(now.timestamp() - part.started)
        found = wrong or f"version {part.version}, for {age}"
        to_do = f"See {_RUNBOOKS}/not-ready.md" if wrong else ""
        yield Finding(f"{part.role} on {part.host}", "failed" if wrong else "ok", found, to_do)
    if "all" not in roles:
        for role in ("server", "worker"):
            if role not in roles:
                found, to_do = "none has left word of itself", f"See {_RUNBOOKS}/role-down.md"
                yield Finding(role, "failed", found, to_do)
    versions = {part.version for part in parts}
    if len(versions) > 1:
        yield Finding(
            "Versions", "warning", ", ".join(sorted(versions)), "Finish the upgrade: run one alone"
        )


def _app(problem: str | None) -> Finding:
    """The app is a part that browsers reach from outside; from here the way may be barred."""
    if problem is None:
        return Finding("The app", "ok", "answers at its public address")
    is_answer = problem.startswith("HTTP ")
    state: State = "failed" if is_answer else "unknown"
    to_do = f"See {_RUNBOOKS}/role-down.md" if is_answer else ""
    return Finding("The app", state, f"not reached from this server ({problem})", to_do)


def _jobs(seen: Observed) -> Iterator[Finding]:
    for (job, status), waiting in seen.tasks.items():
        is_sending = job == "report-to-ehr"
        runbook = "report-delivery" if is_sending else "analysis-queue"
        # A report waits for the other side as long as that is away; that is no fault here.
        limit = 24 * 3600.0 if is_sending else LATE_SECONDS
        yield _late(f"{NAMES[job]}, {NAMES[status]}", waiting, runbook, limit)
    yield _late("Requests answered later", seen.jobs, "async-jobs")


def _late(what: str, waiting: Waiting, runbook: str, limit: float = LATE_SECONDS) -> Finding:
    if not waiting.count:
        return Finding(what, "ok", "none waits")
    number = f"{waiting.count}" if waiting.count < 1000 else "1000 or more"
    age = f", the oldest for {words(waiting.seconds)}" if waiting.seconds else ""
    if waiting.seconds <= limit:
        return Finding(what, "ok", f"{number}{age}")
    return Finding(what, "warning", f"{number}{age}", f"See {_RUNBOOKS}/{runbook}.md")


def certificate_findings(found: Sequence[Certificate], now: datetime) -> Iterator[Finding]:
    """One for each certificate; one that says so where there is none."""
    runbook = f"See {_RUNBOOKS}/certificate-ends.md"
    for each in found:
        what = f"Certificate ({each.name})"
        if each.not_after is None:
            is_seen = each.name != "public"
            state: State = "failed" if is_seen else "unknown"
            yield Finding(what, state, f"could not be read ({each.problem})", runbook)
            continue
        left, until = each.not_after - now, f"until {each.not_after:%d %b %Y}"
        if left <= timedelta():
            yield Finding(what, "failed", f"has ended ({until})", runbook)
        elif each.problem:
            yield Finding(what, "warning", each.problem, runbook)
        elif left < timedelta(days=CERTIFICATE_DAYS):
            yield Finding(what, "warning", f"{left.days} days left ({until})", runbook)
        else:
            yield Finding(what, "ok", f"{left.days} days left ({until})")
    if not found:
        yield Finding("Certificates", "unknown", "the public address is http: there is none")


def disk_finding(folder: Path) -> Finding:
    """The disk of the data folder."""
    disk = shutil.disk_usage(existing(folder))
    share = disk.free / disk.total
    found = f"{disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB"
    if share < LEAST_FREE:
        return Finding("Data folder", "failed", found, f"See {_RUNBOOKS}/disk-filling.md")
    return Finding("Data folder", "ok", found)
