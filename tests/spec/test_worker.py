"""The AI worker: one report for each Task, whatever happens on the way."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.fhir.assessment import (
    OUTPUT_REPORT,
    Image,
    Intake,
    Parties,
    parts,
    submission,
)
from fhir_server.validation.validate import Validator
from models import tasks
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import SmearAnswer
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Pace, Worker
from tests.fhir_double import BASE, FhirDouble, Refused
from tests.smear_predictions import ScriptedSmearModel, field_of, refused

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
FEVER = {"fever": "yes"}
PIXELS = b"\x89PNG not decoded here"


class World:
    """A FHIR server, one worker, and a clock that is moved by hand."""

    def __init__(self, **pace: Any) -> None:
        self.now = NOW
        self.fhir = FhirDouble(clock=lambda: self.now)
        self.smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
        self.pace = Pace(retry_delays_seconds=(0.0, 0.0), **pace)
        self.patient = self.fhir.add({"resourceType": "Patient", "birthDate": "1990-01-01"})
        self._ids = itertools.count()

    def worker(self) -> Worker:
        client = FhirClient(self.fhir.client(), BASE, CallerToken(None))
        analysts = Analysts(self.smear, SafeAnalyst())
        return Worker(client, analysts, self.pace, clock=lambda: self.now)

    async def submit(self, *, images: int = 0, patient: str | None = None, **intake: Any) -> str:
        """The reference of the Task."""
        pictures = [Image(PIXELS, "image/png", "smear")] * images
        bundle = submission(
            Intake(self.now, images=pictures, **intake),
            Parties(patient or self.patient),
            lambda: next(self._ids),
        )
        async with self.fhir.client() as http:
            answer = await http.post(BASE, json=bundle)
        location: str = answer.json()["entry"][-1]["response"]["location"]
        return location.split("/_history")[0]

    def task(self, reference: str) -> dict[str, Any]:
        return self.fhir.resources[reference]

    def reports(self) -> list[dict[str, Any]]:
        return self.fhir.of_type("DiagnosticReport")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_task_ends_with_a_preliminary_report_and_its_trace(world: World) -> None:
    reference = await world.submit(images=2, symptoms=FEVER, vitals={"temperature": 39.0})

    await world.worker().run_once()

    task = world.task(reference)
    (report,) = world.reports()
    assert task["status"] == "completed"
    assert parts(task["output"], OUTPUT_REPORT) == [f"DiagnosticReport/{report['id']}"]
    assert report["status"] == "preliminary"
    assert [image.content for image in world.smear.seen] == [PIXELS, PIXELS]
    assert len(world.fhir.of_type("Provenance")) == 2
    (event,) = world.fhir.of_type("AuditEvent")
    assert event["subtype"][0]["code"] == "ai-result"


async def test_all_that_is_stored_is_valid(world: World) -> None:
    await world.submit(images=1, symptoms=FEVER)

    await world.worker().run_once()

    validator = Validator()
    problems = {key: validator.issues(r) for key, r in world.fhir.resources.items()}
    assert {key: found for key, found in problems.items() if found} == {}


async def test_symptoms_alone_need_no_image_model(world: World) -> None:
    await world.submit(symptoms_text="fever and convulsions")

    await world.worker().run_once()

    (report,) = world.reports()
    assert world.smear.seen == []
    assert "Urgency: emergency" in report["conclusion"]


async def test_a_refused_image_alone_fails_the_task_and_makes_no_finding(world: World) -> None:
    world.smear.prediction = refused()
    reference = await world.submit(images=1)

    await world.worker().run_once()

    task = world.task(reference)
    assert task["status"] == "failed"
    assert "focus" in task["statusReason"]["text"]
    assert task["contained"][0]["resourceType"] == "OperationOutcome"
    assert world.reports() == []
    assert [e["outcome"] for e in world.fhir.of_type("AuditEvent")] == ["4"]


async def test_a_refused_image_with_symptoms_still_gets_its_report(world: World) -> None:
    world.smear.prediction = refused()
    reference = await world.submit(images=1, symptoms=FEVER)

    await world.worker().run_once()

    (report,) = world.reports()
    assert world.task(reference)["status"] == "completed"
    assert "No AI opinion" in report["conclusion"]
    assert "refused (focus)" in report["conclusion"]


async def test_a_second_version_of_a_model_is_a_second_device(world: World) -> None:
    await world.submit(images=1)
    await world.submit(images=1)
    await world.worker().run_once()

    devices = world.fhir.of_type("Device")
    assert len(devices) == 2  # the worker and the model version
    assert len(world.fhir.of_type("DocumentReference")) == 1


@pytest.mark.parametrize(
    "spoil", ["patient", "inputs", "missing", "foreign", "error", "wrong type"]
)
async def test_a_task_that_makes_no_sense_fails_with_its_reason(world: World, spoil: str) -> None:
    stranger = world.fhir.add({"resourceType": "Patient"})
    reference = await world.submit(images=1)
    task = world.task(reference)
    match spoil:
        case "patient":
            del task["for"]
        case "inputs":
            del task["input"]
        case "missing":
            task["input"][0]["valueReference"] = {"reference": "Media/none"}
        case "foreign":
            media = task["input"][0]["valueReference"]["reference"]
            world.fhir.resources[media]["subject"] = {"reference": stranger}
        case "error":
            media = task["input"][0]["valueReference"]["reference"]
            world.fhir.resources[media]["status"] = "entered-in-error"
        case _:
            task["input"][0]["valueReference"] = {"reference": world.patient}

    await world.worker().run_once()

    ended = world.task(reference)
    assert ended["status"] == "failed"
    assert ended["statusReason"]["text"]
    assert world.reports() == []


async def test_of_two_workers_at_once_one_makes_the_report(world: World) -> None:
    for _ in range(5):
        await world.submit(symptoms=FEVER)

    await asyncio.gather(world.worker().run_once(), world.worker().run_once())

    assert len(world.reports()) == 5


async def test_a_worker_that_died_is_repeated_after_its_lease_with_one_report(
    world: World,
) -> None:
    reference = await world.submit(images=1)
    world.smear.failure = RuntimeError("killed")
    await world.worker().run_once()
    assert world.task(reference)["status"] == "in-progress"
    world.smear.failure = None

    await world.worker().run_once()
    assert world.reports() == []
    world.now += timedelta(seconds=61)
    await world.worker().run_once()

    assert world.task(reference)["status"] == "completed"
    assert len(world.reports()) == 1


async def test_a_lost_answer_to_the_last_transaction_makes_no_second_report(world: World) -> None:
    reference = await world.submit(symptoms=FEVER)
    lost = iter([True])

    def after(request: httpx.Request) -> None:
        if b"DiagnosticReport" in request.content and next(lost, False):
            raise httpx.ReadTimeout("lost")

    world.fhir.after = after
    await world.worker().run_once()

    assert world.task(reference)["status"] == "completed"
    assert len(world.reports()) == 1


async def test_an_outlived_lease_loses_to_the_one_who_came_after(world: World) -> None:
    reference = await world.submit(images=1)
    slow, fast = world.worker(), world.worker()
    fast_done = asyncio.Event()

    class SlowModel(ScriptedSmearModel):
        async def predict(self, images: Any, /) -> Any:
            world.now += timedelta(seconds=61)
            await fast.run_once()
            fast_done.set()
            return self.prediction

    slow.analysts = Analysts(SlowModel(world.smear.prediction), SafeAnalyst())
    await slow.run_once()

    assert fast_done.is_set()
    assert len(world.reports()) == 1
    assert world.task(reference)["status"] == "completed"


async def test_passing_failures_are_tried_again(world: World) -> None:
    reference = await world.submit(images=1)
    failures = iter([True, True])

    def interrupt(request: httpx.Request) -> None:
        if "Binary" in str(request.url) and next(failures, False):
            raise Refused(503, "busy")

    world.fhir.interrupt = interrupt
    await world.worker().run_once()

    assert world.task(reference)["status"] == "completed"


async def test_a_task_that_kills_its_worker_each_time_ends_as_failed(world: World) -> None:
    reference = await world.submit(images=1)
    world.smear.failure = MemoryError()

    for _ in range(world.pace.most_attempts + 1):
        await world.worker().run_once()
        world.now += timedelta(seconds=61)

    task = world.task(reference)
    assert task["status"] == "failed"
    assert f"{world.pace.most_attempts} attempts" in task["statusReason"]["text"]


async def test_one_bad_task_does_not_keep_the_others(world: World) -> None:
    bad = await world.submit(images=1)
    world.smear.failure = RuntimeError("this image")
    good = await world.submit(symptoms=FEVER)

    await world.worker().run_once()

    assert world.task(bad)["status"] == "in-progress"
    assert world.task(good)["status"] == "completed"


async def test_the_oldest_submission_comes_first() -> None:
    world = World(concurrency=1)
    world.now = NOW + timedelta(seconds=10)
    later = await world.submit(symptoms=FEVER)
    world.now = NOW
    earlier = await world.submit(symptoms=FEVER)

    await world.worker().run_once()

    ended = {
        ref: world.task(ref)["output"][0]["valueReference"]["reference"] for ref in (earlier, later)
    }
    assert int(ended[earlier].split("/")[1]) < int(ended[later].split("/")[1])


async def test_a_notification_wakes_the_worker_and_stop_lets_it_finish() -> None:
    world = World(poll_seconds=60.0)
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.05)
    reference = await world.submit(symptoms=FEVER)

    worker.wake()
    async with asyncio.timeout(5):
        while world.task(reference)["status"] != "completed":
            await asyncio.sleep(0.01)
        worker.stop()
        await running


async def test_the_slow_poll_finds_what_no_notification_told() -> None:
    world = World(poll_seconds=0.05)
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.02)
    reference = await world.submit(symptoms=FEVER)

    async with asyncio.timeout(5):
        while world.task(reference)["status"] != "completed":
            await asyncio.sleep(0.01)
        worker.stop()
        await running


async def test_a_server_that_refuses_makes_no_hot_loop() -> None:
    world = World(poll_seconds=0.05)
    await world.submit(symptoms=FEVER)

    def interrupt(request: httpx.Request) -> None:
        if request.method == "PUT":
            raise Refused(403, "not yours")

    world.fhir.interrupt = interrupt
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.4)
    worker.stop()
    await running

    assert sum(request.method == "PUT" for request in world.fhir.requests) == 1


async def test_a_worker_that_is_ended_gives_its_task_back_at_once() -> None:
    world = World()
    reference = await world.submit(images=1)
    is_reading = asyncio.Event()

    async def never_ends(_: object) -> Any:
        is_reading.set()
        await asyncio.Event().wait()

    world.smear.predict = never_ends  # type: ignore[method-assign]
    running = asyncio.create_task(world.worker().run())
    await is_reading.wait()
    assert world.task(reference)["status"] == "in-progress"
    running.cancel()
    await asyncio.wait([running])
    back = world.task(reference)
    assert (back["status"], back.get("owner"), tasks.attempts(back)) == ("requested", None, 0)
    world.smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    await world.worker().run_once()  # no lease has to run out
    assert world.task(reference)["status"] == "completed"
    assert len(world.reports()) == 1
