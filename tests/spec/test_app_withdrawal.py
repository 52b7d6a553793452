"""Consent that is withdrawn, in the app: the draft says why and can't be signed; a chart that is
kept back says so."""

from typing import Any

import pytest

from fhir_server.fhir.withdrawn import NOT_PERMITTED, WITHDRAWN, withdrawn_task
from smart_app.presenters.progress import progress
from tests.app_browser import World, hidden_fields
from tests.app_records import PATIENT, report, smear_result
from tests.stores import START

WHY = "The patient does not permit this analysis any more"


@pytest.fixture
def world():
    made = World()
    for resource in (PATIENT, smear_result("none-found", "None found by model")):
        made.records.put(resource)
    return made


def marked(draft: dict[str, Any]) -> dict[str, Any]:
    return {**draft, "meta": {**draft["meta"], "tag": [WITHDRAWN]}}


async def test_a_withdrawn_draft_says_why_hides_the_result_and_cant_be_signed(world):
    draft = world.records.put(report("smear", media=False))
    browser = world.browser()
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    await browser.submit(page, f"{page}/reading", reading="cannot-tell")
    assert "2. AI result" in (await browser.get(page)).text
    chosen = {"finding": "cannot-tell", "agreement": "accept", "conclusion": "Unclear."}
    await browser.submit(page, f"{page}/conclusion", acknowledged="yes", **chosen)
    ready = await browser.get(f"{page}/sign")
    world.records.put(marked(draft))
    refused = await browser.post(f"{page}/sign", {**hidden_fields(ready.text), "examined": "yes"})
    assert refused.status_code == 409
    assert "The patient does not permit this analysis" in refused.text
    assert world.records.resources["DiagnosticReport", "r1"]["status"] == "preliminary"
    shown = (await browser.get(page)).text
    assert WHY in shown
    assert "2. AI result" not in shown
    fields = hidden_fields(shown)
    assert (await browser.post(f"{page}/print", {**fields, "what": "report"})).status_code == 409
    world.records.put({**marked(draft), "status": "final"})
    assert WHY not in (await browser.get(page)).text


async def test_a_chart_that_is_kept_back_says_so(world):
    world.records.put(report("smear", media=False))
    browser = world.browser()
    chart = await browser.launch()
    unknown = await browser.get(f"{chart}tasks/unknown")
    assert (unknown.status_code, "Not found in this chart" in unknown.text) == (404, True)
    world.records.resources.pop(("Patient", "p1"))
    world.records.resources.pop(("DiagnosticReport", "r1"))
    # Whoever waits, or has a report open, is told so as well.
    for page in (chart, f"{chart}reports/r1", f"{chart}tasks/t1"):
        answer = await browser.get(page)
        assert answer.status_code == 404
        assert "This chart is not shown to you any more" in answer.text


def test_a_task_that_was_cancelled_for_it_says_why():
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "in-progress",
        "authoredOn": "2026-11-24T08:00:00Z",
        "executionPeriod": {"start": "2026-11-24T08:00:00Z"},
    }
    shown = progress(withdrawn_task(task, START), now=START)
    assert (shown.is_over, shown.failure) == (True, NOT_PERMITTED)
    assert [step.state for step in shown.steps][-1] == "stopped"
