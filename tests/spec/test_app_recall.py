"""A recalled AI result in the app: a banner, a place in the work list, and no signature."""

from typing import Any

import pytest

from fhir_server.fhir.recalls import RECALL_REVIEW, RECALLED
from tests.app_browser import World, hidden_fields
from tests.app_records import PATIENT, report, smear_result

Resource = dict[str, Any]
REASON = "Weights were built from mislabelled cells"


def recalled(**changes: Any) -> Resource:
    made = report("smear", media=False)
    return {**made, "meta": {**made["meta"], "tag": [RECALLED]}, **changes}


def review_task(owner: str = "Practitioner/dr-amina", **changes: Any) -> Resource:
    return {
        "resourceType": "Task",
        "id": "again",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [RECALL_REVIEW]},
        "focus": {"reference": "DiagnosticReport/r1"},
        "for": {"reference": "Patient/p1"},
        "owner": {"reference": owner},
        "authoredOn": "2026-11-25T08:00:00Z",
        "reasonCode": {"text": REASON},
        **changes,
    }


@pytest.fixture
def world():
    made = World()
    for resource in (PATIENT, smear_result("none-found", "None found by model"), review_task()):
        made.records.put(resource)
    return made


@pytest.mark.parametrize("status", ["final", "preliminary"])
async def test_a_recalled_report_says_so_and_why(world, status):
    world.records.put(recalled(status=status))
    browser = world.browser()
    chart = await browser.launch()
    page = (await browser.get(f"{chart}reports/r1")).text
    assert "Recalled: do not rely on the AI result in this report" in page
    assert REASON in page
    assert "RECALLED" in page
    listed = (await browser.get(chart)).text
    assert "Recalled AI results: look again" in listed
    assert REASON in listed


async def test_a_report_that_was_not_recalled_says_nothing_of_it(world):
    world.records.put({**report("smear", media=False), "status": "final"})
    world.records.put(review_task(id="other", status="completed"))
    world.records.resources.pop(("Task", "again"))
    browser = world.browser()
    chart = await browser.launch()
    assert "Recalled" not in (await browser.get(f"{chart}reports/r1")).text
    assert "Recalled" not in (await browser.get(chart)).text


async def test_a_draft_that_was_recalled_cant_be_signed(world):
    draft = world.records.put(report("smear", media=False))
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    await browser.submit(page, f"{page}/reading", reading="cannot-tell")
    chosen = {"finding": "cannot-tell", "agreement": "accept", "conclusion": "Unclear."}
    await browser.submit(page, f"{page}/conclusion", acknowledged="yes", **chosen)
    ready = await browser.get(f"{page}/sign")
    assert ready.status_code == 200, ready.text
    world.records.put({**draft, "meta": {**draft["meta"], "tag": [RECALLED]}})
    refused = await browser.post(f"{page}/sign", {**hidden_fields(ready.text), "examined": "yes"})
    assert refused.status_code == 409
    assert "The AI result of this report was recalled" in refused.text
    assert world.records.resources["DiagnosticReport", "r1"]["status"] == "preliminary"


async def test_who_is_asked_says_that_they_looked_again(world):
    world.records.put(recalled(status="final"))
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    done = await browser.submit(page, f"{page}/looked-again", task="again")
    assert done.status_code == 303
    assert world.records.resources["Task", "again"]["status"] == "completed"
    assert "Looked at again by whoever was asked" in (await browser.get(page)).text
    assert REASON not in (await browser.get(chart)).text


async def test_nobody_else_can_say_so(world):
    world.records.put(recalled(status="final"))
    world.records.put(review_task(owner="Practitioner/other"))
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    assert "I have looked at this again" not in (await browser.get(page)).text
    refused = await browser.submit(page, f"{page}/looked-again", task="again")
    assert refused.status_code == 403
    assert world.records.resources["Task", "again"]["status"] == "requested"


async def test_the_signers_work_list_has_it_before_a_patient_is_chosen(world):
    world.records.put(recalled(status="final"))
    browser = world.browser()
    listed = (await browser.get(f"{await browser.sign_in()}patients")).text
    assert "Recalled AI results: look again" in listed
    assert REASON in listed


async def test_medicines_after_a_recalled_report_are_prescribed_and_printed_below_the_notice(world):
    world.records.put(recalled(status="final"))
    world.records.put(
        {
            "resourceType": "MedicationRequest",
            "id": "m1",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": {"text": "Artesunate"},
            "subject": {"reference": "Patient/p1"},
            "requester": {"reference": "Practitioner/dr-kofi", "display": "Dr Kofi Mensah"},
            "supportingInformation": [{"reference": "DiagnosticReport/r1"}],
        }
    )
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    shown = (await browser.get(f"{page}/prescription")).text
    assert "Recalled: do not rely on the AI result in this report" in shown
    assert REASON in shown
    await browser.submit(page, f"{page}/print", what="prescription")
    sheet = (await browser.get(f"{page}/print/prescription")).text
    assert "RECALLED: do not rely on the AI result in this report" in sheet
    # Who prints is not who prescribed.
    assert "Prescriber: <bdi>Dr Kofi Mensah</bdi>" in sheet
    assert "Printed by" in sheet
