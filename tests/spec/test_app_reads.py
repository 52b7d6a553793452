"""What a page of the app reads: asked for in the same moment, it goes to the server as one batch
(R4 RESTful API, "batch/transaction"), and each read has the answer that it would have alone."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from smart_app.fhir_client import FhirClient, FhirFailure
from tests.app_browser import World

BASE = "https://fhir.example/fhir"
FOUND = {"resourceType": "Bundle", "type": "searchset"}
Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers single reads with what they asked for, and batches with `batch`."""

    def __init__(self, batch: Answer | None = None) -> None:
        self.asked: list[str] = []
        self._batch = batch or self.each

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/fhir")
        self.asked.append(f"{request.method} {path}")
        if request.method == "POST":
            return self._batch(request)
        return httpx.Response(200, json={**FOUND, "id": path[1:]})

    def each(self, request: httpx.Request) -> httpx.Response:
        """Every read of a batch by itself; what is asked of Consent is refused."""
        entries = [self._entry(e["request"]["url"]) for e in json.loads(request.content)["entry"]]
        return httpx.Response(200, json={"resourceType": "Bundle", "entry": entries})

    def _entry(self, url: str) -> dict[str, Any]:
        if url.startswith("Consent"):
            issue = {"severity": "error", "code": "forbidden", "diagnostics": "not in your scopes"}
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            return {"response": {"status": "403 Forbidden", "outcome": outcome}}
        found = {**FOUND, "id": url.partition("?")[0]}
        return {"resource": found, "response": {"status": "200 OK"}}


def client(server: Server, *, batches: bool = True) -> FhirClient:
    async def token() -> str:
        return "t"

    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    return FhirClient(http, BASE, token, batches=batches)


async def page(fhir: FhirClient) -> list[Any]:
    """As pages read: some of it by a function that reads several."""

    async def banner() -> Any:
        return await asyncio.gather(fhir.read("Patient", "p1"), fhir.search("Observation", {}))

    wanted = (banner(), fhir.search("Task", {"patient": "p1"}), fhir.read("Consent", "c1"))
    return await asyncio.gather(*wanted, return_exceptions=True)


async def test_what_is_read_at_once_goes_in_one_batch_and_a_refusal_leaves_the_rest() -> None:
    server = Server()
    (patient, observations), tasks, consent = await page(client(server))
    assert server.asked == ["POST "]
    assert patient["id"] == "Patient/p1"
    assert (observations, tasks) == ([], [])
    assert isinstance(consent, FhirFailure)
    assert consent.status == 403
    assert consent.problems == (("not in your scopes", ""),)


async def test_a_read_that_nobody_joins_goes_as_itself() -> None:
    server = Server()
    fhir = client(server)
    assert (await fhir.read("Patient", "p1"))["id"] == "Patient/p1"
    assert (await fhir.read("Patient", "p2"))["id"] == "Patient/p2"
    assert server.asked == ["GET /Patient/p1", "GET /Patient/p2"]


async def test_a_record_system_of_others_is_asked_for_each() -> None:
    server = Server()
    await page(client(server, batches=False))
    assert len(server.asked) == 4
    assert not any(asked.startswith("POST") for asked in server.asked)


def _cut(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("cut", request=request)


def _late(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("late", request=request)


@pytest.mark.parametrize(
    "batch",
    [_cut, lambda _: httpx.Response(502), lambda _: httpx.Response(200, json=FOUND)],
    ids=["cut", "bad-gateway", "without-entries"],
)
async def test_reads_whose_batch_was_not_answered_are_asked_for_alone(batch: Answer) -> None:
    server = Server(batch)
    (patient, _), _, consent = await page(client(server))
    assert server.asked[0] == "POST "
    assert len(server.asked) == 5
    assert patient["id"] == "Patient/p1"
    assert consent["id"] == "Consent/c1"


@pytest.mark.parametrize(
    ("batch", "status"),
    [(_late, 0), (lambda _: httpx.Response(503), 503), (lambda _: httpx.Response(401), 401)],
    ids=["late", "busy", "no-token"],
)
async def test_a_server_that_is_busy_or_refuses_the_caller_is_not_asked_again(
    batch: Answer, status: int
) -> None:
    server = Server(batch)
    found = await page(client(server))
    assert server.asked == ["POST "]
    assert {failure.status for failure in found} == {status}


async def test_who_reads_beside_one_that_was_given_up_does_not_wait_for_ever() -> None:
    never = asyncio.Event()

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await never.wait()
            raise AssertionError

    async def token() -> str:
        return "t"

    fhir = FhirClient(httpx.AsyncClient(transport=Silent()), BASE, token, batches=True)
    first, second = (asyncio.create_task(fhir.read("Patient", each)) for each in "ab")
    await asyncio.sleep(0.01)
    first.cancel()
    done, _ = await asyncio.wait({first, second}, timeout=1)
    assert done == {first, second}


async def test_the_chart_asks_the_server_once() -> None:
    world = World()
    world.records.put({"resourceType": "Patient", "id": "p1"})
    browser = world.browser()
    chart = await browser.launch()
    world.records.calls.clear()
    assert (await browser.get(chart)).status_code == 200
    assert world.records.calls == ["batch"]


async def test_a_search_that_finds_more_patients_than_are_shown_says_so() -> None:
    world = World()
    browser = world.browser()
    home = await browser.sign_in()
    for number in range(51):
        if number == 50:
            assert "more match" not in (await browser.get(f"{home}patients?name=okafor")).text
        name = [{"family": "Okafor"}]
        world.records.put({"resourceType": "Patient", "id": f"p{number}", "name": name})
    found = (await browser.get(f"{home}patients?name=okafor")).text
    assert "50 patients found; more match, who are not shown" in found


async def test_a_server_that_can_not_answer_now_is_told_with_when_to_come_again() -> None:
    world = World()
    world.records.put({"resourceType": "Patient", "id": "p1"})
    browser = world.browser()
    chart = await browser.launch()

    async def away() -> JSONResponse:
        return JSONResponse({"resourceType": "OperationOutcome", "issue": []}, 503)

    world.records.instead["Patient"] = away
    refused = await browser.get(chart)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "The record system can&#39;t answer now" in refused.text
