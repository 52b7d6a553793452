"""A comparison of two versions as FHIR: the MeasureReport that a promotion names (ADR 0021)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, UCUM
from fhir_server.fhir.codec import instant
from fhir_server.fhir.model_versions import (
    COMPARISON,
    SYSTEM_VERSIONS,
    VERDICT,
    Compared,
    compared_extension,
)
from models.fhir_client import FhirClient
from models.monitoring.drift_report import MONITORING, POPULATIONS, judgement
from models.retraining.comparison import Comparison, Difference

Resource = dict[str, Any]

COMPARISONS = f"{CANONICAL}/identifier/comparison-on-new-patients"
"""Those of before, on patients from whom a version may have learnt, had other names: nobody may
change them, and the same name would keep a new one out."""
DISPLAYS: Mapping[str, str] = {
    "auc": "Difference in AUC",
    "sensitivity": "Difference in sensitivity at the specificity",
    "calibration": "Difference in calibration error",
    "answered": "Difference in cells answered",
}


class UnknownVersion(LookupError):
    """No Device of that version is registered; the text names its key."""


async def device_of(fhir: FhirClient, key: str) -> str:
    """The reference of the Device of a version; UnknownVersion when there is none."""
    async for device in fhir.search("Device", [("identifier", f"{SYSTEM_VERSIONS}|{key}")]):
        return f"Device/{device['id']}"
    raise UnknownVersion(f"no Device of the version {key} on the server: propose it first")


def comparison_report(
    compared: Compared, found: Comparison, devices: tuple[str, str], now: datetime
) -> Resource:
    """The MeasureReport; `devices` are (candidate, active)."""
    return {
        "resourceType": "MeasureReport",
        "extension": [
            {"url": VERDICT, "valueCode": found.verdict.value},
            compared_extension(compared),
        ],
        "identifier": [{"system": COMPARISONS, "value": compared.key}],
        "status": "complete",
        "type": "summary",
        "measure": COMPARISON,
        "subject": {"reference": devices[0]},
        "date": instant(now),
        "period": {"start": instant(now), "end": instant(now)},
        "group": [_group(each, found) for each in found.differences],
        "evaluatedResource": [{"reference": devices[1]}],
    }


def stored_verdict(report: Resource, by: str, new_uuid: Callable[[], str]) -> Resource:
    """The transaction that stores a comparison, once, with who made it (a reference)."""
    url = f"urn:uuid:{new_uuid()}"
    condition = f"identifier={COMPARISONS}|{report['identifier'][0]['value']}"
    used = [report["subject"], *report["evaluatedResource"]]
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": url}],
        "recorded": report["date"],
        "agent": [{"who": {"reference": by}}],
        "entity": [{"role": "source", "what": each} for each in used],
    }
    entries = [
        {
            "fullUrl": url,
            "resource": report,
            "request": {"method": "POST", "url": "MeasureReport", "ifNoneExist": condition},
        },
        {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def stored_at(fhir: FhirClient, compared: Compared) -> str | None:
    """The reference of a stored comparison; None when there is none."""
    query = [("identifier", f"{COMPARISONS}|{compared.key}")]
    async for report in fhir.search("MeasureReport", query):
        return f"MeasureReport/{report['id']}"
    return None


def _group(difference: Difference, found: Comparison) -> Resource:
    verdict = "worse" if difference.is_worse else "better" if difference.is_better else "same"
    value = round(difference.value, 6)
    display = DISPLAYS[difference.metric]
    coding = {"system": MONITORING, "code": difference.metric, "display": display}
    counted = {"coding": [{"system": POPULATIONS, "code": "initial-population"}]}
    return {
        "extension": [judgement(verdict, low=difference.low, high=difference.high)],
        "code": {"coding": [coding]},
        "population": [{"code": counted, "count": found.patients}],
        "measureScore": {"value": value, "unit": "1", "system": UCUM, "code": "1"},
    }
