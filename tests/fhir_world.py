"""A FHIR server for tests: the real dispatcher over the real embedded store, in one process."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from fhir_server.rest.capability import ServerFacts
from fhir_server.rest.dispatch import FhirApplication, FhirParts
from fhir_server.rest.job_runner import JobRunner
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.rest.middleware import RequestIds
from fhir_server.search.expression import Query
from fhir_server.search.extract import Extractor
from fhir_server.search.live import LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.registry import Registry
from fhir_server.security.circumstances import Policy
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import Rulebook, prepare
from fhir_server.storage.port import ResourceStore
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.validation.validate import Validator

BASE = "http://fhir.example/fhir"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
JSON = {"content-type": "application/fhir+json"}
Json = dict[str, Any]

registry = cache(Registry)
validator = cache(Validator)


@cache
def extract() -> Any:
    """One extractor for all tests: compiling it takes longer than most of them."""
    return with_guard_terms(Extractor(registry(), BASE), BASE)


def _live(given: Any) -> LiveSearch:
    """The search parameters of R4 and none besides."""
    return LiveSearch(lambda _: given or extract(), registry())


class Clock:
    """Goes on by a millisecond with each look, so that every run tells the same times."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@dataclass
class Caller:
    """Who the server takes the caller for; None is open access."""

    principal: Principal | None = None

    async def __call__(self, headers: Mapping[str, str]) -> Principal | None:
        return self.principal


@dataclass
class World:
    """A running server: `http` calls it, `store` is what it writes to, `runner` runs the requests
    that are answered later, when it is told to."""

    http: httpx.AsyncClient
    store: ResourceStore
    caller: Caller
    clock: Clock
    runner: JobRunner

    async def post(self, url: str, body: Json | bytes, **headers: str) -> httpx.Response:
        return await self._send("POST", url, body, headers)

    async def put(self, url: str, body: Json | bytes, **headers: str) -> httpx.Response:
        return await self._send("PUT", url, body, headers)

    async def patch(
        self, url: str, body: Json | list[Json] | bytes, **headers: str
    ) -> httpx.Response:
        """A JSON Patch when `body` is a list, else FHIRPath Patch."""
        kind = {"content-type": "application/json-patch+json"} if isinstance(body, list) else {}
        return await self._send("PATCH", url, body, kind | _named(headers))

    async def get(self, url: str, **headers: str) -> httpx.Response:
        return await self.http.get(url, headers=_named(headers))

    async def delete(self, url: str, **headers: str) -> httpx.Response:
        return await self.http.delete(url, headers=_named(headers))

    async def create(self, body: Json) -> str:
        """The id of a resource that is created first."""
        response = await self.post(f"/{body['resourceType']}", body)
        assert response.status_code == 201, response.text
        made: str = response.json()["id"]
        return made

    async def count(self, type: str) -> int:
        """How many resources of a type are stored."""
        return await self.store.count(Query(type))

    async def journal(self) -> list[Json]:
        """The audit records so far, oldest first."""
        return [json.loads(each.entry) for each in await self.store.journal(10_000)]

    async def _send(
        self, method: str, url: str, body: Json | list[Json] | bytes, headers: dict[str, str]
    ) -> httpx.Response:
        sent = JSON | _named(headers)
        if isinstance(body, bytes):
            return await self.http.request(method, url, content=body, headers=sent)
        return await self.http.request(method, url, json=body, headers=sent)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").lower(): value for name, value in headers.items()}


async def _is_app(origin: str) -> bool:
    return origin == "https://app.example"


@asynccontextmanager
async def fhir_world(folder: Path, **changes: Any) -> AsyncIterator[World]:
    """A server with an empty store in `folder`; `changes` are fields of FhirParts, where a
    `store` is left open."""
    clock, caller = Clock(), Caller()
    given: ResourceStore | None = changes.pop("store", None)
    store = given or SqliteStore.open(folder / "fhir.sqlite", clock)
    numbers = itertools.count(1)
    allows, at_once = changes.pop("allows_update_create", True), changes.pop("deletes_at_once", 1)
    facts = ServerFacts(BASE, "0.1.0", START, allows, at_once)
    parts: dict[str, Any] = {
        "store": store,
        "search": changes.pop("search", None) or _live(changes.pop("extract", None)),
        "validator": validator(),
        "cursors": CursorSealer(b"k" * 32),
        "authenticate": caller,
        "rulebook": Rulebook(store, clock, changes.pop("policy", Policy())),
        "allows_origin": _is_app,
        "metrics": FhirMetrics(CollectorRegistry()),
        "clock": clock,
        "new_id": lambda: f"00000000-0000-4000-8000-{next(numbers):012}",
        "facts": facts,
        "max_body_bytes": 1_000_000,
        "is_open": True,
    }
    await prepare(store, is_indexed=True)
    fhir = FhirApplication(FhirParts(**(parts | changes)))
    runner = JobRunner(fhir.jobs, fhir.perform_job)
    app = RequestIds(fhir, lambda: "request-1")
    transport = httpx.ASGITransport(app=app, root_path="/fhir", client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        yield World(http, store, caller, clock, runner)
    if given is None:
        await store.close()


PATIENT: Json = {"resourceType": "Patient", "name": [{"family": "Chalmers"}]}


def observation(**changes: Any) -> Json:
    """A small valid Observation."""
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}} | changes


def issues(response: httpx.Response) -> list[Json]:
    """The issues of the OperationOutcome that a refusal must be."""
    body = response.json()
    assert body["resourceType"] == "OperationOutcome", body
    found: list[Json] = body["issue"]
    return found


def text_of(response: httpx.Response) -> str:
    """All diagnostics of a refusal."""
    return "; ".join(issue["diagnostics"] for issue in issues(response))
