"""What a clinician does in the browser, one function a step; each ends when the next page is
there. A step takes the frame that shows the app: the one inside the EHR, or a window's own."""

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import ConsoleMessage, Frame, Page, Request

from deploy.demo.identities import PASSWORD
from tests.availability import ROOT
from tests.journeys.running import Installation

IMAGES = ROOT / "deploy/demo/images"
AMINA = "Dr Amina Njoroge"
FEVERISH = {"temperature": "39.4", "heart_rate": "116", "respiratory_rate": "24", "weight": "58"}
NEW_PATIENT = {
    "family": "Wafula",
    "given": "Neema",
    "age": "27",
    "weight": "61.5",
    "height": "164",
}
FEVER = {"fever": "yes", "chills": "yes", "headache": "yes", "convulsions": "no"}
# Refused forms and pages are answered with 4xx, which chromium reports as failed loads.
_REFUSED = re.compile(r"the server responded with a status of 4\d\d")


@dataclass
class Watched:
    """A page with all that the browser complained about and each document that its frames
    opened; `is_quiet` to be asked at the end."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(60_000)
        self.page.set_default_navigation_timeout(60_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("framenavigated", lambda frame: self.opened.append(frame.url))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _REFUSED.search(message.text):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        self.asked.append((request.resource_type, request.url))

    def heard(self, kind: str) -> list[str]:
        """The addresses that were asked for as this kind of resource."""
        return [url for each, url in self.asked if each == kind]


def sign_in(page: Page, user: str, password: str = PASSWORD) -> None:
    """The authorization server's own page."""
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def enter_ehr(page: Page, service: Installation, user: str) -> None:
    """From the EHR's start to its list of patients."""
    page.goto(service.ehr)
    page.get_by_role("link", name="Sign in as a clinician").click()
    sign_in(page, user)
    page.get_by_role("heading", name="Patients").wait_for()
    page.wait_for_load_state("load")


def enter_home(page: Page, service: Installation, user: str) -> Frame:
    """From the app's Home page to its search for patients."""
    page.goto(f"{service.origin}/app/")
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, user)
    page.get_by_role("heading", name="Find a patient").wait_for()
    page.wait_for_load_state("load")
    return page.main_frame


def launch(page: Page, patient: str) -> Frame:
    """From the list through the patient's chart, in its current visit, to the app in its frame."""
    page.get_by_role("link", name=patient).first.click()
    page.get_by_role("button", name="Launch MedSAGE").click()
    return app_frame(page)


def app_frame(page: Page, number: int = 1) -> Frame:
    """The frame with this number, once the app's chart is shown in it."""
    heading = page.frame_locator(f"iframe[name=medsage-{number}]").get_by_role(
        "heading", name="Malaria assessments"
    )
    heading.wait_for()
    found = page.frame(name=f"medsage-{number}")
    assert found is not None
    found.wait_for_load_state("load")
    return found


def banner(app: Frame) -> str:
    """What the patient banner says."""
    return app.locator(".banner").inner_text()


def press(app: Frame, name: str, *, then: str) -> None:
    """A button, and the heading of the page that follows."""
    app.get_by_role("button", name=name, exact=True).click()
    arrive(app, then)


def arrive(app: Frame, heading: str) -> None:
    """Wait for the page of this heading, and until all of it is loaded: what is pressed before may
    move away under the press, or not yet be listened to."""
    app.get_by_role("heading", name=heading, exact=True).wait_for()
    app.wait_for_load_state("load")


def begin(app: Frame) -> None:
    """From the chart to the intake."""
    app.get_by_role("link", name="New malaria assessment").click()
    arrive(app, "Symptoms and signs")


def answer(app: Frame, vitals: dict[str, str], symptoms: dict[str, str], words: str = "") -> None:
    """The intake, filled in; ends on the page for images."""
    for name, answer in symptoms.items():
        app.locator(f"[name={name}][value={answer}]").check()
    for name, value in vitals.items():
        app.locator(f"#{name}").fill(value)
    if words:
        app.locator("#symptoms_text").fill(words)
    app.get_by_role("button", name="Continue to smear images").click()
    app.get_by_role("heading", name="Smear images").wait_for()
    app.wait_for_load_state("load")


def upload(app: Frame, *names: str) -> None:
    """Images of the demonstration, chosen and taken; ends on the page to check."""
    app.locator("#image").set_input_files([IMAGES / name for name in names])
    app.get_by_role("button", name="Upload and continue").wait_for()
    press(app, "Upload and continue", then="Check and start")


def start(app: Frame) -> None:
    """From the page to check to the analysis."""
    if app.locator("#confirm_slides").count():
        app.locator("#confirm_slides").check()
    app.get_by_role("button", name="Start the analysis").click()


def read_first(app: Frame, reading: str) -> None:
    """One's own reading, locked; ends with the AI's result beside it."""
    app.locator(f"[name=reading][value={reading}]").check()
    press(app, "Lock my reading and show the AI result", then="2. AI result")


def conclude(app: Frame, finding: str, agreement: str, conclusion: str | None = None) -> None:
    """Finding, judgement of the AI and the conclusion; ends on the page to sign."""
    app.locator(f"[name=finding][value={finding}]").check()
    app.locator(f"[name=agreement][value={agreement}]").check()
    app.locator("#acknowledged").check()
    if conclusion is not None:
        app.locator("#conclusion").fill(conclusion)
    press(app, "Continue to signing", then="Sign the report")


def sign(app: Frame) -> str:
    """The signature; returns the id of the signed report."""
    app.locator("[name=examined]").check()
    app.get_by_role("button", name="Sign", exact=True).click()
    app.get_by_role("heading", name="Conclusion").wait_for()
    app.locator(".tag.signed").get_by_text("FINAL").wait_for()
    return app.url.rstrip("/").rpartition("/")[2]


def prescribe(app: Frame, medicine: str) -> None:
    """From the report to a prescription of one medicine."""
    app.get_by_role("link", name="Prescription").click()
    arrive(app, "Prescription")
    given: dict[str, Any] = {
        "medicine": medicine,
        "form": "tablet 20 mg/120 mg",
        "dose": "4",
        "dose_unit": "tablets",
        "days": "3",
        "instructions": "Take with food",
    }
    for name, value in given.items():
        app.locator(f"#{name}").fill(value)
    app.locator("#frequency").select_option("2")
    app.locator("#route").select_option("by mouth")
    app.get_by_role("button", name="Prescribe", exact=True).click()
    app.get_by_role("button", name="Print the prescription").wait_for()
