"""Drift on a real store: reports by site, a hold where one exceeds, a release, and what reports say
meanwhile."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fhir_server.fhir.assessment import FINDINGS, Image, Intake, Parties, submission
from fhir_server.fhir.codec import instant
from fhir_server.fhir.feedback import AI_FEEDBACK
from fhir_server.validation.validate import Validator
from models.analysis import smear_system
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import SmearAnswer
from models.monitoring.drift_metrics import DriftMetrics
from models.monitoring.holds import (
    EVERYWHERE,
    Act,
    HoldRefused,
    hold_at,
    hold_entries,
    holds,
    reading_at,
    release_entries,
)
from models.monitoring.limits import read_limits
from models.monitoring.site import site_in
from models.monitoring.watch import DriftWatch, transaction
from models.report import Results, Submission, result_transaction
from tests.app_world import AppWorld, app_world
from tests.fhir_double import BASE, FhirDouble
from tests.smear_predictions import CARD, VERSION, ScriptedSmearModel, field_of

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
WARD, OTHER = "Organization/ward", "Organization/other"
CASES = 32
SMEAR = "malaria-smear-ai"
_ids = itertools.count()


def new_uuid() -> str:
    return f"00000000-0000-4000-8000-{next(_ids):012d}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AppWorld]:
    async with app_world(tmp_path) as made:
        yield made


def task_at(site: str, when: datetime) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": "in-progress",
        "intent": "order",
        "for": {"reference": "Patient/p1"},
        "authoredOn": instant(when),
        "owner": {"reference": "Device/worker"},
        "extension": [
            {
                "url": "https://medsage.example/fhir/StructureDefinition/site",
                "valueReference": {"reference": site},
            }
        ],
    }


async def analysed(fhir: FhirClient, site: str, when: datetime, *, rejected: int) -> None:
    """CASES analyses at a site, the first of them rejected by a clinician."""
    prediction = field_of(600, 40, SmearAnswer.SUSPECTED)
    results = Results(prediction, smear_system(VERSION, CARD))
    for number in range(CASES):
        task = {**task_at(site, when), "id": "t", "meta": {"versionId": "1"}}
        bundle = result_transaction(
            Submission(task, ["Media/m1"]), results, now=when, new_uuid=new_uuid
        )
        entries = [e for e in bundle["entry"] if e["resource"]["resourceType"] != "Task"]
        (ai,) = (e for e in entries if e["resource"]["resourceType"] == "Observation")
        said = "reject" if number < rejected else "accept"
        feedback = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [AI_FEEDBACK]},
            "subject": {"reference": "Patient/p1"},
            "focus": [{"reference": ai["fullUrl"]}],
            "effectiveDateTime": instant(when),
            "issued": instant(when),
            "valueCodeableConcept": {"coding": [{"system": FINDINGS, "code": said}]},
        }
        created = {"method": "POST", "url": "Observation"}
        await fhir.transaction(
            {**bundle, "entry": [*entries, {"resource": feedback, "request": created}]}
        )


def watch(
    fhir: FhirClient, told: list[int], now: datetime = NOW, metrics: DriftMetrics | None = None
) -> DriftWatch:
    return DriftWatch(
        fhir,
        read_limits(),
        None,
        new_uuid,
        clock=lambda: now,
        told=told.append,
        seen=(metrics or DriftMetrics(CollectorRegistry())).seen,
    )


async def spoil(fhir: FhirClient, site: str) -> None:
    """Observations with the codes of AI results that tell nothing, and feedback taken back:
    whoever may write Observations may write these."""
    result = task_at(site, NOW)["extension"]
    about = {"status": "final", "subject": {"reference": "Patient/p1"}, "extension": result}
    results = [r async for r in fhir.search("Observation", {"code": f"{FINDINGS}|{SMEAR}"})]
    when = {"effectiveDateTime": instant(NOW - timedelta(days=1))}
    coded = {"coding": [{"system": FINDINGS, "code": SMEAR}]}
    histogram = {"coding": [{"system": FINDINGS, "code": "score-histogram"}]}
    wrong = [{"code": histogram, "valueString": "many"}]
    made: list[dict[str, Any]] = [
        {**about, **when, "code": coded, "device": {"reference": "Device/gone"}},
        {**about, **when, "code": coded, "device": results[0]["device"], "component": wrong},
        {
            **about,
            "code": coded,
            "device": results[0]["device"],
            "effectivePeriod": {"start": "2026-11-23"},
        },
    ]
    made += [
        {
            **about,
            "status": "entered-in-error",
            "code": {"coding": [AI_FEEDBACK]},
            "focus": [{"reference": f"Observation/{each['id']}"}],
            "issued": instant(NOW),
            **when,
            "valueCodeableConcept": {"coding": [{"system": FINDINGS, "code": "reject"}]},
        }
        for each in results
        if site_in(each) == site
    ]
    created = {"method": "POST", "url": "Observation"}
    entries = [{"resource": {"resourceType": "Observation", **m}, "request": created} for m in made]
    await fhir.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})


async def reports_of(fhir: FhirClient) -> list[dict[str, Any]]:
    return [each async for each in fhir.search("MeasureReport", {"_count": "50"})]


async def test_a_site_that_exceeds_is_held_until_it_is_released_and_other_sites_go_on(
    world: AppWorld,
) -> None:
    fhir, told = world.as_worker, []
    await analysed(fhir, WARD, NOW - timedelta(days=2), rejected=24)
    await analysed(fhir, OTHER, NOW - timedelta(days=2), rejected=1)
    await spoil(fhir, OTHER)

    registry = CollectorRegistry()
    found = await watch(fhir, told, metrics=DriftMetrics(registry)).run_once()

    def sites(figure: str, verdict: str) -> float | None:
        labels = {"figure": figure, "verdict": verdict}
        return registry.get_sample_value("medsage_ai_drift_sites", labels)

    assert (sites("overrides", "exceeded"), sites("overrides", "watch")) == (1, 0)
    assert sites("refusals", "watch") == 0
    assert {each.window.site: each.is_held for each in found} == {WARD: True, OTHER: False}
    assert told == [1]
    (held,) = await holds(fhir)
    assert held.site == WARD
    assert "Share of results rejected" in held.reason
    assert await hold_at(fhir, OTHER) is None
    reports = await reports_of(fhir)
    assert {each["reporter"]["reference"] for each in reports} == {WARD, OTHER}

    # Again: nothing new is written, and it stays held.
    await watch(fhir, told).run_once()
    again = await reports_of(fhir)
    assert {r["meta"]["versionId"] for r in again} == {"1"}
    assert len(again) == 2

    reading = await reading_at(fhir, WARD)
    act = Act("Practitioner/dr-amina", NOW)
    await fhir.transaction(
        transaction(release_entries(reading, "Stain was renewed", act, new_uuid))
    )
    assert await hold_at(fhir, WARD) is None

    # The next day what was seen before the release holds it no more; what comes after would.
    later = NOW + timedelta(days=1)
    await watch(fhir, told, later).run_once()
    assert await hold_at(fhir, WARD) is None
    await analysed(fhir, WARD, NOW + timedelta(hours=2), rejected=24)
    await watch(fhir, told, later).run_once()
    assert await hold_at(fhir, WARD) is not None
    stored = await reading_at(fhir, WARD)
    assert stored is not None
    assert [sorted(each["during"]) for each in stored["notAvailable"]] == [
        ["end", "start"],
        ["start"],
    ]
    assert Validator().issues(stored) == ()


def test_a_release_needs_a_hold_and_a_reason() -> None:
    act = Act("Practitioner/1", NOW)
    held = hold_entries(None, WARD, "Too many rejected", act, new_uuid)[0]["resource"]

    with pytest.raises(HoldRefused, match="not held"):
        release_entries(None, "all is well", act, new_uuid)
    with pytest.raises(HoldRefused, match="says why"):
        release_entries(held, "  ", act, new_uuid)
    with pytest.raises(HoldRefused, match="held already"):
        hold_entries(held, WARD, "again", act, new_uuid)


@pytest.mark.parametrize(
    ("site", "written"),
    [
        (WARD, WARD),
        (EVERYWHERE, WARD),
        (WARD, f"{BASE}/{WARD}"),
        (WARD, f"{WARD}/_history/2"),
    ],
)
async def test_a_held_model_gives_no_opinion_and_the_task_is_completed_with_a_report(
    site: str, written: str
) -> None:
    double = FhirDouble(clock=lambda: NOW)
    patient = double.add({"resourceType": "Patient"})
    visit = double.add({"resourceType": "Encounter", "serviceProvider": {"reference": written}})
    fhir = FhirClient(double.client(), BASE, CallerToken(None))
    act = Act("Practitioner/1", NOW)
    await fhir.transaction(transaction(hold_entries(None, site, "Drift", act, new_uuid)))
    intake = Intake(NOW, symptoms={"fever": "yes"}, images=[Image(b"x", "image/png", "smear")])
    await fhir.transaction(submission(intake, Parties(patient, encounter=visit), new_uuid))
    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))

    await AppWorld.worker(_Bare(fhir), smear).run_once()

    (task,) = double.of_type("Task")
    (report,) = double.of_type("DiagnosticReport")
    assert (task["status"], site_in(task)) == ("completed", WARD)
    assert smear.seen == []
    assert "No AI opinion (model held)" in report["conclusion"]
    assert "Not a negative result" in report["conclusion"]
    assert "Urgency" in report["conclusion"]
    assert report["media"]
    results = [double.resources[each["reference"]] for each in report["result"]]
    held = next(r for r in results if r["status"] == "cancelled")
    assert "valueCodeableConcept" not in held
    assert held["device"] == task["owner"]
    assert [Validator().issues(each) for each in (*results, report)] == [(), (), ()]


class _Bare:
    """What AppWorld.worker needs of its world."""

    def __init__(self, fhir: FhirClient) -> None:
        self.as_worker = fhir
