"""Other ways through the service in a real browser: without an EHR, without scripts, with an
image that is refused, with two charts at once, and out again."""

import re

import pytest
from playwright.sync_api import Frame, Page, Route

from tests.journeys import clinician as dr
from tests.journeys.clinician import Watched
from tests.journeys.running import Installation, eventually

pytestmark = pytest.mark.browser


def test_a_doctor_without_an_ehr_enters_a_patient_and_signs(
    watched: Watched, service: Installation
) -> None:
    app = dr.enter_home(watched.page, service, "dr.kofi")
    app.get_by_role("link", name="Enter a new patient").click()
    for name, value in dr.NEW_PATIENT.items():
        app.locator(f"#{name}").fill(value)
    app.locator("#sex-female").check()
    app.locator("#blood_group").select_option("AB-")
    dr.press(app, "Save and go on to symptoms", then="Symptoms and signs")
    assert "WAFULA, Neema" in dr.banner(app)
    assert app.locator("#weight").input_value() == "61.5"
    dr.answer(app, {"temperature": "38.7"}, {"fever": "yes", "vomiting": "yes"})
    dr.press(app, "Continue without an image", then="Check and start")
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    dr.read_first(app, "malaria-unlikely")
    assert "No AI opinion on an image" in app.locator("section[aria-labelledby=ai]").inner_text()
    dr.conclude(app, "malaria-unlikely", "accept", "Fever; do a smear before any treatment.")
    report = service.read(f"DiagnosticReport/{dr.sign(app)}")
    assert report["status"] == "final"
    assert report["resultsInterpreter"][0]["reference"] == "Practitioner/dr-kofi"
    measured_and_asked(service, report["subject"]["reference"])
    assert watched.complaints == []


def measured_and_asked(service: Installation, reference: str) -> None:
    """The new patient and what was entered with her."""
    patient = service.read(reference)
    assert patient["name"][0]["family"] == "Wafula"
    assert re.fullmatch(r"\d{4}", patient["birthDate"])
    found = {
        each["code"]["coding"][0]["code"]: each
        for each in service.search("Observation", patient=reference)
    }
    assert float(found["29463-7"]["valueQuantity"]["value"]) == 61.5
    assert float(found["8302-2"]["valueQuantity"]["value"]) == 164
    assert found["882-1"]["valueCodeableConcept"]["text"] == "AB-"


def test_images_that_were_chosen_before_the_script_came_are_shown_when_it_comes(
    watched: Watched, service: Installation
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    dr.enter_ehr(watched.page, service, "dr.amina")
    app = dr.launch(watched.page, "BANDA, Chisomo")
    dr.begin(app)
    watched.page.route("**/js/upload.*.js", hold)
    app.get_by_role("button", name="Continue to smear images").click()
    app.get_by_role("heading", name="Smear images").wait_for()
    app.locator("#image").set_input_files(dr.IMAGES / "not-a-smear.png")
    assert app.get_by_role("button", name="Continue without an image").is_visible()
    held.pop().continue_()
    app.get_by_role("button", name="Upload and continue").wait_for()
    app.get_by_text("not-a-smear.png:").wait_for()
    assert watched.complaints == []


def test_an_image_that_is_no_smear_is_refused_and_the_symptoms_are_still_analysed(
    watched: Watched, service: Installation
) -> None:
    dr.enter_ehr(watched.page, service, "dr.amina")
    app = dr.launch(watched.page, "BANDA, Chisomo")
    dr.begin(app)
    dr.answer(app, {"temperature": "40.1"}, {"fever": "yes", "prostration": "yes"})
    dr.upload(app, "not-a-smear.png")
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    assert app.get_by_text("Possible severe malaria: act now").is_visible()
    dr.read_first(app, "cannot-tell")
    shown = app.locator("section[aria-labelledby=ai]").inner_text()
    assert "Image 1 refused (not-a-smear)" in shown
    assert shown.count("Not a negative result") == 1
    assert "Analysis of symptoms" in shown
    assert not re.search(r"None found|Parasites suspected", shown)
    assert watched.complaints == []


def test_an_image_that_is_no_smear_alone_ends_without_a_result(
    watched: Watched, service: Installation
) -> None:
    dr.enter_ehr(watched.page, service, "dr.amina")
    app = dr.launch(watched.page, "DIALLO, Fatoumata")
    dr.begin(app)
    dr.answer(app, {}, {})
    dr.upload(app, "not-a-smear.png")
    dr.start(app)
    dr.arrive(app, "The analysis ended without a result")
    told = app.locator("[role=alert]").inner_text()
    assert "This is not a negative result" in told
    task = service.read(f"Task/{app.url.rpartition('/')[2]}")
    assert task["status"] == "failed"
    assert task["statusReason"]["text"] in told
    assert not service.search("DiagnosticReport", patient="Patient/ward-3")
    app.get_by_role("link", name="New assessment").click()
    dr.arrive(app, "Symptoms and signs")
    assert watched.complaints == []


def test_two_charts_side_by_side_do_not_bleed(watched: Watched, service: Installation) -> None:
    page = watched.page
    dr.enter_ehr(page, service, "dr.amina")
    dr.launch(page, "EZE, Chinedu")
    page.get_by_role("link", name="Open second chart").click()
    page.get_by_role("link", name="KAMAU, Wambui").click()
    left, right = dr.app_frame(page, 1), dr.app_frame(page, 2)
    for app in (left, right):
        dr.begin(app)
    dr.answer(left, {"temperature": "38.6"}, {"fever": "yes"}, "words about the first")
    dr.answer(right, {"temperature": "36.4"}, {"cough": "yes"}, "words about the second")
    for app in (left, right):
        dr.press(app, "Continue without an image", then="Check and start")
    shown_apart(left, "EZE, Chinedu", "38.6", "words about the first")
    shown_apart(right, "KAMAU, Wambui", "36.4", "words about the second")
    for app in (left, right):
        dr.start(app)
    for app, patient, temperature in ((left, "ward-4", 38.6), (right, "ward-5", 36.4)):
        dr.arrive(app, "1. Your own reading")
        report = service.read(f"DiagnosticReport/{app.url.rpartition('/')[2]}")
        assert report["subject"]["reference"] == f"Patient/{patient}"
        measured = service.search(
            "Observation", patient=f"Patient/{patient}", code="8310-5", _sort="-date"
        )
        assert float(measured[0]["valueQuantity"]["value"]) == temperature
    assert watched.complaints == []


def shown_apart(app: Frame, name: str, temperature: str, words: str) -> None:
    """The page to check shows one patient's answers and nothing of the other's."""
    assert name in dr.banner(app)
    told = app.locator("main").inner_text()
    assert f"{temperature} °C" in told
    assert words in told
    assert told.count("words about") == 1


def test_a_form_of_one_chart_is_refused_in_another_and_the_refusal_is_audited(
    watched: Watched, service: Installation
) -> None:
    dr.enter_ehr(watched.page, service, "dr.amina")
    app = dr.launch(watched.page, "OKELLO, Grace")
    dr.begin(app)
    app.locator("form[data-autosave] [name=expected_patient]").evaluate(
        "field => { field.value = 'ward-1' }"
    )
    app.get_by_role("button", name="Continue to smear images").click()
    app.get_by_role("alert").wait_for()
    assert "ACHIENG" not in app.locator("body").inner_text()
    with service.as_user("auditor") as auditor:
        asked = {"subtype": "app-refusal", "agent": "Practitioner/dr-amina"}
        refusals = eventually(lambda: service.search("AuditEvent", auditor, **asked), bool)
    assert [each["outcome"] for each in refusals] == ["4"]
    assert not service.search("Task", patient="Patient/ward-8")


def test_signing_out_ends_the_session_in_every_window(
    watched: Watched, service: Installation
) -> None:
    page = watched.page
    app = dr.enter_home(page, service, "dr.kofi")
    inside = app.url
    second = page.context.new_page()
    second.goto(inside)
    second.get_by_role("heading", name="Find a patient").wait_for()
    dr.press(app, "Sign out", then="You are signed out")
    assert second.reload() is not None
    second.get_by_role("alert").wait_for()
    assert "Search" not in second.locator("main").inner_text()
    page.go_back()
    assert page.get_by_role("heading", name="Find a patient").count() == 0
    page.goto(f"{service.origin}/app/")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Password").wait_for()
    with service.as_user("auditor") as auditor:
        asked = {"subtype": "110123", "agent": "Practitioner/dr-kofi"}
        assert eventually(lambda: service.search("AuditEvent", auditor, **asked), bool)


def test_progress_comes_as_events_in_a_window_of_its_own(
    watched: Watched, service: Installation
) -> None:
    dr.enter_ehr(watched.page, service, "dr.amina")
    window = Watched(in_a_window(watched.page, "MWANGI, Peter"))
    app = window.page.main_frame
    dr.begin(app)
    dr.answer(app, {}, {})
    dr.upload(app, "field-1.jpg", "field-2.jpg")
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    assert window.heard("eventsource")
    assert window.complaints == []


def test_signing_out_of_the_ehr_ends_the_app_that_it_launched(
    watched: Watched, service: Installation
) -> None:
    page = watched.page
    dr.enter_ehr(page, service, "dr.amina")
    window = in_a_window(page, "MWANGI, Peter")
    page.get_by_role("link", name="Sign out").click()
    page.wait_for_url("**/ehr/")
    window.reload()
    window.get_by_role("alert").wait_for()
    assert "MWANGI" not in window.locator("body").inner_text()


def in_a_window(page: Page, patient: str) -> Page:
    """The app launched from this patient's chart, beside the EHR instead of in it."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=patient).first.click()
        page.get_by_role("button", name="Launch in a new window").click()
    opened.value.get_by_role("heading", name="Malaria assessments").wait_for()
    return opened.value


def test_the_whole_way_works_without_scripts(without_scripts: Page, service: Installation) -> None:
    page = without_scripts
    dr.enter_ehr(page, service, "dr.amina")
    app = dr.launch(page, "MWANGI, Peter")
    dr.begin(app)
    dr.answer(app, {"temperature": "38.0"}, {"fever": "yes"})
    app.locator("#image").set_input_files(dr.IMAGES / "cell-uninfected.png")
    app.get_by_role("button", name="Upload", exact=True).click()
    dr.arrive(app, "Images of this assessment")
    dr.press(app, "Continue", then="Check and start")
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    dr.read_first(app, "parasites-not-seen")
    dr.conclude(app, "parasites-not-seen", "accept", "No parasites seen; repeat tomorrow.")
    assert service.read(f"DiagnosticReport/{dr.sign(app)}")["status"] == "final"
    dr.press(app, "Print the report", then="Results")
