"""The authorization server's pages in a real browser: sign-in with a second step, consent, one's
own account, administration; each accessible, reflowing, and without a script to depend on."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fhir_server.findings import Finding, Section, State
from fhir_server.security.authorization.app import authorization_server, create_authorization
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.providers import Provider, RoleRule
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.totp import code_of, step_of
from fhir_server.security.authorization.users import User, hash_password, register_user
from fhir_server.security.keys import open_key_ring
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.storage.port import Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import utc_now
from tests.smart_world import PASSWORD, VERIFIER, challenge_of, charts, ec_key

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
}
# Refused forms and pages are answered with 4xx, which the browser reports as a failed load.
EXPECTED = re.compile(r"status of 4\d\d")
CLINIC = Provider(
    "clinic", "Clinic", "https://id.test", "x", (RoleRule("groups", "doctors", "doctor"),)
)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """The authorization server at an address of its own; admins need a second step."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = f"http://localhost:{port}"
    servers: list[uvicorn.Server] = []

    async def run() -> None:
        store = SqliteStore.open(tmp_path / "store.sqlite", utc_now)
        await store.transaction(lambda tx: _fill(tx, address))
        application = create_authorization(
            authorization_server(
                store,
                await open_key_ring(store),
                MemoryCounters(utc_now),
                charts(store, utc_now),
                origin=address,
                lifetimes=Lifetimes(),
                rules=SignInRules(second_factor_roles=frozenset({"admin"}), providers=(CLINIC,)),
                status=_status,
            )
        )

        async def back(request: Request) -> PlainTextResponse:
            return PlainTextResponse("back at the app")

        routes = [Route("/callback", back), Mount("/auth", application)]
        config = uvicorn.Config(
            Starlette(routes=routes), "127.0.0.1", port, log_level="warning", lifespan="off"
        )
        servers.append(uvicorn.Server(config))
        await servers[0].serve()
        await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    while thread.is_alive() and not (servers and servers[0].started):
        time.sleep(0.02)
    assert thread.is_alive(), "the server did not start"
    yield address
    servers[0].should_exit = servers[0].force_exit = True
    thread.join()


async def _status() -> list[Section]:
    """Something in each state, and words that are long."""
    states: tuple[State, ...] = ("ok", "warning", "failed", "unknown")
    long = "worker on a-host-whose-name-goes-on-and-on-and-on.clinic.example.org:4711"
    return [
        Section(f"Part {number}", (Finding(long, state, f"{long} tells", "See a page"),))
        for number, state in enumerate(states)
    ]


async def _fill(tx: Transaction, address: str) -> None:
    hashed = hash_password(PASSWORD)
    await register_user(tx, User("boss", "The Boss", frozenset({"admin", "doctor"})), hashed)
    await register_user(tx, User("nurse", "Nurse Joy", frozenset({"nurse"})), hashed)
    scopes = "openid fhirUser offline_access user/Patient.rs user/Observation.rs?code=1234-5"
    keys = {"keys": [ec_key("charts").as_dict(private=False)]}
    app = Client("charts", "Charts", scopes, redirect_uris=(f"{address}/callback",), jwks=keys)
    await register_client(tx, app)
    await register_client(tx, replace(app, id="asker", name="Asker", status="pending"))


@dataclass
class Visitor:
    """A page with what the browser complained about."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning"} and not EXPECTED.search(message.text):
            self.complaints.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.origin}/auth/{path}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_load_state("load")

    def inspect(self, heading: str) -> None:
        """Hold the page that is open, known by its heading, against the rules."""
        assert heading in self.page.inner_text("h1"), self.page.inner_text("body")
        assert self.page.locator("script").count() == 0
        found = Axe().run(self.page, options=RULES).response["violations"]
        said = [(v["id"], [n["html"][:150] for n in v["nodes"][:3]]) for v in found]
        assert said == [], f"{heading}: {said}"
        self.page.set_viewport_size({"width": 320, "height": 700})
        width = self.page.evaluate("document.documentElement.scrollWidth")
        self.page.set_viewport_size({"width": 1280, "height": 900})
        assert width <= 320, f"{heading}: {width} wide at 320"
        assert self.complaints == [], heading


@pytest.fixture
def one(origin: str, browser: Browser) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Visitor(context.new_page(), origin)
    context.close()


def sign_in(one: Visitor, user: str) -> None:
    one.page.fill("#username", user)
    one.page.fill("#password", PASSWORD)
    one.press("Sign in")


def code(page: Page) -> str:
    """What an authenticator shows for the key on the page."""
    (key,) = re.findall(r"Key:\s*([A-Z2-7 ]{30,})", page.inner_text("main"))
    return code_of(key.replace(" ", ""), step_of(utc_now().timestamp()))


def test_an_admin_enrols_and_looks_after_people_and_apps(one: Visitor) -> None:
    page = one.page
    one.go("admin/users")
    one.inspect("Sign in")
    assert page.get_by_role("link", name="Sign in with Clinic").is_visible()
    page.fill("#username", "boss")
    page.fill("#password", "wrong")
    one.press("Sign in")
    one.inspect("Sign in")
    sign_in(one, "boss")
    one.inspect("Set up a second step")
    page.fill("#code", "000000")
    one.press("Continue")
    one.inspect("Set up a second step")
    page.fill("#code", code(page))
    one.press("Continue")
    one.inspect("Keep these recovery codes")
    recovery = page.locator(".codes code").first.inner_text()
    page.get_by_role("link", name="I have kept them").click()
    one.inspect("People who may sign in")
    page.get_by_role("link", name="New user").click()
    one.inspect("New user")
    page.fill("#username", "nurse")
    page.fill("#name", "Another")
    page.check("#role-nurse")
    page.fill("#password", PASSWORD)
    one.press("Create the user")
    one.inspect("New user")
    page.fill("#username", "new.nurse")
    page.fill("#password", PASSWORD)
    one.press("Create the user")
    one.inspect("Another")
    one.press("Disable the user, and end everything open")
    assert "can't sign in" in page.inner_text(".done")
    one.go("admin/sessions")
    one.inspect("Open sessions")
    page.get_by_role("link", name="Status").click()
    one.inspect("Status of the server")
    assert page.locator(".state.failed").first.inner_text() == "✗ does not work"
    one.go("admin/clients")
    one.inspect("Apps waiting for approval")
    one.press("Approve")
    one.inspect("Apps waiting for approval")
    one.go("logout")
    one.inspect("Signed in")
    one.press("Sign out")
    one.inspect("You are signed out")
    one.go("login?page=account")
    sign_in(one, "boss")
    one.inspect("One more step")
    page.fill("#code", recovery)
    one.press("Continue")
    one.inspect("Your account")


def test_a_nurse_allows_an_app_in_part_and_takes_it_back(one: Visitor) -> None:
    page = one.page
    asked = {
        "response_type": "code", "client_id": "charts", "state": "s",
        "redirect_uri": f"{one.origin}/callback",
        "scope": "openid offline_access user/Patient.rs user/Observation.rs?code=1234-5",
        "aud": f"{one.origin}/fhir", "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }  # fmt: skip
    query = "&".join(f"{name}={value.replace('?', '%3F')}" for name, value in asked.items())
    one.go(f"authorize?{query}")
    sign_in(one, "nurse")
    one.inspect("Allow Charts to do this?")
    page.get_by_label("Read names, birth dates and addresses").uncheck()
    one.press("Allow")
    assert page.inner_text("body") == "back at the app"
    one.go(f"authorize?{query}")
    assert page.inner_text("body") == "back at the app"
    one.go("account")
    one.inspect("Your account")
    listed = page.inner_text(".scopes")
    assert "Exactly this" in listed
    assert "birth dates" not in listed
    page.get_by_role("button", name="Take back what you allowed Charts").click()
    one.inspect("Your account")
    one.go(f"authorize?{query}")
    one.inspect("Allow Charts to do this?")
    one.go("account/password")
    page.fill("#current", "wrong")
    page.fill("#password", "another long password")
    page.fill("#again", "another long password")
    one.press("Change the password")
    one.inspect("Change your password")
    one.go("account/second-factor")
    one.inspect("Second step when you sign in")
    page.fill("#current", PASSWORD)
    one.press("Set it up")
    one.inspect("Second step when you sign in")
    page.fill("#code", code(page))
    one.press("Turn it on")
    one.inspect("Keep these recovery codes")
    page.get_by_role("link", name="I have kept them").click()
    one.inspect("Your account")
    one.go("account/second-factor")
    one.inspect("Second step when you sign in")
    one.go("admin/users")
    one.inspect("This page is for administrators")
