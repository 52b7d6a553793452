"""Asks every route of a running service as a scanner does, and keeps the answers."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
from starlette.routing import Route

from deploy.demo import doctor
from deploy.demo.identities import PASSWORD
from deploy.front import Front
from fhir_server.rest.routes import ROUTES
from tests.header_checks import FOREIGN, HOSTILE, Seen

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE")
_FIELD = re.compile(r"\{(\w+)(?::path)?\}")
_PLAIN = {"type": "Patient", "focus": "Patient", "operation": "validate", "version": "1"}
_SENT = {"Origin": FOREIGN, "User-Agent": HOSTILE, "Referer": f"{FOREIGN}/{HOSTILE}"}
_BODIES = {
    "application/x-www-form-urlencoded": b"a=%22%3E%3Czap7%3E",
    "application/fhir+json": b'{"resourceType":"<zap7>"}',
}


class Scan:
    """What one service answered."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.seen: list[Seen] = []

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to one request, kept."""
        answer = await self.http.request(method, path, **request)
        self.keep(answer)
        return answer

    def keep(self, answer: httpx.Response) -> None:
        """Look at this answer too."""
        request = answer.request
        self.seen.append(Seen(request.method, request.url.raw_path.decode(), answer))

    async def walk(self, front: Front) -> None:
        """Every path with every method, plain and with what must not come back."""
        for shape in paths(front):
            for method in METHODS:
                await self.ask(method, filled(shape, "x"), headers=_SENT, content=_body(method, 0))
            hostile = filled(shape, HOSTILE)
            query = {"_" + HOSTILE: HOSTILE, "name": HOSTILE, "iss": HOSTILE, "launch": HOSTILE}
            await self.ask("GET", hostile, headers=_SENT, params=query)
            for number, kind in enumerate(_BODIES):
                sent = {**_SENT, "Content-Type": kind}
                await self.ask("POST", hostile, headers=sent, content=_body("POST", number))
            await self.ask("GET", filled(shape, "x") + "/", headers={"Host": "evil.example"})

    async def sign_in(self, user: str) -> str:
        """Home, the sign-in and its pages, up to the session's own; where that is."""
        self.http.event_hooks = {"response": [self._read]}
        home = await self.http.get("/app/")
        issuer = f"{home.url.scheme}://{home.url.netloc.decode()}/fhir"
        own = {"Origin": str(self.http.base_url).rstrip("/")}
        answer = await self.http.post("/app/sign-in", data={"issuer": issuer}, headers=own)
        for _ in range(8):
            if answer.is_redirect:
                answer = await self.http.get(answer.url.join(answer.headers["location"]))
            elif answer.url.path.startswith("/auth/"):
                fields = doctor._Fields(answer.text).found
                form = fields | {"username": user, "password": PASSWORD}
                url = answer.url.copy_with(query=None)
                answer = await self.http.post(url, data=form, headers=own)
            else:
                break
        self.http.event_hooks = {"response": []}
        return answer.url.path

    async def _read(self, answer: httpx.Response) -> None:
        await answer.aread()
        self.keep(answer)


def paths(front: Front) -> Iterator[str]:
    """The path of every route, with its fields in braces."""
    for name, part in front.parts.items():
        for route in getattr(_inmost(part), "routes", ()):
            assert isinstance(route, Route), route
            yield f"/{name}{route.path}"
    yield from dict.fromkeys(f"/fhir/{route.shape}".rstrip("/") for route in ROUTES)
    described = _inmost(front.others).openapi()["paths"]
    yield from (path for path in described if not path.startswith("/fhir"))
    yield from ("/", "/openapi.json", "/docs", "/redoc", "/fhir/.well-known/smart-configuration")
    yield from ("/{nothing}", "/app", "/auth", "/favicon.ico", "/robots.txt", "//evil.example/")


def _inmost(app: Any) -> Any:
    """The application under what names, counts and measures its requests."""
    while not hasattr(app, "routes") and hasattr(app, "_app"):
        app = app._app
    return app


def filled(shape: str, value: str) -> str:
    """The path with a value for each field; where it is a plain one, a type that there is."""

    def field(found: re.Match[str]) -> str:
        return quote(value, safe="") if value == HOSTILE else _PLAIN.get(found[1], value)

    return _FIELD.sub(field, shape)


def _body(method: str, number: int) -> bytes:
    return list(_BODIES.values())[number] if method in ("POST", "PUT", "PATCH") else b""
