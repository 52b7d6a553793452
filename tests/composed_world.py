"""The whole service in the process of the test: every part that `medsage serve` composes."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image as Picture

from deploy.demo.doctor import doctors_token
from deploy.demo.loading import demo_tokens
from deploy.standalone import composed
from fhir_server.fhir.assessment import LOINC
from fhir_server.load_settings import load

ORIGIN = "http://localhost:5000"
Json = dict[str, Any]


class Whole:
    """A composed service; `http` reaches it, `token` is the demonstration's own service."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self.token = token

    async def send(
        self, method: str, path: str, token: str | None = "", **request: Any
    ) -> httpx.Response:
        """A request of the service's client; another `token`, or None for none."""
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        return await self.http.request(method, path, headers=headers, **request)

    async def user_token(self, user: str) -> str:
        """A token of a user of the demonstration."""
        return await doctors_token(self.http, ORIGIN, user)

    async def count(self, type_: str) -> int:
        """How many resources of a type there are."""
        answer = await self.send("GET", f"/fhir/{type_}?_summary=count")
        assert answer.status_code == 200, answer.text
        total: int = answer.json()["total"]
        return total

    async def events(self, request_id: str) -> list[Json]:
        """The AuditEvents of one request."""
        query = {"entity:identifier": request_id}
        answer = await self.send("GET", "/fhir/AuditEvent", params=query)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", ())]


@asynccontextmanager
async def whole(folder: Path, **settings: str) -> AsyncIterator[Whole]:
    """A service with its data in `folder`; `settings` are MEDSAGE variables in lower case."""
    given = {f"MEDSAGE_{name.upper()}": value for name, value in settings.items()}
    loaded, _ = load({"MEDSAGE_DATA": str(folder), **given})
    async with composed(loaded, [ORIGIN]) as application:
        transport = httpx.ASGITransport(
            app=application, raise_app_exceptions=False, client=("192.0.2.7", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=60) as http:
            yield Whole(http, await demo_tokens(http, ORIGIN).token() or "")


def observation(**changes: Any) -> Json:
    """A small valid Observation about a patient of the ward."""
    code = {"coding": [{"system": LOINC, "code": "8310-5"}]}
    subject = {"reference": "Patient/ward-1"}
    return {"resourceType": "Observation", "status": "final", "code": code, "subject": subject} | (
        changes
    )


def picture(form: str = "PNG", size: tuple[int, int] = (120, 120), **options: Any) -> bytes:
    """A noisy picture, which is no smear."""
    content = io.BytesIO()
    Picture.effect_noise(size, 60).convert("RGB").save(content, form, **options)
    return content.getvalue()
