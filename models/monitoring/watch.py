"""The watch: each day a MeasureReport for each site and version, and a hold where one exceeds.

`run_once` may be repeated: a report that says the same is not written again, and one that says
more (feedback that came later) becomes a new version. A release is a new beginning: what was seen
before it holds the site no more.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import structlog

from models.fhir_client import FhirClient, FhirFailure
from models.monitoring.cases import Case, read_cases
from models.monitoring.drift_report import (
    DRIFT_REPORTS,
    Window,
    drift_report,
    exceeded,
    is_same,
)
from models.monitoring.figures import figures
from models.monitoring.holds import Act, hold_entries, holds, reading_at, released_at
from models.monitoring.limits import Limits
from models.monitoring.reference import Reference
from models.worker_device import worker_device

Resource = dict[str, Any]

SCOPES = (
    "system/Observation.rs system/Task.rs system/Device.crs system/MeasureReport.crus "
    "system/HealthcareService.crus system/Provenance.c system/Consent.rs system/Media.rs "
    "system/Binary.r system/DiagnosticReport.rs system/Practitioner.r"
)
"""All that the watch and the candidate training set do, and no more."""
NO_RESULT = "no-result"
"""In the place of a version: a site where no analysis of the window came to a result."""
_log = structlog.get_logger("medsage.monitoring")


@dataclass(frozen=True, slots=True)
class Watched:
    """What one run found of a site and version: its report, and whether the site is now held for
    what the report says."""

    window: Window
    report: Resource
    is_held: bool


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class DriftWatch:
    """`reference` is what is measured against, None for nothing; `told` hears how many holds are
    in force after each run, `seen` what the run found."""

    fhir: FhirClient
    limits: Limits
    reference: Reference | None
    new_uuid: Callable[[], str]
    clock: Callable[[], datetime] = _utc_now
    told: Callable[[int], None] = lambda count: None
    seen: Callable[[Sequence[Watched]], None] = lambda found: None
    pause_seconds: float = 3600.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """`run` returns when the run in progress is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Looks each hour until stopped; a failure of the server is logged and tried again."""
        while not self._stopping.is_set():
            try:
                await self.run_once()
            except FhirFailure as failure:
                _log.warning("drift not watched", status=failure.status)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.pause_seconds)

    async def run_once(self, until: datetime | None = None) -> list[Watched]:
        """Reports on the days before midnight (UTC) of `until` (now, when it isn't given), and
        holds. FhirFailure when the server refuses; what was written before stays."""
        end = (until or self.clock()).astimezone(UTC)
        end = end.replace(hour=0, minute=0, second=0, microsecond=0)
        since = end - timedelta(days=self.limits.days)
        cases = await read_cases(self.fhir, since, end)
        found = []
        for site, of_site in groupby(sorted(cases, key=_site_key), key=_site_key):
            found += await self._site(site or None, list(of_site), (since, end))
        self.told(len(await holds(self.fhir)))
        self.seen(found)
        return found

    async def _site(
        self, site: str | None, cases: list[Case], days: tuple[datetime, datetime]
    ) -> list[Watched]:
        """The versions of one site, one after the other: of two that exceed, one holds."""
        released = released_at(await reading_at(self.fhir, site))
        since = max(days[0], released) if released else days[0]
        if since >= days[1]:
            return []
        cases = [case for case in cases if case.at >= since]
        found = []
        for version, of_version in groupby(sorted(cases, key=_version_key), key=_version_key):
            listed = list(of_version)
            window = Window(site, version, listed[0].device, since, days[1])
            found.append(await self._version(window, listed))
        return found

    async def _version(self, window: Window, cases: Sequence[Case]) -> Watched:
        counted = figures(cases, self.reference, self.limits)
        made = drift_report(window, counted, self.clock())
        stored = await self._stored(window)
        reading = await reading_at(self.fhir, window.site)
        above = exceeded(made)
        is_held = reading is not None and not reading.get("active", True)
        entries = [] if stored and is_same(stored, made) else [_entry(stored, made, self.new_uuid)]
        if above and not is_held:
            source = entries[0]["fullUrl"] if entries else f"MeasureReport/{(stored or {})['id']}"
            act = Act(await worker_device(self.fhir), self.clock(), (source,))
            reason = f"Drift above the limit in {window.key}: {', '.join(above)}"
            entries += hold_entries(reading, window.site, reason, act, self.new_uuid)
        if entries:
            await self.fhir.transaction(transaction(entries))
        _log.info("drift watched", cases=len(cases), held=bool(above))
        return Watched(window, made, bool(above))

    async def _stored(self, window: Window) -> Resource | None:
        query = [("identifier", f"{DRIFT_REPORTS}|{window.key}")]
        async for report in self.fhir.search("MeasureReport", query):
            return report
        return None


def transaction(entries: list[Resource]) -> Resource:
    """The Bundle of these entries, all or nothing."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _entry(stored: Resource | None, made: Resource, new_uuid: Callable[[], str]) -> Resource:
    if stored is not None:
        url = f"MeasureReport/{stored['id']}"
        version = stored["meta"]["versionId"]
        request = {"method": "PUT", "url": url, "ifMatch": f'W/"{version}"'}
        return {"fullUrl": url, "resource": {**made, "id": stored["id"]}, "request": request}
    value = made["identifier"][0]["value"]
    condition = f"identifier={DRIFT_REPORTS}|{value}"
    request = {"method": "POST", "url": "MeasureReport", "ifNoneExist": condition}
    return {"fullUrl": f"urn:uuid:{new_uuid()}", "resource": made, "request": request}


def _site_key(case: Case) -> str:
    return case.site or ""


def _version_key(case: Case) -> str:
    return case.version or NO_RESULT
