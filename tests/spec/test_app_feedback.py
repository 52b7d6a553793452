"""Feedback on an AI result: said at signing, changed later, by who signed, with its history."""

import pytest

from fhir_server.fhir.feedback import coded, comment_in, reasons_in
from fhir_server.validation.validate import Validator
from tests.app_browser import World
from tests.app_records import MEDIA, PATIENT, report, smear_result, symptom_result


@pytest.fixture
def world():
    made = World()
    for resource in (
        PATIENT,
        MEDIA,
        smear_result("parasites-suspected", "Parasites suspected"),
        symptom_result("urgent", "Urgent: see a clinician today"),
        report("smear", "symptoms"),
    ):
        made.records.put(resource)
    return made


@pytest.fixture
def browser(world):
    return world.browser()


def feedback_in(world):
    observations = world.records.all("Observation")
    return [o for o in observations if o["code"]["coding"][0]["code"] == "ai-feedback"]


async def reviewed(browser, **fields):
    """The report's page, and the answer to the conclusion form."""
    chart = await browser.launch()
    page = f"{chart}reports/r1"
    await browser.submit(page, f"{page}/reading", reading="parasites-not-seen")
    chosen = {"finding": "cannot-tell", "agreement": "reject", "conclusion": "Stain on the slide."}
    return page, await browser.submit(page, f"{page}/conclusion", **{**chosen, **fields})


async def signed(browser, **fields):
    page, answer = await reviewed(browser, **fields)
    assert answer.status_code == 303, answer.text
    done = await browser.submit(f"{page}/sign", f"{page}/sign", examined="yes")
    assert done.status_code == 303, done.text
    return page


async def test_feedback_is_written_with_the_signature_about_the_version_that_was_seen(
    world, browser
):
    await signed(browser, reasons=["artefact", "poor-image"], comment="Precipitate")

    (said,) = feedback_in(world)
    assert Validator().issues(said) == ()
    assert coded(said) == "reject"
    assert reasons_in(said) == ("artefact", "poor-image")
    assert comment_in(said) == "Precipitate"
    assert said["focus"] == [{"reference": "Observation/smear"}]
    assert said["derivedFrom"] == [{"reference": "Observation/smear/_history/1"}]
    assert said["performer"][0]["reference"] == "Practitioner/dr-amina"
    results = world.records.resources["DiagnosticReport", "r1"]["result"]
    assert {"reference": f"Observation/{said['id']}"} not in results


@pytest.mark.parametrize(
    ("fields", "place"),
    [({}, "#reasons"), ({"reasons": "made-up"}, "#reasons"), ({"reasons": "other-reason"}, "#com")],
    ids=["no reason", "an unknown reason", "other without words"],
)
async def test_a_rejection_needs_a_reason(browser, fields, place):
    _page, answer = await reviewed(browser, **fields)

    assert answer.status_code == 422
    assert f'href="{place}' in answer.text


async def test_who_signed_changes_the_feedback_and_the_first_version_is_kept(world, browser):
    page = await signed(browser, reasons="artefact")
    assert "Reject; Artefact or stain" in (await browser.get(page)).text

    answer = await browser.submit(
        f"{page}/feedback", f"{page}/feedback", agreement="modify", reasons="missed-finding"
    )

    assert answer.status_code == 303
    (said,) = feedback_in(world)
    assert (coded(said), reasons_in(said)) == ("modify", ("missed-finding",))
    assert (said["status"], said["meta"]["versionId"]) == ("amended", "2")
    assert Validator().issues(said) == ()
    first = next(v for v in world.records.history if v["id"] == said["id"])
    assert reasons_in(first) == ("artefact",)
    trail = [p for p in world.records.all("Provenance") if "signature" not in p]
    assert [p["entity"][0]["what"]["reference"] for p in trail] == [
        f"Observation/{said['id']}/_history/1"
    ]
    events = [event["subtype"][0]["code"] for event in world.records.all("AuditEvent")]
    assert events == ["signature", "ai-feedback"]


async def test_feedback_that_was_changed_meanwhile_is_not_overwritten(world, browser):
    page = await signed(browser, reasons="artefact")
    form = (await browser.get(f"{page}/feedback")).text
    assert 'value="artefact" checked' in form
    world.records.put(feedback_in(world)[0])

    stale = {"agreement": "accept", "feedback_version": "1"}
    answer = await browser.submit(f"{page}/feedback", f"{page}/feedback", **stale)

    assert answer.status_code in (409, 412)
    assert coded(feedback_in(world)[0]) == "reject"


async def test_a_report_that_another_signed_takes_no_feedback(world, browser):
    page = await signed(browser, reasons="artefact")
    other = {"reference": "Practitioner/dr-other", "display": "Dr Other"}
    record = world.records.resources["DiagnosticReport", "r1"]
    world.records.put({**record, "resultsInterpreter": [other]})

    assert "feedback" not in (await browser.get(page)).text
    assert (await browser.get(f"{page}/feedback")).status_code == 403
    fields = {"agreement": "accept", "feedback_version": "1"}
    answer = await browser.submit(page, f"{page}/feedback", **fields)
    assert answer.status_code == 403
    assert coded(feedback_in(world)[0]) == "reject"


async def test_an_unsigned_report_takes_no_feedback_of_its_own(browser):
    page, _answer = await reviewed(browser, reasons="artefact")

    assert (await browser.get(f"{page}/feedback")).status_code == 403
