"""The figures of one version at one site as a MeasureReport (R4 MeasureReport, type summary)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, UCUM
from fhir_server.fhir.codec import instant
from fhir_server.fhir.drift import (
    DRIFT,
    JUDGEMENT,
    MONITORING,
    POPULATIONS,
    UNNAMED,
    judgement,
    judgement_of,
    population,
)
from models.monitoring.figures import Figure, Verdict

Resource = dict[str, Any]

__all__ = ["DRIFT", "JUDGEMENT", "MONITORING", "POPULATIONS", "UNNAMED", "judgement"]

DRIFT_REPORTS = f"{CANONICAL}/identifier/drift-report"
DISPLAYS: Mapping[str, str] = {
    "brightness": "Brightness of images",
    "contrast": "Contrast of images",
    "stain": "Stain of images",
    "sharpness": "Sharpness of images",
    "scores": "Scores of cells",
    "refusals": "Share of images refused",
    "overrides": "Share of results rejected",
    "agreement": "Share of results accepted",
    "ai-reading": "AI reading of images",
}


@dataclass(frozen=True, slots=True)
class Window:
    """A site, the version that read there, and from when up to when (aware times)."""

    site: str | None
    version: str
    device: str | None
    since: datetime
    until: datetime

    @property
    def key(self) -> str:
        """The business identifier of its report: one for each site, version and last day."""
        return f"{self.version}.{self.site or UNNAMED}.{self.until.date().isoformat()}"


def drift_report(window: Window, found: Sequence[Figure], now: datetime) -> Resource:
    """The report; `now` is the time at which it was made."""
    report: Resource = {
        "resourceType": "MeasureReport",
        "identifier": [{"system": DRIFT_REPORTS, "value": window.key}],
        "status": "complete",
        "type": "summary",
        "measure": DRIFT,
        "date": instant(now),
        "period": {"start": instant(window.since), "end": instant(window.until)},
        "group": [_group(figure) for figure in found],
    }
    if window.site is not None:
        report["reporter"] = {"reference": window.site}
    if window.device is not None:
        report["subject"] = {"reference": window.device}
    return report


def is_same(stored: Resource, made: Resource) -> bool:
    """Whether a stored report says the same, whenever it was made."""
    told = ("period", "group", "reporter", "subject")
    return all(stored.get(name) == made.get(name) for name in told)


def exceeded(report: Resource) -> list[str]:
    """The codes of the figures that hold the site, in the words of their displays."""
    return [
        str(group["code"]["coding"][0]["display"])
        for group in report.get("group", ())
        if verdict_in(group) == Verdict.EXCEEDED
    ]


def verdict_in(group: Resource) -> str | None:
    """How a group's figure was judged."""
    found = judgement_of(group).get("verdict")
    return None if found is None else str(found)


def coded(code: str) -> Resource:
    """A code of the monitoring as a CodeableConcept."""
    return {"coding": [{"system": MONITORING, "code": code, "display": DISPLAYS[code]}]}


def _group(figure: Figure) -> Resource:
    limit = figure.limit
    hold = None if limit is None else limit.watch if limit.hold is None else limit.hold
    group: Resource = {
        "extension": [
            judgement(figure.verdict.value, limit=hold, low=figure.low, high=figure.high)
        ],
        "code": coded(figure.code),
        "population": [population("initial-population", figure.cases)],
    }
    if figure.hits is not None and figure.total is not None:
        group["population"] += [
            population("denominator", figure.total),
            population("numerator", figure.hits),
        ]
    if figure.value is not None:
        value = round(figure.value, 6)
        group["measureScore"] = {"value": value, "unit": "1", "system": UCUM, "code": "1"}
    return group
