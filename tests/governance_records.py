"""What the pages of governance show: versions of a model, a comparison, drift, a hold, a recall,
the training set, and readings of one case."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fhir_server.fhir.ai_holds import Act, hold_entries
from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.model_versions import State
from fhir_server.fhir.recalls import Recall, with_recall
from models.monitoring.drift_report import Window, drift_report
from models.monitoring.figures import Figure, Verdict
from models.monitoring.limits import Limit
from models.retraining.progress_report import progress_report
from models.retraining.training_set import Progress
from tests.app_records import PATIENT, code
from tests.spec.test_operation_model_versions import comparison, version

Json = dict[str, Any]
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SITE = "Organization/north"


def held(site: str = SITE) -> Json:
    entries = hold_entries(None, site, "Stain changed", Act("Device/worker", NOW), lambda: "x")
    reading: Json = entries[0]["resource"]
    return {**reading, "id": "reading"}


def drifted() -> Json:
    over = Figure("refusals", Verdict.EXCEEDED, 40, 0.31, 31, 100, 0.22, 0.41, Limit(0.1, 0.2))
    few = Figure("overrides", Verdict.TOO_FEW, 3)
    alike = Figure("agreement", Verdict.STEADY, 40, 0.875, 35, 40, 0.74, 0.945)
    window = Window(SITE, "key", "Device/in-use", NOW.replace(day=17), NOW)
    return {**drift_report(window, [over, few, alike], NOW), "id": "drift"}


def recalled() -> Json:
    recall = Recall("r", "Mislabelled cells", "2026-11-20T09:00:00Z", "Practitioner/ada")
    counted = replace(recall, reports=12, signed=7, tasks=12)
    return with_recall(version("old", State.RETIRED, was_active=True), counted)


def read_by(reader: str, answer: str, kind: str = "first-reading", of: str = "r1") -> Json:
    return {
        "resourceType": "Observation",
        "id": f"{kind}-{reader}",
        "status": "final",
        "code": {"coding": [{"system": FINDINGS, "code": kind}], "text": kind},
        "identifier": [
            {
                "system": "https://medsage.example/fhir/identifier/first-reading-of-report",
                "value": f"{of}.{reader}",
            }
        ],
        "subject": {"reference": "Patient/p1"},
        "performer": [{"reference": f"Practitioner/{reader}"}],
        "derivedFrom": [{"reference": "Media/m1"}],
        "effectiveDateTime": "2026-11-22T10:00:00Z",
        "valueCodeableConcept": code(answer, answer),
    }


def governed() -> tuple[Json, ...]:
    """A patient, and all that there is to govern."""
    counted = Progress()
    counted.counts["clean cells"] = 1800
    in_use = version("in-use", State.ACTIVE, was_active=True)
    return (
        PATIENT,
        {**in_use, "deviceName": [{"name": "Malaria cells"}], "version": [{"value": "3.1"}]},
        version("on-trial", State.CANDIDATE),
        recalled(),
        {**comparison("Device/on-trial", "Device/in-use"), "id": "better"},
        drifted(),
        held(),
        {"resourceType": "Organization", "id": "north", "name": "North clinic"},
        {**progress_report(counted, NOW), "id": "progress"},
    )
