"""How far the candidate training set is, as a MeasureReport that the app's governance page shows.

One for the installation, a new version where something changed: counts alone, no patient.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fhir_server.fhir.codec import instant
from fhir_server.fhir.drift import (
    ENOUGH,
    MONITORING,
    TOO_FEW,
    TRAINING_SET,
    TRAINING_SETS,
    judgement,
    population,
)
from models.fhir_client import FhirClient
from models.retraining.cases import Lack
from models.retraining.training_set import NEEDED, Progress

Resource = dict[str, Any]

CANDIDATE = "candidate"
"""The identifier's value: an installation has one set in the making."""
COUNTED: Mapping[str, tuple[str, str]] = {
    "patients with parasites": ("patients-infected", "Patients with parasites"),
    "patients without": ("patients-clean", "Patients without parasites"),
    "infected cells": ("infected-cells", "Infected cells"),
    "clean cells": ("clean-cells", "Clean cells"),
}
"""What NEEDED counts → code and display of CodeSystem model-monitoring."""
LEFT_OUT: Mapping[Lack, tuple[str, str]] = {
    Lack.CONSENT: ("lacks-consent", "Left out: no consent to training"),
    Lack.IMAGES: ("lacks-images", "Left out: no image"),
    Lack.SECOND_READER: ("lacks-second-reader", "Left out: read by fewer than two"),
    Lack.DISAGREEMENT: ("lacks-adjudication", "Left out: read differently, not adjudicated"),
    Lack.SPOILT: ("lacks-quality", "Left out: poor image, artefact or wrong slide"),
    Lack.UNREADABLE: ("lacks-cells", "Left out: no cell that may be labelled"),
}


def progress_report(progress: Progress, now: datetime) -> Resource:
    """The report; `now` is when it was counted."""
    counted = [
        _group(COUNTED[name], progress.counts[name], least) for name, least in NEEDED.items()
    ]
    left_out = [_group(named, progress.lacks[lack]) for lack, named in LEFT_OUT.items()]
    return {
        "resourceType": "MeasureReport",
        "identifier": [{"system": TRAINING_SETS, "value": CANDIDATE}],
        "status": "complete",
        "type": "summary",
        "measure": TRAINING_SET,
        "date": instant(now),
        "period": {"start": instant(now), "end": instant(now)},
        "group": [*counted, *left_out],
    }


async def store_progress(
    fhir: FhirClient, progress: Progress, now: datetime, new_uuid: Callable[[], str]
) -> None:
    """Store the report as the next version of the one before; FhirFailure when the server
    refuses. What says the same is written again, for its date."""
    made = progress_report(progress, now)
    name = f"identifier={TRAINING_SETS}|{CANDIDATE}"
    stored = None
    async for report in fhir.search("MeasureReport", [("identifier", name.partition("=")[2])]):
        stored = report
    request = {"method": "POST", "url": "MeasureReport", "ifNoneExist": name}
    full_url = f"urn:uuid:{new_uuid()}"
    if stored is not None:
        made["id"] = stored["id"]
        full_url = f"MeasureReport/{stored['id']}"
        version = f'W/"{stored["meta"]["versionId"]}"'
        request = {"method": "PUT", "url": full_url, "ifMatch": version}
    entry = {"fullUrl": full_url, "resource": made, "request": request}
    await fhir.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})


def _group(named: tuple[str, str], count: int, least: int | None = None) -> Resource:
    code, display = named
    made: Resource = {
        "code": {"coding": [{"system": MONITORING, "code": code, "display": display}]},
        "population": [population("initial-population", count)],
    }
    if least is None:
        return made
    verdict = ENOUGH if count >= least else TOO_FEW
    return {"extension": [judgement(verdict, limit=least)], **made}
