"""The FHIR base over one store, asked in this process; answers put so that two can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from prometheus_client import CollectorRegistry

from bench.guard.requests import Request
from fhir_server.rest.capability import ServerFacts
from fhir_server.rest.dispatch import FhirApplication, FhirParts
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.search.extract import Extractor
from fhir_server.search.live import LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.registry import Registry
from fhir_server.security.circumstances import Policy
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import ResourceStore
from fhir_server.system import new_id
from fhir_server.validation.validate import Validator

BASE = "http://ward.example/fhir"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
MOST_PAGES = 40
_SAFE = "/?=&:,|$_-."
_UNSAID = frozenset({"timestamp", "link"})


@dataclass(frozen=True)
class Meaning:
    """Search parameters and validation, made once: they take longer than most of a proof."""

    registry: Registry
    extract: Any
    validator: Validator


def meaning() -> Meaning:
    """R4's own."""
    registry = Registry()
    return Meaning(registry, with_guard_terms(Extractor(registry, BASE), BASE), Validator())


class Server:
    """A FHIR base; `caller` is whom it takes everybody for, None for one who sees all."""

    def __init__(self, store: ResourceStore, known: Meaning, policy: Policy) -> None:
        self.caller: Principal | None = None
        self._app = FhirApplication(
            FhirParts(
                store=store,
                search=LiveSearch(lambda _: known.extract, known.registry),
                validator=known.validator,
                cursors=CursorSealer(b"k" * 32),
                authenticate=self._authenticate,
                rulebook=Rulebook(store, _now, policy),
                allows_origin=_nowhere,
                metrics=FhirMetrics(CollectorRegistry()),
                clock=_now,
                new_id=new_id,
                facts=ServerFacts(BASE, "0", NOW, True, 1),
                max_body_bytes=1_000_000,
                is_open=True,
            )
        )

    async def answer(self, request: Request) -> Any:
        """Status, ETag and content of the answer; of a search all pages, one after the other."""
        found = await self._one(request)
        body = found[2]
        for _ in range(MOST_PAGES):
            url = _next(body)
            if url is None:
                break
            page = await self._one(Request(request.route, request.type, url))
            if page[0] != 200:
                return page
            body = page[2]
            found[2].setdefault("entry", []).extend(body.get("entry", []))
            found[3].append(len(body.get("entry", [])))
        return [found[0], found[1], _said(found[2]), found[3]]

    async def _one(self, request: Request) -> Any:
        path, _, query = request.url.removeprefix(f"{BASE}/").partition("?")
        sent: dict[str, Any] = {"body": b""}
        is_first = True

        async def receive() -> dict[str, Any]:
            nonlocal is_first
            body, is_first = (request.body, False) if is_first else (b"", False)
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                sent["headers"] = {name.lower(): value for name, value in message["headers"]}
            else:
                sent["body"] += message.get("body", b"")

        await self._app(_scope(request, path, query), receive, send)
        body = orjson.loads(sent["body"]) if sent["body"] else {}
        count = len(body.get("entry", []))
        return [sent["status"], sent["headers"].get(b"etag", b"").decode(), body, [count]]

    async def _authenticate(self, _: Mapping[str, str]) -> Principal | None:
        return self.caller


def _scope(request: Request, path: str, query: str) -> dict[str, Any]:
    kind = request.kind.encode()
    return {
        "type": "http",
        "method": request.method,
        "path": f"/fhir/{path}",
        "root_path": "/fhir",
        "raw_path": f"/fhir/{path}".encode(),
        "query_string": quote(query, safe=_SAFE + "%").encode(),
        "headers": [(b"accept", b"application/fhir+json"), (b"content-type", kind)],
        "client": ("192.0.2.7", 1),
    }


def _next(body: Mapping[str, Any]) -> str | None:
    for each in body.get("link", []) if body.get("resourceType") == "Bundle" else []:
        if each["relation"] == "next":
            return str(each["url"])
    return None


def _said(body: Any) -> Any:
    """The content without what is another each time: a Bundle's id, time and links."""
    if isinstance(body, list):
        return [_said(each) for each in body]
    if not isinstance(body, dict):
        return body
    is_bundle = body.get("resourceType") == "Bundle"
    left = _UNSAID | {"id"} if is_bundle else frozenset()
    return {name: _said(value) for name, value in body.items() if name not in left}


async def _nowhere(_: str) -> bool:
    return False


def _now() -> datetime:
    return NOW
