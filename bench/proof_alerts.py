"""`medsage bench proof-alerts`: alerts are set off by causing what they warn of, on a running
installation, a real Prometheus and a real Alertmanager with the shipped rules and routes.

Each must reach the receivers that its severity and team say, name its page in docs/runbooks, and
be taken back when the cause is mended. Every duration of the rules is divided by `factor`
(bench/alerts/shipped.py says which); with it processes are asked every 6 seconds, a little longer
than the store may take to answer. Options: `factor` (20), `only`
(names of alerts, comma-separated: causes that set off none of them are left out).
MongoDB is the replica set of `MEDSAGE_TEST_MONGODB_URI`, or a stand-in started for the run.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.alerts.causes import WAVES, Cause
from bench.alerts.shipped import receivers_of, shipped_rule
from bench.alerts.site import ROLES, Site, site
from bench.alerts.watchers import SCRAPE_SECONDS, Notice, Watch, watching
from bench.stores import database

FACTOR = 20
FIRE_SECONDS = 400.0
RESOLVE_SECONDS = 500.0
_ROOT = Path(__file__).parents[1]
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 120.0
Finding = dict[str, Any]


def run(options: Mapping[str, str]) -> Finding:
    """`passed` is whether every alert that was to fire fired, as it must, and was taken back;
    ValueError for options that are unknown or unusable."""
    if unknown := {*options} - {"factor", "only"}:
        raise ValueError(f"not an option of this proof: {unknown}")
    factor = int(options.get("factor", FACTOR))
    if factor < 1:
        raise ValueError("factor is 1 or more")
    only = frozenset(filter(None, options.get("only", "").split(",")))
    waves = [[each for each in wave if not only or only & {*each.alerts}] for wave in WAVES]
    with tempfile.TemporaryDirectory(prefix="medsage-alerts-") as name:
        folder = Path(name)
        with database("mongodb", folder) as uri:
            return asyncio.run(prove(folder, str(uri), waves, factor))


async def prove(folder: Path, uri: str, waves: Sequence[Sequence[Cause]], factor: int) -> Finding:
    """The causes, those of one wave at once."""
    began = time.monotonic()
    found: list[Finding] = []
    left_out: list[str] = []
    async with site(folder / "site", uri) as here:
        jobs = {role: [f"127.0.0.1:{here.roles[role].port}"] for role in ROLES}
        with watching(folder / "watch", jobs, factor) as watch:
            for wave in waves:
                able = [each for each in wave if here.has_disk or not each.needs_disk]
                left_out += [each.what for each in wave if each not in able]
                done = await asyncio.gather(*(_caused(each, here, watch) for each in able))
                found += [finding for findings in done for finding in findings]
            others = {each.labels["alertname"] for each in watch.notices}
    return {
        "proof": "alerts",
        "factor": factor,
        "scrape_seconds": SCRAPE_SECONDS / factor,
        "seconds": round(time.monotonic() - began, 1),
        "alerts": found,
        "distinct_alerts": len({each["alert"] for each in found if each["problem"] is None}),
        "also_fired": sorted(others - {each["alert"] for each in found}),
        "left_out": left_out,
        "passed": bool(found) and all(each["problem"] is None for each in found),
    }


def _said(finding: Finding) -> Finding:
    """Tell how far the proof is; the result itself goes to standard output."""
    said = finding["problem"] or (
        f"fired after {finding['seconds_to_fire']} s, "
        f"was taken back after {finding['seconds_to_resolve']} s"
    )
    print(f"{finding['alert']}: {said}", file=sys.stderr, flush=True)
    return finding


async def _caused(cause: Cause, here: Site, watch: Watch) -> list[Finding]:
    await _quiet(watch, set(cause.alerts))
    began = time.monotonic()
    try:
        async with cause.done(here, watch):
            firing = [
                asyncio.create_task(_told(watch, alert, labels, "firing", began))
                for alert, labels in cause.alerts.items()
            ]
            fired = await asyncio.gather(*firing)
            mending = time.monotonic()
    except Exception as failure:  # one cause that can't be had must not hide what the others show
        problem = f"could not be caused: {type(failure).__name__}: {failure}"
        return [
            _said(_finding(cause, alert, (began, began), (None, None), problem))
            for alert in cause.alerts
        ]
    resolved = await asyncio.gather(
        *(
            _told(watch, alert, labels, "resolved", mending)
            for alert, labels in cause.alerts.items()
        )
    )
    return [
        _said(_finding(cause, alert, (began, mending), (fire, resolve)))
        for alert, fire, resolve in zip(cause.alerts, fired, resolved, strict=True)
    ]


async def _quiet(watch: Watch, alerts: set[str]) -> None:
    """Until none of these fires for what was done before, or for long enough."""
    end = time.monotonic() + _QUIET_SECONDS
    while time.monotonic() < end:
        if not watch.firing() & alerts:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _told(
    watch: Watch, alert: str, labels: Mapping[str, str], status: str, since: float
) -> Notice | None:
    receivers = receivers_of(shipped_rule(alert))
    wanted = {"alertname": alert, **labels}
    end = since + (FIRE_SECONDS if status == "firing" else RESOLVE_SECONDS)
    while time.monotonic() < end:
        if notice := watch.told(wanted, status, receivers, since):
            return notice
        await asyncio.sleep(_POLL_SECONDS)
    return None


def _finding(
    cause: Cause,
    alert: str,
    moments: tuple[float, float],
    notices: tuple[Notice | None, Notice | None],
    problem: str | None = None,
) -> Finding:
    rule, (began, mending), (fire, resolve) = shipped_rule(alert), moments, notices
    return {
        "alert": alert,
        "cause": cause.what,
        "mended": cause.mended,
        "severity": rule["labels"]["severity"],
        "receivers": sorted(receivers_of(rule)),
        "runbook": None if fire is None else fire.annotations.get("runbook"),
        "seconds_to_fire": None if fire is None else round(fire.at - began, 1),
        "seconds_to_resolve": None if resolve is None else round(resolve.at - mending, 1),
        "problem": problem or _problem(rule, fire, resolve),
    }


def _problem(rule: Finding, fire: Notice | None, resolve: Notice | None) -> str | None:
    if fire is None:
        return "its receivers were not told that it fires"
    if fire.labels.get("severity") != rule["labels"]["severity"]:
        return "its severity is not that of the rule"
    page = fire.annotations.get("runbook", "")
    if not page or not (_ROOT / page).is_file():
        return "its runbook is no page"
    return "it was not taken back" if resolve is None else None
