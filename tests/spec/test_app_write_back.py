"""A signed report goes back to its record system: once, in that system's ids, and the page says
whether it is there, was refused, or waits."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.malaria.reading import SmearAnswer
from smart_app.ehr.resending import send_due
from tests.app_browser import Browser
from tests.app_world import FHIR
from tests.ehr_world import EHR_FHIR, EhrWorld, ehr_world, signed_report
from tests.smear_predictions import ScriptedSmearModel, field_of

ALL = ("Observation", "DiagnosticReport", "DocumentReference")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EhrWorld]:
    async with ehr_world(tmp_path) as opened:
        opened.permit(*ALL)
        yield opened


async def signed(world: EhrWorld, browser: Browser | None = None) -> tuple[Browser, str, str]:
    """A browser, its chart, and the path of the report that it signed there."""
    browser = browser or world.browser()
    chart = await world.launch(browser)
    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    return browser, chart, await signed_report(world, browser, chart, smear)


def fail_with(world: EhrWorld, status: int, text: str = "broken", *, type_: str = "") -> None:
    """Let the record system answer creates (of one type) in this way."""
    usual = world.ehr.search_or_create

    async def spoilt(request: Request) -> Response:
        if request.method == "POST" and type_ in ("", request.path_params["type"]):
            issue = {"severity": "error", "code": "processing", "diagnostics": text}
            return JSONResponse({"resourceType": "OperationOutcome", "issue": [issue]}, status)
        return await usual(request)

    world.ehr.replace_endpoint(spoilt)


async def test_a_signed_report_is_sent_in_the_ids_of_the_record_system(world: EhrWorld) -> None:
    browser, _chart, page = await signed(world)
    (report,) = world.ehr.all("DiagnosticReport")
    assert report["status"] == "final"
    assert report["conclusion"] == "Malaria."
    assert report["subject"]["reference"] == "Patient/p1"
    assert report["encounter"]["reference"] == "Encounter/e1"
    assert report["resultsInterpreter"][0]["reference"] == "Practitioner/dr-amina"
    assert report["identifier"][0]["value"].startswith(f"{FHIR}/DiagnosticReport/")
    sent = {o["id"] for o in world.ehr.all("Observation")} - {"o1"}
    assert {r["reference"] for r in report["result"]} == {f"Observation/{id_}" for id_ in sent}
    assert len(sent) == 4
    (document,) = world.ehr.all("DocumentReference")
    attachment = document["content"][0]["attachment"]
    assert base64.b64decode(attachment["data"]).startswith(b"%PDF-")
    assert document["subject"]["reference"] == "Patient/p1"
    text = (await browser.get(page)).text
    assert "Sent to General Hospital." in text
    prescribing = (await browser.get(f"{page}/prescription")).text
    assert "They are not sent to General Hospital" in prescribing
    for each in (*world.ehr.all("Observation"), report, document):
        assert "Media/" not in str(each)
        assert "Device/" not in str(each)
    # What AI asserted says so there too.
    labelled = [o for o in world.ehr.all("Observation") if "security" in o["meta"]]
    assert len(labelled) == 2
    assert {o["meta"]["security"][0]["code"] for o in labelled} == {"AIAST"}
    events = {e["subtype"][0]["code"]: e for e in await world.stored("AuditEvent")}
    event = events["report-sent"]
    assert event["agent"][0]["who"]["display"] == "Dr Nneka Obi"
    there = event["entity"][2]["what"]["identifier"]["value"]
    assert there == f"{EHR_FHIR}/Patient/p1"


async def test_only_what_is_permitted_and_granted_is_sent(world: EhrWorld) -> None:
    world.permit("DocumentReference")
    browser, _chart, _page = await signed(world)
    assert len(world.ehr.all("DocumentReference")) == 1
    assert world.ehr.all("DiagnosticReport") == []
    world.permit(*ALL)
    world.ehr.scope = "launch openid fhirUser patient/*.read user/Practitioner.read"
    _browser, _chart, page = await signed(world, browser)
    assert world.ehr.all("DiagnosticReport") == []
    assert "Not sent" in (await browser.get(page)).text


async def test_without_permission_nothing_is_sent_and_the_report_can_be_downloaded(
    world: EhrWorld,
) -> None:
    world.permit()
    browser, _chart, page = await signed(world)
    assert world.ehr.all("DiagnosticReport") == []
    text = (await browser.get(page)).text
    assert "Not sent: General Hospital did not permit it" in text
    assert "Send now" not in text
    pdf = await browser.submit(page, f"{page}/download", what="pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert "attachment" in pdf.headers["content-disposition"]
    assert pdf.content.startswith(b"%PDF-")
    bundle = (await browser.submit(page, f"{page}/download", what="json")).json()
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds == ["DiagnosticReport", "Patient", *["Observation"] * 4]
    downloads = [
        e for e in await world.stored("AuditEvent") if e["subtype"][0]["code"] == "download"
    ]
    assert len(downloads) == 2


async def test_a_broken_record_system_is_tried_again_and_nothing_is_doubled(
    world: EhrWorld,
) -> None:
    fail_with(world, 503, type_="DiagnosticReport")
    browser, _chart, page = await signed(world)
    text = (await browser.get(page)).text
    assert "Waiting to be sent to General Hospital: DiagnosticReport: 503 broken" in text
    assert len(world.ehr.all("Observation")) == 5
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    assert await send_due(world.parts) == 0
    world.clock.ahead += timedelta(seconds=31)
    assert await send_due(world.parts) == 1
    assert len(world.ehr.all("Observation")) == 5
    assert len(world.ehr.all("DiagnosticReport")) == 1
    assert "Sent to General Hospital." in (await browser.get(page)).text
    world.clock.ahead += timedelta(hours=1)
    assert await send_due(world.parts) == 0


async def test_an_answer_that_was_lost_is_found_before_it_is_sent_again(world: EhrWorld) -> None:
    usual = world.ehr.search_or_create

    async def stored_but_silent(request: Request) -> Response:
        answer = await usual(request)
        is_report = request.path_params["type"] == "DiagnosticReport"
        return Response(status_code=504) if request.method == "POST" and is_report else answer

    world.ehr.replace_endpoint(stored_but_silent)
    await signed(world)
    world.ehr.replace_endpoint(usual)
    world.ehr.ignores_conditions = True
    world.clock.ahead += timedelta(seconds=31)
    assert await send_due(world.parts) == 1
    assert len(world.ehr.all("DiagnosticReport")) == 1
    (task,) = await world.stored("Task", code="report-to-ehr")
    assert task["status"] == "completed"


async def test_a_refusal_is_shown_with_its_reason_and_is_not_repeated(world: EhrWorld) -> None:
    fail_with(world, 422, "no lab results from outside", type_="DiagnosticReport")
    browser, _chart, page = await signed(world)
    text = (await browser.get(page)).text
    assert "refused because: DiagnosticReport: 422 no lab results" in text
    world.clock.ahead += timedelta(hours=1)
    assert await send_due(world.parts) == 0
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    await browser.submit(page, f"{page}/send")
    assert "Sent to General Hospital." in (await browser.get(page)).text
    assert len(world.ehr.all("Observation")) == 5
    assert (await browser.submit(page, f"{page}x/send")).status_code == 404


async def test_a_report_that_lost_its_permission_is_sent_by_the_next_launch(
    world: EhrWorld,
) -> None:
    fail_with(world, 503)
    browser, chart, _page = await signed(world)
    await browser.submit(chart, f"{chart}sign-out")
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    world.clock.ahead += timedelta(minutes=5)
    await send_due(world.parts)
    (task,) = await world.stored("Task", code="report-to-ehr")
    assert task["status"] == "requested"
    assert "open MedSAGE again" in task["statusReason"]["text"]
    await world.launch(browser)
    assert len(world.ehr.all("DiagnosticReport")) == 1


async def test_after_a_restart_the_app_sends_in_its_own_name_where_it_may(
    world: EhrWorld,
) -> None:
    world.permit(*ALL, acts_alone=True)
    fail_with(world, 503)
    browser, chart, _page = await signed(world)
    await browser.submit(chart, f"{chart}sign-out")
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    world.clock.ahead += timedelta(minutes=5)
    async with world.restarted() as parts:
        assert await send_due(parts) == 1
    assert len(world.ehr.all("DiagnosticReport")) == 1


async def test_a_registration_that_was_narrowed_stops_what_waits(world: EhrWorld) -> None:
    fail_with(world, 503)
    await signed(world)
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    world.permit()
    world.clock.ahead += timedelta(minutes=5)
    await send_due(world.parts)
    assert world.ehr.all("DiagnosticReport") == []
    (task,) = await world.stored("Task", code="report-to-ehr")
    assert task["status"] == "failed"


async def test_a_name_that_the_pdf_cant_show_is_refused_not_garbled(world: EhrWorld) -> None:
    world.ehr.put({**world.ehr.resources["Patient", "p1"], "name": [{"text": "محمد"}]})
    browser, _chart, page = await signed(world)
    refused = await browser.submit(page, f"{page}/download", what="pdf")
    assert refused.status_code == 422
    assert "could not show rightly" in refused.text
    assert len(world.ehr.all("DiagnosticReport")) == 1
    assert world.ehr.all("DocumentReference") == []
    assert "No PDF can be made" in (await browser.get(page)).text


async def test_a_task_that_somebody_wrote_leads_to_no_other_chart(world: EhrWorld) -> None:
    fail_with(world, 503)
    await signed(world)
    (task,) = await world.stored("Task", code="report-to-ehr")
    for entry in task["input"]:
        if entry["type"]["coding"][0]["code"] == "patient":
            entry["valueString"] = "p2"
    await world.home.as_worker.update(task, task["meta"]["versionId"])
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    world.clock.ahead += timedelta(minutes=5)
    assert await send_due(world.parts) == 1
    assert world.ehr.all("DiagnosticReport") == []
    (task,) = await world.stored("Task", code="report-to-ehr")
    assert "not that of the record system" in task["statusReason"]["text"]


async def test_another_issuers_tokens_never_send_it(world: EhrWorld) -> None:
    fail_with(world, 503)
    await signed(world)
    (task,) = await world.stored("Task", code="report-to-ehr")
    sessions = world.parts.sessions
    value = await sessions.store.get(f"sending:{task['id']}")
    assert value is not None
    grant = await sessions.grant(value.decode())
    assert grant is not None
    await sessions.keep_grant(replace(grant, fhir_base="https://clinic.example/fhir"))
    world.ehr.replace_endpoint(world.ehr.search_or_create)
    world.clock.ahead += timedelta(minutes=5)
    await send_due(world.parts)
    assert world.ehr.all("DiagnosticReport") == []
