"""Forms of the app: forgery, mixed-up patients, bad values, and doing a thing once."""

import re

import pytest
from starlette.requests import Request

from smart_app.pages.intake import SUBMISSION
from smart_app.problems import Problem
from smart_app.visit import read_form
from tests.app_browser import World, hidden_fields
from tests.app_records import OTHER_PATIENT, PATIENT, chunk, png


@pytest.fixture
def world():
    made = World()
    made.records.put(PATIENT)
    made.records.put(OTHER_PATIENT)
    return made


@pytest.fixture
async def browser(world):
    return world.browser()


async def test_a_form_without_its_token_is_refused(browser):
    chart = await browser.launch()
    answer = await browser.post(f"{chart}intake", {"expected_patient": "p1", "fever": "yes"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_a_form_sent_by_another_site_is_refused(browser, headers):
    chart = await browser.launch()
    fields = hidden_fields((await browser.get(f"{chart}intake")).text)
    answer = await browser.post(f"{chart}intake", fields, headers=headers)
    assert answer.status_code == 403


async def test_the_form_of_one_chart_is_refused_in_another(world, browser):
    first = await browser.launch()
    fields = hidden_fields((await browser.get(f"{first}intake")).text)
    world.records.token_extra = {"patient": "p2"}
    second = await browser.launch()
    own = hidden_fields((await browser.get(f"{second}intake")).text)
    answer = await browser.post(f"{second}intake", {**fields, "csrf": own["csrf"], "fever": "yes"})
    assert answer.status_code == 409
    assert "another patient" in answer.text
    (event,) = world.records.all("AuditEvent")
    assert event["outcomeDesc"] == "other-patient"
    assert event["agent"][0]["who"]["reference"] == "Practitioner/dr-amina"
    assert event["entity"][0]["what"]["reference"] == "Patient/p2"
    assert "checked" not in (await browser.get(f"{second}intake")).text.split("fever")[1][:200]


async def test_an_impossible_value_is_an_error_beside_its_field(browser):
    chart = await browser.launch()
    answer = await browser.submit(f"{chart}intake", f"{chart}intake", temperature="60")
    assert answer.status_code == 422
    assert "must be between 25 and 46" in answer.text
    assert "<title>Error:" in answer.text
    assert 'aria-invalid="true"' in answer.text


async def test_an_unusual_value_is_taken_once_confirmed(browser):
    chart = await browser.launch()
    asked = await browser.submit(f"{chart}intake", f"{chart}intake", temperature="41.8")
    assert asked.status_code == 422
    assert "Yes, 41.8 °C is right" in asked.text
    taken = await browser.submit(
        f"{chart}intake", f"{chart}intake", temperature="41.8", confirm_temperature="41.8"
    )
    assert taken.status_code == 303


async def test_swapped_weight_and_height_are_asked_about_and_taken_once_confirmed(browser):
    chart = await browser.launch()
    swapped = {"weight": "170", "height": "65"}
    asked = await browser.submit(f"{chart}intake", f"{chart}intake", **swapped)
    assert asked.status_code == 422
    assert '<a href="#size">Weight of 170 kg and height of 65 cm give a BMI of 402' in asked.text
    box = re.search(r'name="confirm_size" value="([^"]+)"', asked.text)
    taken = await browser.submit(f"{chart}intake", f"{chart}intake", **swapped, confirm_size=box[1])
    assert taken.status_code == 303


async def test_the_age_of_a_child_counts_for_what_is_asked(world, browser):
    world.records.put({**PATIENT, "birthDate": "2025-10-02"})
    chart = await browser.launch()
    asked = await browser.submit(f"{chart}intake", f"{chart}intake", weight="70")
    assert asked.status_code == 422
    assert "Weight of 70 kg is far from what growth charts know at this age" in asked.text


async def test_an_empty_assessment_can_not_be_started(world, browser):
    chart = await browser.launch()
    answer = await browser.submit(f"{chart}check", f"{chart}start")
    assert answer.status_code == 422
    assert world.records.all("Task") == []


async def test_starting_sends_one_transaction_and_a_double_click_finds_it(world, browser):
    chart = await browser.launch()
    await browser.submit(
        f"{chart}intake", f"{chart}intake", temperature="39,2", weight="62", fever="yes"
    )
    fields = hidden_fields((await browser.get(f"{chart}check")).text)
    first = await browser.post(f"{chart}start", fields)
    second = await browser.post(f"{chart}start", fields)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    (task,) = world.records.all("Task")
    assert task["identifier"][0]["system"] == SUBMISSION
    assert task["for"] == {"reference": "Patient/p1"}
    assert task["requester"] == {"reference": "Practitioner/dr-amina"}
    assert task["encounter"] == {"reference": "Encounter/e1"}
    assert len(world.records.all("Observation")) == 2
    assert len(world.records.all("QuestionnaireResponse")) == 1


async def test_travel_and_earlier_treatment_are_asked_checked_and_sent(world, browser):
    chart = await browser.launch()
    told = {"travel": "yes", "travel-from": "2026-11-01", "antimalarial": "no"}
    wrong = {**told, "travel-until": "2026-10-01"}
    refused = await browser.submit(f"{chart}intake", f"{chart}intake", fever="yes", **wrong)
    assert refused.status_code == 422
    assert "The last day must not come before the first" in refused.text
    await browser.submit(f"{chart}intake", f"{chart}intake", fever="yes", **told)
    checked = (await browser.get(f"{chart}check")).text
    assert "Travelled in a malaria area in the past year" in checked
    assert (await browser.post(f"{chart}start", hidden_fields(checked))).status_code == 303
    (response,) = world.records.all("QuestionnaireResponse")
    answers = {item["linkId"]: item["answer"][0] for item in response["item"]}
    assert answers["travel"]["valueCoding"]["code"] == "Y"
    assert answers["antimalarial"]["valueCoding"]["code"] == "N"
    assert answers["travel-from"] == {"valueDate": "2026-11-01"}
    assert "travel-until" not in answers


async def test_an_image_is_cleaned_shown_and_sent(world, browser):
    chart = await browser.launch()
    fields = hidden_fields((await browser.get(f"{chart}images")).text)
    content = png(extra=chunk(b"tEXt", b"Comment\0Okafor, ward 3"))
    files = [("image", ("okafor.png", content, "image/png"))]
    answer = await browser.post(f"{chart}images", fields, files=files)
    assert answer.status_code == 303
    checked = (await browser.get(f"{chart}check")).text
    assert "okafor.png" not in checked
    fields = {**hidden_fields(checked), "confirm_slides": "yes"}
    assert (await browser.post(f"{chart}start", fields)).status_code == 303
    (binary,) = world.records.all("Binary")
    assert "T2thZm9y" not in binary["data"]
    (media,) = world.records.all("Media")
    assert media["content"]["url"] == f"Binary/{binary['id']}"
    shown = await browser.get(f"{chart}media/{media['id']}")
    assert shown.content == png()
    assert shown.headers["x-content-type-options"] == "nosniff"


async def test_slides_must_be_confirmed_to_be_the_patients(world, browser):
    chart = await browser.launch()
    fields = hidden_fields((await browser.get(f"{chart}images")).text)
    files = [("image", ("a.png", png(), "image/png"))]
    await browser.post(f"{chart}images", fields, files=files)
    answer = await browser.submit(f"{chart}check", f"{chart}start")
    assert answer.status_code == 422
    assert "belong to this patient" in answer.text
    assert world.records.all("Task") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, I am a.png", "not an image"),
        (b"", "empty"),
        (png()[:-20], "damaged"),
        (png(extra=chunk(b"acTL", b"\0" * 8)), "Moving images"),
        (b"GIF89a" + b"\0" * 20, "format is not accepted"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIC"),
        (b"\0" * 200_001, "larger than"),
    ],
)
async def test_what_is_no_still_image_is_refused_with_the_reason(world, browser, content, words):
    chart = await browser.launch()
    fields = hidden_fields((await browser.get(f"{chart}images")).text)
    files = [("image", ("a.png", content, "image/png"))]
    answer = await browser.post(f"{chart}images", fields, files=files)
    assert answer.status_code == 422
    assert words in answer.text
    (event,) = world.records.all("AuditEvent")
    assert event["outcomeDesc"].startswith("image refused: ")


async def test_one_refused_section_leaves_the_rest_of_the_page(world, browser):
    world.records.forbidden = {"AllergyIntolerance", "Task"}
    page = await browser.get(await browser.launch())
    assert page.status_code == 200
    assert "Not permitted to see allergies" in page.text
    assert "OKAFOR" in page.text


async def test_a_chart_launch_offers_no_other_patient(browser):
    chart = await browser.launch()
    assert (await browser.get(f"{chart}patients?name=a")).status_code == 404
    assert "Find a patient" not in (await browser.get(chart)).text
    moved = await browser.submit(chart, f"{chart}patients/open", patient="p2")
    assert moved.status_code == 404


async def test_a_standalone_user_enters_a_new_patient_once(world, browser):
    home = await browser.sign_in()
    page = (await browser.get(f"{home}patients/new")).text
    fields = {
        **hidden_fields(page),
        "family": "Mwangi",
        "given": "Grace",
        "age": "31",
        "sex": "female",
        "weight": "58",
        "blood_group": "O+",
    }
    first = await browser.post(f"{home}patients/new", fields)
    await browser.post(f"{home}patients/new", fields)
    assert first.status_code == 303
    stored = [p for p in world.records.all("Patient") if p["id"] not in {"p1", "p2"}]
    (patient,) = stored
    assert len(patient["birthDate"]) == 4
    intake = (await browser.get(first.headers["location"])).text
    assert "MWANGI, Grace" in intake
    assert 'value="58"' in intake


async def test_a_standalone_user_finds_a_patient_and_opens_the_chart(browser):
    home = await browser.sign_in()
    found = (await browser.get(f"{home}patients?name=okafor")).text
    assert "OKAFOR, Chidi" in found
    fields = {**hidden_fields(found), "patient": "p1"}
    opened = await browser.post(f"{home}patients/open", fields)
    chart = await browser.get(opened.headers["location"])
    assert "OKAFOR, Chidi" in chart.text
    assert "frame-ancestors 'none'" in chart.headers["content-security-policy"]


async def test_the_home_page_may_not_be_framed(browser):
    page = await browser.get("/app/")
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_a_browser_that_goes_away_in_the_middle_of_a_form_is_no_failure_of_ours():
    came = iter(
        [
            {"type": "http.request", "body": b"fever=", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive():
        return next(came)

    kind, length = b"application/x-www-form-urlencoded", b"9"
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", kind), (b"content-length", length)],
    }
    with pytest.raises(Problem) as refused:
        await read_form(Request(scope, receive), 1000)
    assert refused.value.cause == "bad-form"
