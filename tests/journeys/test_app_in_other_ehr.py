"""The app in the frame of somebody else's record system, in a real browser: what it did not give is
told, a refused report is sent after all, and can be downloaded."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from models.malaria.reading import SmearAnswer
from tests.app_browser import Browser as SmallBrowser
from tests.ehr_world import EhrWorld, ehr_world, signed_report
from tests.journeys.test_app_pages import submit, visitor
from tests.smear_predictions import ScriptedSmearModel, field_of

pytestmark = pytest.mark.browser


@dataclass
class Site:
    """MedSAGE on one site, the record system on another; `world` lives in the server's thread."""

    world: EhrWorld
    loop: asyncio.AbstractEventLoop
    home: str
    ehr: str

    @property
    def launch(self) -> str:
        return f"{self.home}/app/launch?iss={self.ehr}/fhir&launch=x"

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the server's thread."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(60)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    opened: list[Site] = []
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        home, ehr = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
        async with ehr_world(tmp_path, origin=home, ehr_origin=ehr) as world:
            made = Site(world, asyncio.get_running_loop(), home, ehr)
            application = by_host(made)
            config = uvicorn.Config(application, "127.0.0.1", port, log_level="warning")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.02)
            opened.append(made)
            ready.set()
            await over.wait()
            server.should_exit = server.force_exit = True
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield opened[0]
    opened[0].loop.call_soon_threadsafe(over.set)
    thread.join()


def by_host(site: Site) -> Any:
    """Both servers on one port: a name and a number are two sites to a browser."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = dict(scope["headers"])[b"host"]
        if not host.startswith(b"127.0.0.1"):
            await site.world.home.application(scope, receive, send)
        elif scope["path"] == "/frame":
            frame = f"<title>EHR</title><iframe src='{site.launch}' width=900 height=700></iframe>"
            await HTMLResponse(frame)(scope, receive, send)
        else:
            await site.world.ehr.app(scope, receive, send)

    return application


def refuse_reports(world: EhrWorld) -> None:
    usual = world.ehr.search_or_create

    async def refusing(request: Request) -> Response:
        if request.method == "POST" and request.path_params["type"] == "DiagnosticReport":
            issue = {"severity": "error", "code": "processing", "diagnostics": "not from outside"}
            return JSONResponse({"resourceType": "OperationOutcome", "issue": [issue]}, 422)
        return await usual(request)

    world.ehr.replace_endpoint(refusing)


async def sign_one(site: Site) -> None:
    """A report of this chart, signed by way of the pages and refused by the record system."""
    world = site.world
    world.permit("Observation", "DiagnosticReport", "DocumentReference")
    refuse_reports(world)
    small = SmallBrowser(world.home.application, origin=site.home)
    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    await signed_report(world, small, await world.launch(small), smear)


def test_a_chart_of_another_record_system_in_its_frame_and_its_report_on_the_way_back(
    site: Site, browser: Browser
) -> None:
    site.run(sign_one(site))
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    framed: Page = context.new_page()
    framed.goto(f"{site.ehr}/frame")
    inside = framed.frame_locator("iframe")
    inside.get_by_text("ADEYEMI, Bola").first.wait_for()
    framed.close()

    one = visitor(context)
    page = one.page
    site.world.ehr.forbidden = {"AllergyIntolerance"}
    page.goto(site.launch)
    page.get_by_text("Not permitted to see allergies").wait_for()
    page.get_by_role("heading", name="What this record system did not give").wait_for()
    one.inspect("chart with gaps")

    page.get_by_role("link", name="Malaria assessment, AI-assisted").click()
    page.get_by_text("refused because: DiagnosticReport: 422 not from outside").wait_for()
    one.inspect("report that was refused")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download as PDF").click()
    assert started.value.suggested_filename == "malaria-assessment.pdf"
    assert Path(started.value.path()).read_bytes().startswith(b"%PDF-")

    site.world.ehr.replace_endpoint(site.world.ehr.search_or_create)
    submit(page, "Send now")
    page.reload()
    page.get_by_text("Sent to General Hospital.").wait_for()
    one.inspect("report that was sent")
    assert len(site.world.ehr.all("DiagnosticReport")) == 1

    site.world.ehr.token_extra = {}
    page.goto(site.launch)
    page.get_by_text("What still works:").wait_for()
    one.inspect("no patient")
    context.close()
