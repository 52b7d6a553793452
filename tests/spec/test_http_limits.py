"""Limits in an hour (R4 RESTful API, "Errors": 429 with an OperationOutcome `throttled`)."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.fhir.assessment import ASSESSMENT
from fhir_server.security.limits import RateLimits, read_rules
from fhir_server.security.rate_limit import MemoryCounters
from tests.composed_world import whole
from tests.fhir_world import PATIENT, START, World, fhir_world, issues
from tests.operation_world import caller

Json = dict[str, Any]
SERVICE = "system/Task.crus"
REPLACE = {"op": "replace", "path": "/status"}


@asynccontextmanager
async def limited(folder: Path, rules: str) -> AsyncIterator[World]:
    """A server with these rules; its clock stands still."""
    limits = RateLimits(read_rules(rules), MemoryCounters(lambda: START))
    async with fhir_world(folder, limits=limits, is_open=False) as world:
        yield world


def task(status: str = "requested", **changes: Any) -> Json:
    code = {"coding": [ASSESSMENT]}
    return {"resourceType": "Task", "status": status, "intent": "order", "code": code} | changes


def bundle(kind: str, *tasks: Json, method: str = "POST", url: str = "Task") -> Json:
    entries = [{"resource": each, "request": {"method": method, "url": url}} for each in tasks]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def throttled(response: httpx.Response) -> None:
    assert response.status_code == 429, response.text
    assert [issue["code"] for issue in issues(response)] == ["throttled"]
    assert response.headers["retry-after"] == "3600"


async def test_an_address_without_a_token_is_refused_after_so_many_requests(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "anonymous=3") as world:
        assert [(await world.get("/Patient")).status_code for _ in range(3)] == [401] * 3
        throttled(await world.get("/Patient"))
        world.caller.principal = caller("user/*.cruds")
        assert (await world.get("/Patient")).status_code == 200, "others from there go on"


async def test_what_anybody_may_ask_is_not_counted(tmp_path: Path) -> None:
    async with limited(tmp_path, "anonymous=1") as world:
        for _ in range(3):
            assert (await world.get("/metadata")).status_code == 200


async def test_a_flood_leaves_one_refusal_in_the_trail_beyond_the_limit(tmp_path: Path) -> None:
    async with limited(tmp_path, "anonymous=2") as world:
        for _ in range(9):
            await world.get("/Patient")
        assert [each["status"] for each in await world.journal()] == [401, 401, 429]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Task", task()),
        ("", bundle("transaction", task())),
        ("", bundle("batch", task())),
        ("", bundle("transaction", task(id="a"), method="PUT", url="Task/a")),
    ],
)
async def test_a_user_asks_for_so_many_diagnoses(tmp_path: Path, path: str, body: Json) -> None:
    async with limited(tmp_path, "diagnoses=2") as world:
        world.caller.principal = caller("user/*.cruds")
        for _ in range(2):
            assert (await world.post(path, body)).status_code in (200, 201)
        before = await world.count("Task")
        throttled(await world.post(path, body))
        assert await world.count("Task") == before
        assert (await world.post("/Patient", PATIENT)).status_code == 201, "all else goes on"


async def test_a_transaction_counts_each_of_its_tasks_and_does_nothing_beyond(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "diagnoses=2") as world:
        world.caller.principal = caller("user/*.cruds")
        throttled(await world.post("", bundle("transaction", task(), task(), task())))
        assert await world.count("Task") == 0


@pytest.mark.parametrize(("scopes", "role"), [("user/*.cruds", "doctor"), (SERVICE, "service")])
async def test_a_task_written_as_in_progress_counts_as_it_will_be_analysed(
    tmp_path: Path, scopes: str, role: str
) -> None:
    async with limited(tmp_path, "diagnoses=1") as world:
        world.caller.principal = caller(scopes, role=role)
        begun = task("in-progress", id="a")
        assert (await world.put("/Task/a", task("draft", id="a"))).status_code == 201
        assert (await world.post("/Task", task("in-progress"))).status_code == 201
        throttled(await world.post("/Task", task("in-progress")))
        throttled(await world.put("/Task/b", {**begun, "id": "b"}))
        throttled(await world.post("", bundle("batch", begun, method="PUT", url="Task/a")))
        throttled(await world.patch("/Task/a", [{**REPLACE, "value": "in-progress"}]))


async def test_the_claim_of_the_worker_is_no_diagnosis_and_that_of_others_is(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "diagnoses=1") as world:
        service = caller(SERVICE, role="service")
        worker = replace(service, subject="medsage-worker", client_id="medsage-worker")
        world.caller.principal = worker
        for each in ("a", "b"):
            assert (await world.put(f"/Task/{each}", task("draft", id=each))).status_code == 201
            claim = task("in-progress", id=each)
            claimed = await world.put(f"/Task/{each}", claim, if_match='W/"1"')
            assert claimed.status_code == 200
        world.caller.principal = caller("user/*.cruds")
        mine = task("in-progress", id="a", description="mine")
        assert (await world.put("/Task/a", mine, if_match='W/"2"')).status_code == 200
        throttled(await world.put("/Task/b", {**mine, "id": "b"}, if_match='W/"2"'))
        # A draft that another service begins is analysed like one that was asked for.
        world.caller.principal = replace(service, subject="lab", client_id="lab")
        for each, refused in (("c", False), ("d", True)):
            assert (await world.put(f"/Task/{each}", task("draft", id=each))).status_code == 201
            begun = task("in-progress", id=each)
            answer = await world.put(f"/Task/{each}", begun, if_match='W/"1"')
            assert answer.status_code == (429 if refused else 200)


async def test_a_task_that_is_asked_for_again_counts_again(tmp_path: Path) -> None:
    async with limited(tmp_path, "diagnoses=1") as world:
        world.caller.principal = caller("user/*.cruds")
        assert (await world.put("/Task/a", task("draft", id="a"))).status_code == 201
        assert (await world.put("/Task/a", task(id="a"))).status_code == 200
        again = [{"op": "replace", "path": "/status", "value": "requested"}]
        throttled(await world.patch("/Task/a", again))
        hidden = b'[{"op":"replace","path":"/status","value":"\\u0072equested"}]'
        patched = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
        patched["data"] = base64.b64encode(hidden).decode()
        throttled(await world.post("", bundle("batch", patched, method="PATCH", url="Task/a")))


@pytest.mark.parametrize(
    "body",
    [
        bundle("transaction", task("draft")),
        bundle("transaction", task(code={"coding": [{"code": "fulfill"}]})),
        bundle("transaction", {**PATIENT, "name": [{"text": "Task requested"}]}),
    ],
)
async def test_other_tasks_are_not_counted(tmp_path: Path, body: Json) -> None:
    async with limited(tmp_path, "diagnoses=1") as world:
        world.caller.principal = caller("user/*.cruds")
        statuses = [(await world.post("", body)).status_code for _ in range(3)]
        assert 429 not in statuses


async def test_in_the_whole_service_the_api_counts_too(tmp_path: Path) -> None:
    rules = "anonymous=2, diagnoses=1"
    async with whole(tmp_path, demo="true", rate_limits=rules) as service:
        form = {"symptoms": "fever", "age": "30", "weight": "60", "height": "170"}
        refused = [await service.send("POST", "/api/diagnose", None, data=form) for _ in range(3)]
        assert [each.status_code for each in refused] == [401, 401, 429]
        throttled_api = refused[-1]
        assert throttled_api.headers["retry-after"]
        assert throttled_api.json()["issue"][0]["code"] == "throttled"
        asked = task(**{"for": {"reference": "Patient/ward-1"}})
        token = await service.user_token("dr.amina")
        done = [await service.send("POST", "/fhir/Task", token, json=asked) for _ in range(2)]
        assert [each.status_code for each in done] == [201, 429]
        headers = {"Authorization": f"Bearer {token}"}
        passed_on = await service.http.post("/api/diagnose", data=form, headers=headers)
        assert passed_on.status_code == 429
        assert passed_on.headers["retry-after"]
        assert passed_on.json()["issue"][0]["code"] == "throttled"
        for path in ("/health", "/fhir/metadata", "/fhir/.well-known/smart-configuration"):
            assert (await service.send("GET", path, None)).status_code == 200
