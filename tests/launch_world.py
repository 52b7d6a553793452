"""The world of smart_world.py with a ward of patients to choose from and the FHIR server itself,
guarded by the tokens that the authorization server gives."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from starlette.routing import Mount

from fhir_server.rest.capability import ServerFacts
from fhir_server.rest.dispatch import FhirApplication, FhirParts
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.search.page import CursorSealer
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.server import is_registered_origin
from fhir_server.security.authorization.users import User, register_user
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import prepare
from fhir_server.storage.port import ResourceStore
from tests.fhir_world import validator
from tests.smart_world import (
    FHIR,
    VERIFIER,
    SmartWorld,
    answer_of,
    hidden_fields,
    password_hash,
    put,
    smart_world,
)

WIDE = Client(
    "wide",
    "An app that may ask for anything",
    "openid fhirUser launch launch/patient launch/encounter online_access offline_access "
    "patient/*.cruds user/*.cruds",
    redirect_uris=("https://wide.test/callback", "https://wide.test/second"),
    is_preapproved=True,
)
VITAL = "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"
LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
AMA = {
    "resourceType": "Patient",
    "id": "ama",
    "identifier": [{"use": "usual", "system": "https://his.test/mrn", "value": "MRN-0042"}],
    "name": [{"use": "official", "family": "Osei", "given": ["Ama", "Serwaa"]}],
    "gender": "female",
    "birthDate": "1990-02-03",
}
NAMESAKE = {
    "resourceType": "Patient",
    "id": "ama-2",
    "identifier": [{"system": "https://his.test/mrn", "value": "MRN-0043"}],
    "name": [{"family": "OSEI", "given": ["ama", "serwaa"]}],
    "gender": "female",
    "birthDate": "1962-11-30",
    "deceasedBoolean": True,
}
NAMELESS = {"resourceType": "Patient", "id": "unknown", "active": False}
VISITS = (
    {
        "resourceType": "Encounter",
        "id": "visit-1",
        "status": "finished",
        "class": {"code": "AMB", "display": "ambulatory"},
        "subject": {"reference": "Patient/ama"},
        "period": {"start": "2026-01-15", "end": "2026-01-15"},
    },
    {
        "resourceType": "Encounter",
        "id": "visit-2",
        "status": "in-progress",
        "class": {"code": "EMER", "display": "emergency"},
        "subject": {"reference": "Patient/ama"},
        "period": {"start": "2026-02-27T08:00:00Z"},
    },
)


def observation(id: str, patient: str, category: str) -> dict[str, Any]:
    """An observation of a patient in a category (`system|code`)."""
    system, _, code = category.partition("|")
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": system, "code": code}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "encounter": {"reference": "Encounter/visit-1"},
        "valueString": "x",
    }


def ward() -> list[dict[str, Any]]:
    """Patients, two visits of one, observations and a report."""
    many = [
        {
            "resourceType": "Patient",
            "id": f"many-{number:02}",
            "name": [{"family": "Ward", "given": [f"Number {number:02}"]}],
            "birthDate": f"{1950 + number}-06-01",
        }
        for number in range(25)
    ]
    report = {
        "resourceType": "DiagnosticReport",
        "id": "report-1",
        "status": "preliminary",
        "code": {"text": "Malaria smear"},
        "subject": {"reference": "Patient/ama"},
    }
    other = {**report, "id": "report-2", "subject": {"reference": "Patient/ama-2"}}
    seen = [
        observation("vital-1", "ama", VITAL),
        observation("lab-1", "ama", LAB),
        observation("vital-2", "ama-2", VITAL),
    ]
    people = [{"resourceType": "Practitioner", "id": "dr-amina", "name": [{"family": "Njoroge"}]}]
    return [AMA, NAMESAKE, NAMELESS, *VISITS, *many, report, other, *seen, *people]


@asynccontextmanager
async def launch_world(
    folder: Path, store: ResourceStore | None = None
) -> AsyncIterator[SmartWorld]:
    """Open a world in the folder, or on an empty store; besides the doctors there are an
    administrator and a nurse."""
    async with smart_world(folder, store) as world:

        async def fill(tx: Any) -> None:
            for resource in ward():
                await put(tx, resource)
            for name, role in (("admin", "admin"), ("nurse", "nurse")):
                user = User(f"{name}.esi", f"{name.title()} Esi", frozenset({role}))
                await register_user(tx, user, password_hash())

            await register_client(tx, WIDE)

        await world.store.transaction(fill)
        await prepare(world.store, is_indexed=True)
        world.application.routes.append(Mount("/fhir", _fhir(world)))
        yield world


def _fhir(world: SmartWorld) -> FhirApplication:
    async def authenticate(headers: Mapping[str, str]) -> Principal | None:
        return await world.server.verifier.verify(headers.get("authorization"))

    parts = FhirParts(
        store=world.store,
        search=world.server.charts.search,
        validator=validator(),
        cursors=CursorSealer(b"k" * 32),
        authenticate=authenticate,
        rulebook=world.server.charts.rulebook,
        allows_origin=partial(is_registered_origin, world.store),
        metrics=FhirMetrics(CollectorRegistry()),
        clock=world.clock,
        new_id=world.server.new_id,
        facts=ServerFacts(FHIR, "0.1.0", world.clock(), True, 1),
        max_body_bytes=1_000_000,
    )
    return FhirApplication(parts)


async def granted(
    world: SmartWorld, scope: str, *, user: str = "dr.amina", patient: str = "ama"
) -> dict[str, Any]:
    """The token response of the wide app for this user, who chooses this patient if asked."""
    asked = world.asking() | {"client_id": WIDE.id, "redirect_uri": WIDE.redirect_uris[0]}
    async with world.new_browser() as browser:
        picker = Picker(world, browser)
        first = await browser.get("/auth/authorize", params=asked | {"scope": scope})
        url = "/auth/" + first.headers["location"]
        answer = await world.sign_in(user, browser, url)
        if answer.headers["location"].startswith("patient?"):
            answer = await picker.choose(await picker.follow(answer), patient)
        if answer.headers["location"].startswith("encounter?"):
            answer = await picker.visit(await picker.follow(answer), "visit-1")
    form = {
        "grant_type": "authorization_code",
        "code": answer_of(answer)["code"],
        "redirect_uri": WIDE.redirect_uris[0],
        "code_verifier": VERIFIER,
        "client_id": WIDE.id,
    }
    tokens = await world.browser.post("/auth/token", data=form)
    assert tokens.status_code == 200, tokens.text
    return dict(tokens.json())


@dataclass
class Caller:
    """FHIR requests with one access token; `call` answers the status and the JSON."""

    world: SmartWorld
    token: str

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request; `path` is below the FHIR base."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/fhir+json"
        answer = await self.world.browser.request(
            method, f"/fhir/{path}", json=body, headers=headers
        )
        return answer.status_code, answer.json() if answer.content else None

    async def status(self, method: str, path: str, body: Any = None) -> int:
        """The status alone."""
        return (await self.call(method, path, body))[0]

    async def found(self, search: str) -> set[str]:
        """The ids that a search finds."""
        status, bundle = await self.call("GET", search)
        assert status == 200, bundle
        return {entry["resource"]["id"] for entry in bundle.get("entry", ())}


async def caller(world: SmartWorld, scope: str, **who: str) -> Caller:
    """A caller with these scopes."""
    return Caller(world, (await granted(world, scope, **who))["access_token"])


class Picker:
    """One browser on the pages where a patient and a visit are chosen."""

    def __init__(self, world: SmartWorld, browser: httpx.AsyncClient | None = None) -> None:
        self.world = world
        self.browser = browser or world.browser

    async def open(self, client_id: str = "app", **changes: str | None) -> httpx.Response:
        """The page that an authorization request leads to, signed in first if need be."""
        answer = await self.world.authorize(client_id, self.browser, **changes)
        if answer.headers["location"].startswith("login"):
            url = "/auth/" + answer.headers["location"]
            answer = await self.world.sign_in(browser=self.browser, url=url)
        return await self.follow(answer)

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """The page of this server that an answer redirects to."""
        location = answer.headers["location"]
        assert re.match(r"(patient|encounter|consent|login)\?", location), location
        return await self.browser.get(f"/auth/{location}")

    async def send(
        self, page: httpx.Response, action: str, path: str = "patient", **fields: str
    ) -> httpx.Response:
        """Press a button of a page with these fields filled in."""
        hidden = {name: unescape(value) for name, value in hidden_fields(page).items()}
        return await self.browser.post(f"/auth/{path}", data={**hidden, "action": action, **fields})

    async def search(self, page: httpx.Response, **typed: str) -> httpx.Response:
        """Search for patients."""
        for name in ("name", "birthdate", "identifier"):
            typed.setdefault(name, "")
        return await self.send(page, "search", **typed)

    async def choose(self, page: httpx.Response, patient: str) -> httpx.Response:
        """Choose a patient."""
        return await self.send(page, "choose", patient=patient)

    async def visit(self, page: httpx.Response, encounter: str) -> httpx.Response:
        """Choose a visit."""
        return await self.send(page, "choose", "encounter", encounter=encounter)


def listed(page: httpx.Response) -> list[str]:
    """The ids that can be chosen on a page."""
    return re.findall(r'<input type="radio" name="\w+" value="([^"]+)"', page.text)
