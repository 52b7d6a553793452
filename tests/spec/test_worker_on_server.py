"""The worker and the seed's API on the real FHIR server and the embedded store, in one process."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fhir_server.fhir import codec
from fhir_server.fhir.assessment import Image, Intake, Parties, submission
from fhir_server.fhir.drawings import DRAWINGS_OF_TASK, GALLERY, KINDS
from fhir_server.security.principal import Principal
from models.analysis import Analysts
from models.diagnose import Diagnosis, diagnose_router
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import CellAnswer, SmearAnswer
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Pace, Worker
from models.worker_device import SCOPES, subscribe, worker_device
from tests.fhir_world import BASE, START, World, fhir_world
from tests.smear_predictions import ScriptedSmearModel, drawn, field_of, one_cell, refused

PIXELS = b"\x89PNG kept as it is"
INTAKE = {"symptoms": {"fever": "yes"}, "vitals": {"temperature": 38.5, "systolic": 120.0}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def fhir(world: World) -> FhirClient:
    return FhirClient(world.http, BASE, CallerToken(None))


def worker(world: World, smear: ScriptedSmearModel, **pace: Any) -> Worker:
    analysts = Analysts(smear, SafeAnalyst())
    return Worker(fhir(world), analysts, Pace(**pace), clock=world.clock)


def _worker() -> Principal:
    return Principal(
        subject="medsage-worker",
        client_id="medsage-worker",
        name="Worker",
        roles=frozenset(),
        fhir_user=None,
        scopes=SCOPES,
        patient=None,
        encounter=None,
        session=None,
    )


async def submit(world: World, *, images: int = 1, **intake: Any) -> str:
    patient = await world.create({"resourceType": "Patient", "birthDate": "1990-05-01"})
    pictures = [Image(PIXELS, "image/png", "smear")] * images
    numbers = iter(range(1, 100))
    bundle = submission(
        Intake(START, images=pictures, **intake),
        Parties(f"Patient/{patient}"),
        lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
    )
    answer = await fhir(world).transaction(bundle)
    location: str = answer["entry"][-1]["response"]["location"]
    return "/".join(location.split("/_history")[0].split("/")[-2:])


async def all_of(world: World, type_: str, **criteria: str) -> list[dict[str, Any]]:
    return [found async for found in fhir(world).search(type_, criteria)]


async def test_a_submission_becomes_a_report_that_can_be_traced(world: World) -> None:
    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    reference = await submit(world, images=2, **INTAKE)

    await worker(world, smear).run_once()

    task = await fhir(world).read(reference)
    (report,) = await all_of(world, "DiagnosticReport", subject=task["for"]["reference"])
    assert task["status"] == "completed", task.get("statusReason")
    assert [image.content for image in smear.seen] == [PIXELS, PIXELS]
    traced = await all_of(world, "Provenance", target=f"DiagnosticReport/{report['id']}")
    devices = {agent["who"]["reference"] for p in traced for agent in p["agent"]}
    assert len(devices) == 2
    for device in devices:
        touched = await all_of(world, "Provenance", agent=device)
        assert report["id"] in str(touched[0]["target"])


async def test_the_workers_narrow_scopes_are_enough(world: World) -> None:
    reference = await submit(world, **INTAKE)
    world.caller.principal = _worker()
    client = fhir(world)

    await subscribe(client, "http://w.test/models/notifications", "s")
    await worker(world, ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND))).run_once()

    world.caller.principal = None
    assert (await client.read(reference))["status"] == "completed"


async def test_what_was_drawn_is_stored_with_the_result_under_the_workers_own_scopes(
    world: World,
) -> None:
    reference = await submit(world, **INTAKE)
    world.caller.principal = _worker()
    await worker(world, ScriptedSmearModel(drawn())).run_once()
    world.caller.principal = None

    client = fhir(world)
    task = await client.read(reference)
    sent = task["input"][0]["valueReference"]["reference"]
    made = await all_of(world, "Media", identifier=f"{DRAWINGS_OF_TASK}|{task['id']}")
    (gallery,) = await all_of(world, "Media", view=GALLERY)
    (report,) = await all_of(world, "DiagnosticReport")
    assert {m["extension"][0]["valueReference"]["reference"] for m in made} == {sent}
    assert len(made) == len(KINDS) == len(report["media"]) - 1
    binary = await client.read(gallery["content"]["url"])
    assert b64decode(binary["data"]) == b"a picture: cell-gallery"
    traced = await all_of(world, "Provenance", target=f"Media/{gallery['id']}")
    assert f"Binary/{binary['id']}" in str(traced[0]["target"])
    assert {m["meta"]["security"][0]["code"] for m in (*made, binary)} == {"AIAST"}


async def test_only_human_data_can_be_asked_for(world: World) -> None:
    await submit(world, **INTAKE)
    await worker(world, ScriptedSmearModel(one_cell(CellAnswer.NOT_SEEN, 0.01))).run_once()

    everything = await all_of(world, "Observation")
    by_ai = await all_of(world, "Observation", _security="AIAST")

    assert len(by_ai) == 2
    assert len(everything) == 4


async def test_models_and_cards_are_stored_once(world: World) -> None:
    smear = ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND))
    for _ in range(3):
        await submit(world, **INTAKE)

    await worker(world, smear, concurrency=1).run_once()

    assert await world.count("Device") == 3  # the worker, the image model, the rules
    assert await world.count("DocumentReference") == 2
    assert await world.count("DiagnosticReport") == 3


async def test_several_workers_at_once_make_one_report_for_each_task(world: World) -> None:
    smear = ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND))
    references = [await submit(world, **INTAKE) for _ in range(8)]

    await asyncio.gather(*(worker(world, smear, concurrency=4).run_once() for _ in range(3)))

    states = [(await fhir(world).read(reference))["status"] for reference in references]
    assert states == ["completed"] * 8
    assert await world.count("DiagnosticReport") == 8


async def test_a_refused_image_alone_fails_with_a_contained_outcome(world: World) -> None:
    reference = await submit(world)

    await worker(world, ScriptedSmearModel(refused())).run_once()

    task = await fhir(world).read(reference)
    assert task["status"] == "failed"
    assert task["contained"][0]["issue"][0]["diagnostics"].startswith("Image 1 refused (focus)")
    assert await world.count("DiagnosticReport") == 0


async def test_the_workers_device_and_subscription_are_made_once(world: World) -> None:
    client = fhir(world)
    devices = {await worker_device(client) for _ in range(2)}
    made = {await subscribe(client, "http://w.test/models/notifications", "s") for _ in range(2)}

    assert len(devices) == len(made) == 1
    renewed = await subscribe(client, "http://w.test/models/notifications", "other")
    assert renewed in made
    assert "other" in str((await client.read(renewed))["channel"]["header"])


@asynccontextmanager
async def seeds_api(world: World, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    async def nobody(_: object) -> Any:
        """With open access no token is looked at; what is refused is told to the caller alone."""

    diagnosis = Diagnosis(
        fhir(world), lambda _: None, nobody, nobody, is_open_access=True, clock=world.clock, **more
    )
    app = FastAPI()
    app.include_router(diagnose_router(diagnosis))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as http:
        yield http


@asynccontextmanager
async def at_work(running: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(running.run())
    yield
    running.stop()
    await task


FORM = {"age": "4", "weight": "15", "height": "100", "symptoms": "fever, not drinking"}
FILES = [("imageUpload", ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(300), "image/png"))]


async def ask(http: httpx.AsyncClient, key: str | None = None, **changes: str) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    form = {**FORM, **changes}
    return await http.post("/api/diagnose", data=form, files=FILES, headers=headers)


async def test_the_seeds_api_goes_the_same_way(world: World) -> None:
    running = worker(world, ScriptedSmearModel(refused()), poll_seconds=0.02)
    async with seeds_api(world) as http, at_work(running):
        answer = await ask(http)

    body = codec.parse(answer.content)
    assert answer.status_code == 200
    assert body["urgency"] == "emergency"
    assert "refused (focus)" in body["image_analysis_result"]
    report = await fhir(world).read(f"DiagnosticReport/{body['diagnosis_id']}")
    assert report["status"] == "preliminary"


async def test_a_call_of_the_seeds_api_that_is_sent_again_is_one_analysis(world: World) -> None:
    running = worker(world, ScriptedSmearModel(refused()), poll_seconds=0.02)
    async with seeds_api(world) as http, at_work(running):
        first = await ask(http, '"case 7, \\"left\\""')
        again = await ask(http, '"case 7, \\"left\\""')

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    for type_ in ("Task", "Patient", "DiagnosticReport"):
        assert await world.count(type_) == 1, type_


async def test_of_calls_with_one_key_at_once_one_is_done_and_all_are_answered(
    world: World,
) -> None:
    running = worker(world, ScriptedSmearModel(refused()), poll_seconds=0.02)
    async with seeds_api(world) as http, at_work(running):
        answers = await asyncio.gather(*(ask(http, "one") for _ in range(4)))

    assert [each.status_code for each in answers] == [200] * 4
    assert len({each.json()["diagnosis_id"] for each in answers}) == 1
    assert await world.count("Task") == 1


async def test_who_was_answered_before_the_end_asks_again_with_the_key(world: World) -> None:
    """As when a server was told to end, or its answer was lost."""
    async with seeds_api(world, wait_seconds=0.05) as http:
        early = await ask(http, "early")
    assert (early.status_code, early.json()["status"]) == (202, "requested")
    running = worker(world, ScriptedSmearModel(refused()), poll_seconds=0.02)
    async with seeds_api(world) as http, at_work(running):
        late = await ask(http, "early")

    assert late.status_code == 200
    assert late.json()["links"]["task"] == early.json()["links"]["task"]


async def test_a_key_is_free_again_after_its_hours_and_never_brings_an_old_result(
    world: World,
) -> None:
    """Who numbers the cases of each day sends the same key with the same form for another child."""
    async with seeds_api(world, wait_seconds=0.05) as http:
        first = await ask(http, "7")
        world.clock.now += timedelta(hours=25)
        other = await ask(http, "7")

    assert (first.status_code, other.status_code) == (202, 202)
    assert "Idempotency-Replayed" not in other.headers
    assert first.json()["links"] != other.json()["links"]
    assert await world.count("Patient") == await world.count("Task") == 2


async def test_a_key_that_was_used_for_another_form_or_is_none_is_refused(world: World) -> None:
    async with seeds_api(world, wait_seconds=0.05) as http:
        await ask(http, "mine")
        other = await ask(http, "mine", age="5")
        malformed = await ask(http, '"without an end')

    assert other.status_code == 422
    assert "this key was used for another request" in other.text
    assert malformed.status_code == 400
    assert await world.count("Task") == 1
