"""A process with too much in hand: further requests are refused at once, with 503, Retry-After and
words for whoever asked, and what was taken is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from deploy.shedding import Shedding
from fhir_server.load_settings import load
from tests.composed_world import whole


class Busy:
    """A part that answers when it is told to; `limit` requests may be in hand."""

    def __init__(self, limit: int) -> None:
        self.may_answer, self.may_end = asyncio.Event(), asyncio.Event()
        self.metrics = CollectorRegistry()
        parts = dict.fromkeys(("fhir", "auth", "app"), self._answer)
        self._shedding = Shedding(self._answer, limit, parts, {}, self.metrics)
        transport = httpx.ASGITransport(self._shedding, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://medsage.example")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/app/fails":
            raise ValueError
        if scope["path"] != "/health":
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/app/events":
            await self.may_end.wait()
        await send({"type": "http.response.body", "body": b""})

    def value(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.metrics.get_sample_value(name, labels)

    @asynccontextmanager
    async def holding(self, *paths: str) -> AsyncIterator[None]:
        """While these are in hand; then they are answered, and well."""
        asked = [asyncio.create_task(self.http.get(path)) for path in paths]
        for _ in range(20):
            await asyncio.sleep(0)
        yield
        self.may_answer.set()
        self.may_end.set()
        assert [(await each).status_code for each in asked] == [200] * len(paths)


async def test_what_is_beyond_the_limit_is_refused_at_once_and_the_rest_is_answered() -> None:
    process = Busy(2)
    async with process.holding("/app/", "/fhir/Patient"):
        assert process.value("medsage_requests_in_hand") == 2
        refused = await process.http.get("/app/", headers={"accept": "text/html,*/*"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        assert "too much to do" in refused.text
        assert "<html" in refused.text
    assert (await process.http.get("/app/")).status_code == 200
    assert process.value("medsage_requests_in_hand") == 0
    assert process.value("medsage_requests_in_hand_limit") == 2
    assert process.value("medsage_requests_shed_total", part="app") == 1
    assert process.value("medsage_requests_shed_total", part="fhir") == 0


async def test_a_program_is_told_in_its_own_terms() -> None:
    process = Busy(1)
    async with process.holding("/fhir/Patient"):
        fhir = await process.http.post("/fhir", content=b"{}")
        assert fhir.headers["content-type"] == "application/fhir+json"
        (issue,) = fhir.json()["issue"]
        assert issue["code"] == "transient"
        token = await process.http.post("/auth/token", data={"grant_type": "client_credentials"})
        assert (token.status_code, token.json()["error"]) == (503, "temporarily_unavailable")


async def test_health_is_answered_however_much_there_is_to_do() -> None:
    process = Busy(1)
    async with process.holding("/app/"):
        assert (await process.http.get("/health")).status_code == 200


async def test_a_stream_is_in_hand_until_it_begins() -> None:
    process = Busy(1)
    process.may_answer.set()
    async with process.holding("/app/events"):
        assert (await process.http.get("/app/")).status_code == 200


async def test_a_request_that_fails_is_in_hand_no_more() -> None:
    process = Busy(1)
    for _ in range(3):
        assert (await process.http.get("/app/fails")).status_code == 500
    assert process.value("medsage_requests_in_hand") == 0


@pytest.mark.parametrize(("role", "most"), [("app", 64), ("server", 256), ("all", 256)])
def test_an_app_takes_fewer_than_a_server(role: str, most: int) -> None:
    assert load({"MEDSAGE_ROLE": role})[0].takes_in_hand == most
    assert load({"MEDSAGE_ROLE": role, "MEDSAGE_REQUESTS_IN_HAND": "7"})[0].takes_in_hand == 7


async def test_a_page_is_refused_in_the_apps_words(tmp_path: Path) -> None:
    async with whole(tmp_path, requests_in_hand="1") as service:
        path = "/app/launch?iss=http://localhost:5000/fhir&launch=x"
        # It asks the server, in this process, for its configuration, as a part of itself.
        assert (await service.http.get(path)).status_code == 303
        html = {"accept": "text/html"}
        found, refused = await asyncio.gather(
            service.send("GET", "/fhir/Patient"), service.http.get(path, headers=html)
        )
        assert found.status_code == 200
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert "MedSAGE has too much to do now" in refused.text
        policy = refused.headers["content-security-policy"]
        assert "frame-ancestors http://localhost:5000" in policy
        told = (await service.http.get("/api/metrics")).text
        assert 'medsage_requests_shed_total{part="app"} 1.0' in told
        assert 'medsage_http_requests_total{method="GET",part="app",status="503"} 1.0' in told
