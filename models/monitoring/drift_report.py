"""The figures of one version at one site as a MeasureReport (R4 MeasureReport, type summary)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, UCUM
from fhir_server.fhir.codec import instant
from models.monitoring.figures import Figure, Verdict

Resource = dict[str, Any]

DRIFT = f"{CANONICAL}/Measure/ai-drift"
DRIFT_REPORTS = f"{CANONICAL}/identifier/drift-report"
MONITORING = f"{CANONICAL}/CodeSystem/model-monitoring"
JUDGEMENT = f"{CANONICAL}/StructureDefinition/judgement"
POPULATIONS = "http://terminology.hl7.org/CodeSystem/measure-population"
UNNAMED = "unnamed-site"
"""In keys, in the place of a site that no Task, Encounter or Location names."""
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
    return next(
        (
            part["valueCode"]
            for extension in group.get("extension", ())
            if extension.get("url") == JUDGEMENT
            for part in extension.get("extension", ())
            if part.get("url") == "verdict"
        ),
        None,
    )


def coded(code: str) -> Resource:
    """A code of the monitoring as a CodeableConcept."""
    return {"coding": [{"system": MONITORING, "code": code, "display": DISPLAYS[code]}]}


def judgement(verdict: str, **numbers: float | None) -> Resource:
    """The extension that says how a figure was judged: limit, low and high, where they are."""
    parts: list[Resource] = [{"url": "verdict", "valueCode": verdict}]
    parts += [
        {"url": name, "valueDecimal": round(value, 6)}
        for name, value in numbers.items()
        if value is not None
    ]
    return {"url": JUDGEMENT, "extension": parts}


def _group(figure: Figure) -> Resource:
    limit = figure.limit
    hold = None if limit is None else limit.watch if limit.hold is None else limit.hold
    group: Resource = {
        "extension": [
            judgement(figure.verdict.value, limit=hold, low=figure.low, high=figure.high)
        ],
        "code": coded(figure.code),
        "population": [_population("initial-population", figure.cases)],
    }
    if figure.hits is not None and figure.total is not None:
        group["population"] += [
            _population("denominator", figure.total),
            _population("numerator", figure.hits),
        ]
    if figure.value is not None:
        value = round(figure.value, 6)
        group["measureScore"] = {"value": value, "unit": "1", "system": UCUM, "code": "1"}
    return group


def _population(code: str, count: int) -> Resource:
    return {"code": {"coding": [{"system": POPULATIONS, "code": code}]}, "count": count}
