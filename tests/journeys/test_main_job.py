"""The main job in a real browser against a running server: from a chart of the EHR through a
smear image to the signed and printed report, and what it left behind, read back over FHIR."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Frame, Page

from fhir_server.fhir.drawings import FRAMED, GALLERY, REACTION, drawing_of
from tests.journeys import clinician as dr
from tests.journeys import trail
from tests.journeys.clinician import Watched
from tests.journeys.running import Installation, eventually

pytestmark = pytest.mark.browser

PATIENT = "Patient/ward-1"
AMINA = "Practitioner/dr-amina"
CONCLUSION = "Ring forms in single cells; parasites seen. Repeat the smear in 12 hours."
Keep = Callable[[Page, str], None]


def test_from_the_chart_in_the_ehr_to_the_signed_and_printed_report(
    watched: Watched, service: Installation, screenshot: Keep
) -> None:
    report_id = main_job(watched, service, screenshot)
    check_trail(service, report_id)


@pytest.mark.mongodb
def test_the_same_way_with_mongodb_as_the_store(
    watched: Watched, service_on_mongodb: Installation
) -> None:
    report_id = main_job(watched, service_on_mongodb, lambda page, name: None)
    check_trail(service_on_mongodb, report_id)


def main_job(watched: Watched, service: Installation, keep: Keep) -> str:
    """What the doctor does and sees; returns the id of the signed report."""
    page = watched.page
    dr.enter_ehr(page, service, "dr.amina")
    app = dr.launch(page, "ACHIENG, Mercy")
    assert app.url.startswith(f"{service.origin}/app/s/")
    shown = dr.banner(app)
    for fact in ("ACHIENG, Mercy", "17-Mar-1994", "MRN-1001", "Sulfadoxine"):
        assert fact in shown
    keep(page, "ehr")
    dr.begin(app)
    dr.answer(app, dr.FEVERISH, {**dr.FEVER, "travel": "yes"}, "Back from the lake shore last week")
    dr.upload(app, "field-1.jpg", "cell-parasitized.png")
    told = app.locator("main").inner_text()
    for fact in (
        "39.4 °C",
        "Travelled in a malaria area",
        "Back from the lake",
        "I confirm that these slides belong to",
    ):
        assert fact in told
    assert re.search(r"About \d+ red cells in all images together. About \d+ more are needed", told)
    start_and_wait(watched, app)
    assert app.get_by_role("heading", name="2. AI result").count() == 0
    dr.read_first(app, "parasites-seen")
    shown = app.locator("section[aria-labelledby=ai]").inner_text()
    assert re.search(r"Parasites suspected|Uncertain|None found", shown)
    assert "red cells" in shown
    assert "Image 1: what the model marked" in shown
    assert re.search(r"All \d+ cells of image 1", shown)
    assert "Analysis of symptoms" in shown
    assert "rule TR-1" in shown
    page.evaluate("scrollTo(0, 0)")
    keep(page, "review")
    dr.conclude(app, "parasites-seen", "accept", CONCLUSION)
    report_id = dr.sign(app)
    assert f"examined and signed by {dr.AMINA}" in app.locator("main").inner_text()
    print_both(app, page, keep)
    assert watched.complaints == []
    return report_id


def start_and_wait(watched: Watched, app: Frame) -> None:
    """The progress page comes up to date by itself and hands over to the result: it is opened
    once, and the next document of the frame is the report."""
    before = len(watched.opened)
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    inside = [url for url in watched.opened[before:] if "/app/" in url]
    assert re.search(r"/tasks/[^/]+$", inside[0]), inside
    assert [re.sub(r".*/s/[^/]+/(\w+)/.*", r"\1", url) for url in inside] == ["tasks", "reports"]
    assert [url for url in watched.heard("fetch") if url.endswith("/steps")]


def print_both(app: Frame, page: Page, keep: Keep) -> None:
    """The print views of the report and of a prescription."""
    dr.press(app, "Print the report", then="Malaria assessment, AI-assisted")
    app.get_by_role("heading", name="Results").wait_for()
    paper = app.locator(".sheet").inner_text()
    for fact in ("ACHIENG, Mercy", "17-Mar-1994", "FINAL", "version 2", CONCLUSION, dr.AMINA):
        assert fact in paper
    assert paper.count("Add images of more fields") <= 1
    loaded = "all => all.filter(one => one.naturalWidth > 0).length"
    pictures = app.locator(".sheet img")
    assert eventually(lambda: pictures.evaluate_all(loaded), lambda n: n == 2) == 2
    keep(page, "report")
    app.get_by_role("link", name="Back to the report").click()
    dr.prescribe(app, "Artemether-lumefantrine")
    dr.press(app, "Print the prescription", then="Prescription")
    app.get_by_text("Signature:").wait_for()
    paper = app.locator(".sheet").inner_text()
    for fact in ("Artemether-lumefantrine", "4 tablets by mouth, 2 times a day for 3 days"):
        assert fact in paper
    assert app.get_by_role("button", name="Print now").is_visible()


def check_trail(service: Installation, report_id: str) -> None:
    """What the server holds afterwards."""
    report = trail.final_report(service, report_id, PATIENT, CONCLUSION)
    assert report["encounter"]["reference"] == "Encounter/ward-1-visit"
    # Two images were sent, a field and a cell; the AI drew the cells of both, and
    # where it reacted, since both show what looks like a parasite.
    drawn = [drawing_of(entry) for entry in report["media"]]
    assert drawn == [None, None, GALLERY, FRAMED, REACTION, GALLERY, REACTION]
    assert len(trail.ai_results(service, report)) == 2
    trail.provenances(service, report, AMINA)
    trail.audited(service, report, AMINA)
    medicine = service.search("MedicationRequest", patient=PATIENT)
    assert [each["requester"]["reference"] for each in medicine] == [AMINA]
