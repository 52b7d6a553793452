"""Every page of the app in a real browser: accessible, reflowing, quiet in the console, framed by
a record system of another site, printable, and usable with scripts off."""

import base64
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from fhir_server.fhir.assessment import FINDINGS, part_type
from fhir_server.fhir.recalls import RECALL_REVIEW, RECALLED
from smart_app.notices import REPORT
from tests.app_browser import World
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
from tests.governance_records import governed, read_by

pytestmark = pytest.mark.browser

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RULES = {"runOnly": {"type": "tag", "values": LEVELS}}
# A refused form is answered with 422, which the browser reports as a failed load.
EXPECTED = re.compile(r"status of 4\d\d")


@dataclass
class Site:
    """The app on its own origin, and a page of another site that frames it."""

    world: World
    app: str
    ehr: str
    launch: str = field(init=False)

    def __post_init__(self) -> None:
        self.launch = f"{self.app}/app/launch?iss={self.world.records.fhir}&launch=x"


@pytest.fixture
def site() -> Iterator[Site]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    origin, ehr = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
    world = World(origin, ehr, 16_000_000)
    made = Site(world, origin, ehr)
    fill(world)

    async def frame(request: Request) -> HTMLResponse:
        text = f"<title>EHR</title><iframe src='{made.launch}' width=900 height=600></iframe>"
        return HTMLResponse(text)

    routes = [Route("/frame", frame), Mount("/", world.records.app)]
    application = Starlette(routes=[*world.app.routes, *routes])
    config = uvicorn.Config(application, "127.0.0.1", port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield made
    server.should_exit = True
    server.force_exit = True
    thread.join()


def fill(world: World) -> None:
    """A patient with an allergy, a report waiting for review, a running and a failed analysis."""
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "image/png"}
    allergy = {"patient": {"reference": "Patient/p1"}, "code": {"text": "Penicillin V"}}
    task = {
        "resourceType": "Task", "for": {"reference": "Patient/p1"},
        "code": {"coding": [{"code": "malaria-assessment"}]},
        "authoredOn": "2026-11-22T09:20:00Z",
    }  # fmt: skip
    for resource in (
        PATIENT,
        MEDIA,
        {**binary, "data": base64.b64encode(png(120, 90)).decode()},
        {"resourceType": "AllergyIntolerance", "id": "a1", **allergy},
        smear_result("parasites-suspected", "Parasites suspected"),
        symptom_result("urgent", "Urgent: see a clinician today"),
        *drawings(),
        drawn(report("smear", "symptoms")),
        {**task, "id": "running", "status": "in-progress"},
        {**task, "id": "failed", "status": "failed", "statusReason": {"text": "Image 1 refused"}},
    ):
        world.records.put(resource)


@dataclass
class Visitor:
    """A page that collects what the browser complains about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: Any) -> None:
        is_complaint = message.type in {"error", "warning"}
        if is_complaint and not EXPECTED.search(message.text):
            self.complaints.append(message.text)

    def inspect(self, where: str) -> None:
        """Hold the page that is open against the rules."""
        self.page.wait_for_load_state("load")
        found = Axe().run(self.page, options=RULES).response["violations"]
        said = [(v["id"], [n["html"][:150] for n in v["nodes"][:3]]) for v in found]
        assert said == [], f"{where}: {said}"
        size = self.page.viewport_size
        assert size is not None
        self.page.set_viewport_size({"width": 320, "height": 700})
        width = self.page.evaluate("document.documentElement.scrollWidth")
        self.page.set_viewport_size(size)
        assert width <= 320, f"{where}: {width} wide at 320"
        assert self.complaints == [], where


def visitor(context: BrowserContext) -> Visitor:
    return Visitor(context.new_page())


def submit(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_load_state("load")


def test_every_page_of_an_assessment_is_accessible(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = visitor(context)
    page = one.page
    page.goto(f"{site.app}/app/")
    one.inspect("home")
    page.goto(site.launch)
    chart = page.url
    one.inspect("chart")
    page.goto(f"{chart}intake")
    assert page.locator("#danger").is_hidden()
    page.check("[name=convulsions][value=yes]")
    assert page.locator("#danger").is_visible()
    page.fill("#weight", "700")
    page.fill("#heart_rate", "190")
    page.get_by_text("Draft saved").wait_for()
    submit(page, "Continue to smear images")
    one.inspect("intake with problems")
    assert page.evaluate("document.activeElement.id") == "problems"
    page.fill("#weight", "62")
    page.check("[name=confirm_heart_rate]")
    submit(page, "Continue to smear images")
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": png(200, 200)}
    page.set_input_files("#image", [picture])  # type: ignore[list-item]
    page.wait_for_selector("#previews canvas")
    one.inspect("images with a preview")
    submit(page, "Upload")
    one.inspect("images")
    submit(page, "Continue")
    one.inspect("check")
    page.check("#confirm_slides")
    submit(page, "Start the analysis")
    one.inspect("progress")
    for task in ("running", "failed"):
        page.goto(f"{chart}tasks/{task}")
        one.inspect(task)
    review_and_sign(one, chart)
    prescribe_and_print(one, chart, tmp_path)
    hear_of_a_recall(one, chart, site.world)
    page.goto(f"{chart}history")
    one.inspect("history")
    page.goto(f"{site.app}/app/callback?state=unknown")
    one.inspect("problem")
    context.close()


def review_and_sign(one: Visitor, chart: str) -> None:
    page = one.page
    page.goto(f"{chart}reports/r1")
    one.inspect("review before the own reading")
    page.check("[value=parasites-not-seen]")
    submit(page, "Lock my reading and show the AI result")
    one.inspect("review with the AI result")
    page.get_by_role("list", name="Cells of image 1 to look at first").focus()
    assert page.evaluate("document.activeElement.className") == "cells"
    page.get_by_text("Where the model reacted", exact=True).press("Enter")
    page.get_by_text("Where the model reacted; not proof").wait_for()
    one.inspect("review with the reactions")
    page.get_by_role("link", name="All 4 cells of image 1").click()
    one.inspect("cells of an image")
    assert page.get_by_role("img", name="Cell 4: Refused, not counted").is_visible()
    page.go_back()
    page.check("[name=finding][value=parasites-seen]")
    page.check("[name=agreement][value=accept]")
    submit(page, "Continue to signing")
    one.inspect("sign")
    page.check("[name=examined]")
    submit(page, "Sign")
    one.inspect("report")


def prescribe_and_print(one: Visitor, chart: str, folder: Path) -> None:
    page = one.page
    page.goto(f"{chart}reports/r1/prescription")
    page.fill("#medicine", "Penicillin G")
    submit(page, "Prescribe")
    one.inspect("prescription with problems")
    assert "recorded allergy to Penicillin V" in page.inner_text(".problems")
    submit(page, "No medicine prescribed")
    one.inspect("prescription")
    submit(page, "Print the prescription")
    one.inspect("print view of the prescription")
    page.goto(f"{chart}reports/r1")
    submit(page, "Print the report")
    one.inspect("print view of the report")
    paper = page.pdf(path=str(folder / "report.pdf"), format="A4")
    assert paper.startswith(b"%PDF")


def hear_of_a_recall(one: Visitor, chart: str, world: World) -> None:
    signed = world.records.resources["DiagnosticReport", "r1"]
    world.records.put({**signed, "meta": {**signed["meta"], "tag": [RECALLED]}})
    task = {
        "resourceType": "Task", "id": "again", "status": "requested", "intent": "order",
        "code": {"coding": [RECALL_REVIEW]}, "focus": {"reference": "DiagnosticReport/r1"},
        "for": {"reference": "Patient/p1"}, "owner": {"reference": "Practitioner/dr-amina"},
        "authoredOn": "2026-11-25T08:00:00Z", "reasonCode": {"text": "Mislabelled cells"},
    }  # fmt: skip
    world.records.put(task)
    page = one.page
    page.goto(chart)
    one.inspect("chart with a recalled result")
    page.get_by_role("link", name="Recalled").first.click()
    one.inspect("recalled report")
    assert "Mislabelled cells" in page.inner_text(".danger-panel")
    submit(page, "I have looked at this again")
    assert "Looked at again" in page.inner_text(".danger-panel")


def test_home_leads_to_patients_old_and_new(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = visitor(context)
    page = one.page
    page.goto(f"{site.app}/app/")
    submit(page, "Sign in")
    one.inspect("patients")
    page.fill("#name", "oka")
    submit(page, "Search")
    one.inspect("patients found")
    page.get_by_role("link", name="Enter a new patient").click()
    submit(page, "Save and go on to symptoms")
    one.inspect("new patient with problems")
    govern(one, site.world)
    context.close()


def govern(one: Visitor, world: World) -> None:
    """The pages about the AI systems, and the third reader's."""
    kind = {"coding": [{"system": FINDINGS, "code": REPORT}]}
    signed = {**report("smear"), "id": "r2", "status": "final", "code": kind}
    readings = (read_by("ada", "parasites-seen", of="r2"), read_by("ben", "cannot-tell", of="r2"))
    for resource in (*governed(), signed, *readings):
        world.records.put(resource)
    page = one.page
    page.get_by_role("link", name="AI systems").click()
    one.inspect("versions")
    page.locator("main h2 a").nth(1).click()
    one.inspect("a version")
    page.get_by_role("link", name="Drift and holds").click()
    one.inspect("drift")
    page.get_by_label("Why").fill("Stained anew")
    submit(page, "Release North clinic (Organization/north)")
    assert page.get_by_text("No AI reading is held.").is_visible()
    page.get_by_role("link", name="Third reader").click()
    one.inspect("cases that wait")
    submit(page, "Read it 1")
    one.inspect("a third reading")
    page.check("[value=parasites-seen]")
    submit(page, "Lock my reading")
    one.inspect("a decided case")
    assert page.get_by_text("The case is decided.").is_visible()


def test_a_result_arrives_without_reloading(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    one = visitor(context)
    page = one.page
    page.goto(site.launch)
    page.goto(f"{page.url}tasks/running")
    page.evaluate("window.stayed = true")
    task = site.world.records.resources["Task", "running"]
    output = {"type": part_type("report"), "valueReference": {"reference": "DiagnosticReport/r1"}}
    site.world.records.put({**task, "status": "completed", "output": [output]})
    page.wait_for_url("**/reports/r1", timeout=5000)
    assert one.complaints == []
    context.close()


def test_the_app_works_in_a_frame_of_another_site(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    one = visitor(context)
    one.page.goto(f"{site.ehr}/frame")
    app = one.page.frame_locator("iframe")
    app.get_by_text("OKAFOR, Chidi").wait_for()
    app.get_by_role("link", name="New malaria assessment").click()
    app.locator("[name=fever][value=yes]").check()
    app.get_by_role("button", name="Continue to smear images").click()
    app.get_by_role("heading", name="Smear images").wait_for()
    assert [c for c in one.complaints if "favicon" not in c] == []
    context.close()


def test_the_whole_way_works_with_scripts_off(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.launch)
    chart = page.url
    page.goto(f"{chart}intake")
    page.check("[name=fever][value=yes]")
    submit(page, "Continue to smear images")
    submit(page, "Continue without an image")
    submit(page, "Start the analysis")
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    page.goto(f"{chart}reports/r1")
    page.check("[value=parasites-seen]")
    submit(page, "Lock my reading and show the AI result")
    page.check("[name=finding][value=parasites-seen]")
    page.check("[name=agreement][value=accept]")
    submit(page, "Continue to signing")
    page.check("[name=examined]")
    submit(page, "Sign")
    assert "FINAL" in page.inner_text("main")
    context.close()
