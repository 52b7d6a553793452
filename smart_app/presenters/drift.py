"""Drift by site and version, holds, and the progress of the training set, as lines of a page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.ai_holds import READINGS, hold_in
from fhir_server.fhir.drift import DRIFT, TRAINING_SET, UNNAMED, judgement_of, populations_of
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import show_concept
from smart_app.presenters.times import show_date, show_time

SHARES = frozenset({"refusals", "overrides", "agreement"})
"""Figures that are shares of cases, shown in per cent; the others are stability indices."""


@dataclass(frozen=True)
class FigureLine:
    """One figure: its value, what it is held against, how many analyses stand behind it, and the
    verdict in words; `is_over` when it holds the site."""

    name: str
    value: str
    interval: str
    limit: str
    cases: int
    verdict: str
    is_over: bool


@dataclass(frozen=True)
class Counted:
    """Which reports of drift a page stands on: `read` of so many (None where the server did not
    say), made since a time in words, which `back_to` is as an instant; not `is_all` when the time
    was too short for the older ones."""

    read: int
    of: int | None
    since: str
    back_to: str
    is_all: bool


@dataclass(frozen=True)
class DriftView:
    """The newest figures of one version at one site."""

    site: str
    version: str
    since: str
    until: str
    made: str
    figures: tuple[FigureLine, ...]

    @property
    def is_over(self) -> bool:
        """Whether a figure exceeds the limit that holds the site."""
        return any(figure.is_over for figure in self.figures)


@dataclass(frozen=True)
class HoldView:
    """A hold in force; `version` is the HealthcareService's that was read."""

    id: str
    version: str
    site: str
    since: str
    reason: str


@dataclass(frozen=True)
class ProgressLine:
    """One count of the candidate training set; `needed` None for cases that teach nothing."""

    name: str
    count: int
    needed: int | None
    is_enough: bool


def site_words(site: str | None, names: Mapping[str, str]) -> str:
    """A site by its name, where it could be read, else by its reference."""
    if not site or site == UNNAMED:
        return _("A site that is not named")
    if site == "everywhere":
        return _("Everywhere")
    name = names.get(site)
    return f"{name} ({site})" if name else site


def sites_of(reports: Iterable[Resource], readings: Iterable[Resource]) -> tuple[str, ...]:
    """The references of all sites that these speak of."""
    found = [str(report.get("reporter", {}).get("reference", "")) for report in reports]
    found += [hold.site or "" for reading in readings if (hold := hold_in(reading))]
    return tuple(dict.fromkeys(site for site in found if "/" in site))


def drift_views(
    reports: Iterable[Resource], names: Mapping[str, str], versions: Mapping[str, str]
) -> tuple[DriftView, ...]:
    """The newest report of each site and version; `versions` gives the words of a Device."""
    newest: dict[tuple[str, str], Resource] = {}
    for report in reports:
        if report.get("measure", "").partition("|")[0] != DRIFT:
            continue
        key = _site(report), str(report.get("subject", {}).get("reference", ""))
        known = newest.get(key)
        if known is None or _until(report) > _until(known):
            newest[key] = report
    views = [_view(report, names, versions) for report in newest.values()]
    return tuple(sorted(views, key=lambda view: (not view.is_over, view.site, view.version)))


def hold_views(readings: Iterable[Resource], names: Mapping[str, str]) -> tuple[HoldView, ...]:
    """The holds in force, the oldest first."""
    found = []
    for reading in readings:
        is_reading = any(i.get("system") == READINGS for i in reading.get("identifier", ()))
        hold = hold_in(reading) if is_reading else None
        if hold is not None:
            version = str(reading.get("meta", {}).get("versionId", ""))
            site = site_words(hold.site, names)
            found.append((hold.since, HoldView(reading["id"], version, site, "", hold.reason)))
    ordered = sorted(found, key=lambda each: each[0])
    return tuple(
        HoldView(hold.id, hold.version, hold.site, show_time(since), hold.reason)
        for since, hold in ordered
    )


def progress_lines(reports: Iterable[Resource]) -> tuple[str, tuple[ProgressLine, ...]]:
    """When the candidate training set was counted last ("" for never), and the counts."""
    counted = [r for r in reports if r.get("measure", "").partition("|")[0] == TRAINING_SET]
    if not counted:
        return "", ()
    newest = max(counted, key=lambda report: str(report.get("date", "")))
    return show_time(newest.get("date")), tuple(_progress(g) for g in newest.get("group", ()))


def _progress(group: Resource) -> ProgressLine:
    judged = judgement_of(group)
    limit = judged.get("limit")
    count = populations_of(group).get("initial-population", 0)
    needed = None if limit is None else int(limit)
    return ProgressLine(
        show_concept(group.get("code")), count, needed, needed is None or count >= needed
    )


def _view(report: Resource, names: Mapping[str, str], versions: Mapping[str, str]) -> DriftView:
    period = report.get("period", {})
    device = str(report.get("subject", {}).get("reference", ""))
    return DriftView(
        site=site_words(_site(report), names),
        version=versions.get(device, device or _("no version: no analysis came to a result")),
        since=show_date(period.get("start")),
        until=show_date(period.get("end")),
        made=show_time(report.get("date")),
        figures=tuple(_figure(group) for group in report.get("group", ())),
    )


def _figure(group: Resource) -> FigureLine:
    judged = judgement_of(group)
    code = str(group["code"]["coding"][0]["code"])
    verdict = str(judged.get("verdict", ""))
    value = group.get("measureScore", {}).get("value")
    return FigureLine(
        name=show_concept(group["code"]),
        value=_number(code, value),
        interval=_interval(code, judged),
        limit=_number(code, judged.get("limit")),
        cases=populations_of(group).get("initial-population", 0),
        verdict=_verdict_words(verdict),
        is_over=verdict == "exceeded",
    )


def _verdict_words(verdict: str) -> str:
    words = {
        "too-few": _("Too few cases to judge"),
        "no-reference": _("No reference to judge by"),
        "steady": _("Within limits"),
        "watch": _("To be watched"),
        "exceeded": _("Above the limit that holds"),
    }
    return words.get(verdict, verdict or _("Not judged"))


def _interval(code: str, judged: Mapping[str, Any]) -> str:
    low, high = judged.get("low"), judged.get("high")
    if low is None:
        return "–"
    if high is None:
        return _("chance explains %(low)s") % {"low": _number(code, low)}
    return _("%(low)s to %(high)s") % {"low": _number(code, low), "high": _number(code, high)}


def _number(code: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"{float(value):.1%}" if code in SHARES else f"{float(value):.3f}"


def _site(report: Resource) -> str:
    return str(report.get("reporter", {}).get("reference", ""))


def _until(report: Resource) -> str:
    return str(report.get("period", {}).get("end", ""))
