"""Review, signature, prescription and print: the clinician first, the AI second, all on record."""

import base64

import pytest
from joserfc import jws

from tests.app_browser import World, hidden_fields
from tests.app_records import (
    MEDIA,
    PATIENT,
    drawings,
    drawn,
    png,
    report,
    smear_result,
    symptom_result,
)


@pytest.fixture
def world():
    made = World()
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "image/png"}
    for resource in (
        PATIENT,
        MEDIA,
        {**binary, "data": base64.b64encode(png()).decode()},
        smear_result("parasites-suspected", "Parasites suspected"),
        symptom_result("urgent", "Urgent: see a clinician today"),
        report("smear", "symptoms"),
    ):
        made.records.put(resource)
    return made


@pytest.fixture
async def browser(world):
    return world.browser()


async def read_first(browser, answer="parasites-seen"):
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    await browser.submit(page, f"{page}/reading", reading=answer)
    return chart, page


async def signed(browser, **fields):
    chart, page = await read_first(browser)
    chosen = {"finding": "parasites-seen", "agreement": "accept", "conclusion": "P. seen. Treat."}
    await browser.submit(page, f"{page}/conclusion", **{**chosen, **fields})
    done = await browser.submit(f"{page}/sign", f"{page}/sign", examined="yes")
    return chart, page, done


async def test_the_ai_result_is_hidden_until_the_own_reading_is_locked(world, browser):
    chart = await browser.launch()
    before = (await browser.get(f"{chart}reports/r1")).text
    assert "Parasites suspected" not in before
    assert "Urgent: see" not in before
    assert "checked" not in before
    await browser.submit(
        f"{chart}reports/r1", f"{chart}reports/r1/reading", reading="parasites-not-seen"
    )
    after = (await browser.get(f"{chart}reports/r1")).text
    assert "Parasites suspected" in after
    assert "disagree" in after
    assert "Red cells read" in after
    assert "Something new" in after
    await browser.submit(
        f"{chart}reports/r1", f"{chart}reports/r1/reading", reading="parasites-seen"
    )
    readings = [o for o in world.records.all("Observation") if o["id"] not in {"smear", "symptoms"}]
    assert [o["valueCodeableConcept"]["text"] for o in readings] == ["No parasites seen"]


async def test_what_the_ai_drew_is_hidden_until_the_own_reading_too(world, browser):
    for resource in (*drawings(), drawn(report("smear", "symptoms"))):
        world.records.put(resource)
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    before = (await browser.get(page)).text
    assert "media/m1" in before
    assert "cells-framed" not in before
    assert "Smear image 2" not in before
    assert (await browser.get(f"{page}/cells/1")).headers["location"] == page

    await browser.submit(page, f"{page}/reading", reading="parasites-seen")
    after = (await browser.get(page)).text
    assert "media/cells-framed" in after
    assert "400 held a parasite" in after
    assert "Where the model reacted; not proof" in after
    assert after.count('class="cell ') == 2
    whole = (await browser.get(f"{page}/cells/1")).text
    assert whole.count('class="cell ') == 4
    assert "Cut off by the edge" in whole
    assert (await browser.get(f"{page}/cells/2")).status_code == 404
    reading = next(o for o in world.records.all("Observation") if "identifier" in o)
    assert reading["derivedFrom"] == [{"reference": "Media/m1"}]


async def test_nothing_found_in_a_patient_who_is_ill_is_answered_with_what_to_do(world, browser):
    world.records.put(smear_result("none-found", "None found by model"))
    _chart, page = await read_first(browser)
    text = (await browser.get(page)).text
    assert "the model found no parasites: this does not exclude malaria" in text
    assert "Repeat the smear or do a rapid diagnostic test" in text


async def test_signing_writes_report_finding_provenance_and_audit_together(world, browser):
    _chart, page, done = await signed(browser)
    assert done.status_code == 303
    final = world.records.resources["DiagnosticReport", "r1"]
    assert final["status"] == "final"
    assert final["conclusion"] == "P. seen. Treat."
    assert final["conclusionCode"][0]["text"] == "Parasites seen"
    assert final["resultsInterpreter"][0]["reference"] == "Practitioner/dr-amina"
    assert len(final["result"]) == 4
    (provenance,) = world.records.all("Provenance")
    assert provenance["agent"][0]["type"]["coding"][0]["code"] == "verifier"
    assert provenance["target"] == [{"reference": "DiagnosticReport/r1"}]
    token = base64.b64decode(provenance["signature"][0]["data"]).decode()
    assert jws.deserialize_compact(token, world.records.client_key, algorithms=["ES384"])
    (event,) = world.records.all("AuditEvent")
    assert event["subtype"][0]["code"] == "signature"
    text = (await browser.get(page)).text
    assert "FINAL" in text
    assert "examined and signed by Dr Amina Njoroge" in text


async def test_a_report_that_changed_meanwhile_is_not_signed(world, browser):
    _chart, page = await read_first(browser)
    chosen = {"finding": "parasites-seen", "agreement": "accept", "conclusion": "Treat."}
    await browser.submit(page, f"{page}/conclusion", **chosen)
    fields = hidden_fields((await browser.get(f"{page}/sign")).text)
    world.records.put(world.records.resources["DiagnosticReport", "r1"])
    answer = await browser.post(f"{page}/sign", {**fields, "examined": "yes"})
    assert answer.status_code == 412
    assert "Someone else changed this first" in answer.text
    assert world.records.resources["DiagnosticReport", "r1"]["status"] == "preliminary"


async def test_signing_needs_the_word_that_the_image_was_examined(world, browser):
    _chart, page = await read_first(browser)
    chosen = {"finding": "parasites-seen", "agreement": "accept", "conclusion": "Treat."}
    await browser.submit(page, f"{page}/conclusion", **chosen)
    answer = await browser.submit(f"{page}/sign", f"{page}/sign")
    assert answer.status_code == 422
    assert world.records.all("Provenance") == []


async def test_a_signed_disagreement_must_be_acknowledged(browser):
    _chart, page = await read_first(browser, "parasites-not-seen")
    chosen = {"finding": "parasites-not-seen", "agreement": "reject", "conclusion": "None seen."}
    chosen["reasons"] = "wrong-finding"
    refused = await browser.submit(page, f"{page}/conclusion", **chosen)
    assert refused.status_code == 422
    taken = await browser.submit(page, f"{page}/conclusion", **chosen, acknowledged="yes")
    assert taken.status_code == 303


async def test_who_is_no_practitioner_reads_but_does_not_sign(world, browser):
    world.records.claims_extra = {"fhirUser": "RelatedPerson/x"}
    chart = await browser.launch()
    page = await browser.get(f"{chart}reports/r1")
    assert "read-only" in page.text
    answer = await browser.submit(
        f"{chart}reports/r1", f"{chart}reports/r1/reading", reading="parasites-seen"
    )
    assert answer.status_code == 403


async def test_a_report_of_another_patient_is_not_found(world, browser):
    other = {**report("smear"), "id": "r2", "subject": {"reference": "Patient/p2"}}
    world.records.put(other)
    chart = await browser.launch()
    assert (await browser.get(f"{chart}reports/r2")).status_code == 404


async def test_an_image_that_was_refused_is_no_negative_result(world, browser):
    refused = smear_result("", "")
    del refused["valueCodeableConcept"]
    refused["status"] = "cancelled"
    refused["dataAbsentReason"] = {"text": "No AI opinion."}
    refused["note"] = [{"text": "Image 1 refused (blur): out of focus. Take it again."}]
    world.records.put(refused)
    _chart, page = await read_first(browser)
    text = (await browser.get(page)).text
    assert "No AI opinion" in text
    assert "Not a negative result" in text
    assert "Take it again" in text


async def test_a_prescription_follows_a_signed_report_only(world, browser):
    chart = await browser.launch()
    early = await browser.get(f"{chart}reports/r1/prescription")
    assert early.status_code == 303
    _, page, _ = await signed(browser)
    medicine = {
        "medicine": "Artemether-lumefantrine",
        "form": "tablet 20 mg/120 mg",
        "dose": "4",
        "dose_unit": "tablets",
        "frequency": "2",
        "days": "3",
        "route": "by mouth",
    }
    answer = await browser.submit(f"{page}/prescription", f"{page}/prescription", **medicine)
    assert answer.status_code == 303
    (request,) = world.records.all("MedicationRequest")
    text = "4 tablets by mouth, 2 times a day for 3 days"
    assert request["dosageInstruction"][0]["text"] == text
    assert text in (await browser.get(f"{page}/prescription")).text


async def test_a_recorded_allergy_stops_the_medicine(world, browser):
    world.records.put(
        {
            "resourceType": "AllergyIntolerance",
            "patient": {"reference": "Patient/p1"},
            "code": {"text": "Lumefantrine"},
        }
    )
    _, page, _ = await signed(browser)
    answer = await browser.submit(
        f"{page}/prescription", f"{page}/prescription", medicine="Artemether-lumefantrine"
    )
    assert answer.status_code == 422
    assert "recorded allergy to Lumefantrine" in answer.text
    assert world.records.all("MedicationRequest") == []


async def test_no_medicine_is_a_decision_on_record(world, browser):
    _, page, _ = await signed(browser)
    await browser.submit(f"{page}/prescription", f"{page}/prescription", decision="none")
    text = (await browser.get(f"{page}/prescription")).text
    assert "No medicine prescribed (Dr Amina Njoroge" in text


async def test_printing_is_logged_before_the_print_view_is_shown(world, browser):
    _, page, _ = await signed(browser)
    unlogged = await browser.get(f"{page}/print/report")
    assert unlogged.status_code == 303
    done = await browser.submit(page, f"{page}/print", what="report")
    sheet = (await browser.get(done.headers["location"])).text
    assert "<thead>" in sheet
    assert "OKAFOR, Chidi" in sheet
    assert "FINAL" in sheet
    events = [e["subtype"][0]["code"] for e in world.records.all("AuditEvent")]
    assert events == ["signature", "print"]


async def test_the_history_lists_the_reports_made_with_ai(world, browser):
    world.records.put({**report(), "id": "r9", "meta": {}, "code": {"text": "Full blood count"}})
    chart = await browser.launch()
    text = (await browser.get(f"{chart}history")).text
    assert "Malaria assessment, AI-assisted" in text
    assert "Full blood count" not in text
