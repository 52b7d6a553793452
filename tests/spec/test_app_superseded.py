"""A report whose images a newer analysis has read says so: on its page, in print and as a PDF."""

import re
from typing import Any

import pytest

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.recalls import RECALL_REVIEW, RECALLED
from fhir_server.fhir.withdrawn import WITHDRAWN
from tests.app_browser import Browser, World
from tests.app_records import MEDIA, PATIENT, drawings, drawn, report, smear_result

Json = dict[str, Any]
KIND = {"code": {"coding": [{"system": FINDINGS, "code": "malaria-assessment-ai"}]}}
SUPERSEDED = "Superseded: a newer analysis has read these images"
REDONE = "Being redone, not yet signed"


def image(id: str, checksum: str = "") -> Json:
    return {**MEDIA, "id": id, "content": {**MEDIA["content"], "hash": checksum or id}}


def older(**changes: Any) -> Json:
    return {**report("smear"), **KIND, "status": "final", **changes}


def newer(*images: str, when: str = "2026-11-23T09:20:00Z", **changes: Any) -> Json:
    links = [{"link": {"reference": f"Media/{each}"}} for each in images]
    made = {**older(), "id": "r2", "effectiveDateTime": when, "issued": when, "media": links}
    return {**made, "status": "preliminary", **changes}


@pytest.fixture
def world() -> World:
    made = World()
    for resource in (PATIENT, smear_result("insufficient", "Insufficient"), image("m1", "same")):
        made.records.put(resource)
    made.records.put(older())
    return made


async def shown(world: World) -> tuple[Browser, str, str]:
    browser = world.browser()
    page = f"{await browser.launch()}reports/r1"
    return browser, page, (await browser.get(page)).text


async def test_the_same_image_sent_again_supersedes_and_leads_to_the_newer(world: World) -> None:
    for resource in (image("m2", "same"), image("m3"), newer("m2", "m3", status="final")):
        world.records.put(resource)

    browser, page, text = await shown(world)

    assert SUPERSEDED in text
    assert REDONE not in text
    assert re.search(r'href="[^"]+/reports/r2">Open the newer report', text)
    printed = await browser.submit(page, f"{page}/print", what="report")
    sheet = (await browser.get(printed.headers["location"])).text
    assert "SUPERSEDED: a newer analysis of 23-Nov-2026 09:20 UTC (FINAL, report r2)" in sheet
    chart = page.partition("reports/")[0]
    assert SUPERSEDED not in (await browser.get(f"{chart}reports/r2")).text


async def test_a_draft_takes_no_place_and_is_said_to_be_one(world: World) -> None:
    world.records.put(newer("m1"))

    browser, page, text = await shown(world)

    assert REDONE in text
    assert re.search(r'href="[^"]+/reports/r2">Open the unsigned one', text)
    assert "uperseded" not in text
    printed = await browser.submit(page, f"{page}/print", what="report")
    sheet = (await browser.get(printed.headers["location"])).text
    assert "BEING REDONE: a newer analysis of 23-Nov-2026 09:20 UTC (report r2)" in sheet
    assert "Use that one" not in sheet


async def test_a_signed_report_is_the_successor_though_a_newer_draft_exists(world: World) -> None:
    world.records.put(newer("m1", status="final"))
    world.records.put({**newer("m1", when="2026-11-24T09:20:00Z"), "id": "r3"})
    world.records.put({**newer("m1", when="2026-11-22T19:20:00Z"), "id": "before"})

    text = (await shown(world))[2]

    assert re.search(r'href="[^"]+/reports/r2">Open the newer report', text)
    assert re.search(r'href="[^"]+/reports/r3">Open the unsigned one', text)
    assert "reports/before" not in text.partition("</main>")[0].partition("<h1>")[0]


async def test_of_two_of_one_second_the_one_stored_later_supersedes(world: World) -> None:
    same = older()["effectiveDateTime"]
    world.records.put(newer("m1", when=same, status="final"))
    # Signing makes a later version of the first, and no later analysis.
    world.records.put(older(issued="2026-11-25T08:00:00Z"))

    browser, page, text = await shown(world)

    assert re.search(r'href="[^"]+/reports/r2">Open the newer report', text)
    chart = page.partition("reports/")[0]
    assert SUPERSEDED not in (await browser.get(f"{chart}reports/r2")).text


async def test_of_three_of_one_second_the_last_is_the_successor(world: World) -> None:
    same = older()["effectiveDateTime"]
    for id in ("z", "a"):
        world.records.put({**newer("m1", when=same, status="final"), "id": id})
    del world.records.history[:]  # what was forgotten of them leaves their ids to decide

    browser, page, text = await shown(world)

    assert re.search(r'href="[^"]+/reports/z">Open the newer report', text)
    chart = page.partition("reports/")[0]
    assert SUPERSEDED not in (await browser.get(f"{chart}reports/z")).text


async def test_newer_reports_of_other_images_hide_none_of_the_same(world: World) -> None:
    world.records.put(image("m3"))
    world.records.put(newer("m1", status="final"))
    for number in range(5):
        later = f"2026-11-23T1{number}:00:00Z"
        world.records.put({**newer("m3", when=later), "id": f"later{number}"})

    _browser, _page, text = await shown(world)

    assert re.search(r'href="[^"]+/reports/r2">Open the newer report', text)


@pytest.mark.parametrize(
    "other",
    [
        newer("m3"),
        newer("m1", when="2026-11-21T09:20:00Z"),
        newer("m1", status="entered-in-error"),
        newer("m1", meta={**report()["meta"], "tag": [RECALLED]}),
        newer("m1", meta={**report()["meta"], "tag": [WITHDRAWN]}),
        {**newer("m1"), "code": {"text": "Other"}},
    ],
    ids=["other images", "an older one", "withdrawn", "recalled", "not permitted", "another kind"],
)
async def test_what_is_no_newer_analysis_of_these_images_supersedes_nothing(
    world: World, other: Json
) -> None:
    world.records.put(image("m3"))
    world.records.put(other)

    text = (await shown(world))[2]
    assert "uperseded" not in text
    assert REDONE not in text


async def test_what_was_drawn_of_an_image_is_no_image(world: World) -> None:
    for resource in (*drawings(), image("m3")):
        world.records.put({**resource, "content": {**MEDIA["content"], "hash": resource["id"]}})
    world.records.put(drawn(older()))
    world.records.put(drawn(newer("m3")))

    assert "uperseded" not in (await shown(world))[2]


async def test_what_could_not_be_found_out_is_said(world: World) -> None:
    world.records.put(newer("m1", status="final"))
    browser, page, text = await shown(world)
    assert SUPERSEDED in text

    world.records.forbidden.add("Media")

    assert "could not be found out" in (await browser.get(page)).text


async def test_the_pdf_and_the_print_of_a_recalled_report_say_so_first(world: World) -> None:
    world.records.put(older(meta={**report()["meta"], "tag": [RECALLED]}, media=[]))
    task = {
        "resourceType": "Task",
        "id": "again",
        "status": "requested",
        "code": {"coding": [RECALL_REVIEW]},
        "focus": {"reference": "DiagnosticReport/r1"},
        "for": {"reference": "Patient/p1"},
        "reasonCode": {"text": "Mislabelled cells"},
    }
    world.records.put(task)
    browser, page, _text = await shown(world)
    printed = await browser.submit(page, f"{page}/print", what="report")
    sheet = (await browser.get(printed.headers["location"])).text
    said = "RECALLED: do not rely on the AI result in this report. Reason: Mislabelled cells"
    assert said in sheet
    assert sheet.index(said) < sheet.index("<h1>")
    assert (await browser.submit(page, f"{page}/download", what="pdf")).status_code == 200
    # The reason is in the PDF: one that its fonts can't show is refused, as everything there.
    world.records.put({**task, "reasonCode": {"text": "\u6f22"}})
    refused = await browser.submit(page, f"{page}/download", what="pdf")
    assert refused.status_code == 422
    assert "\u6f22" in refused.text
