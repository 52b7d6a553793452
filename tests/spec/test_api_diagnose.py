"""`POST /api/diagnose`: the seed's fields, through the same resources as every other road."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image as Picture

from fhir_server.fhir.outcome import Issue, login_required
from fhir_server.fhir.withdrawn import NOT_PERMITTED, withdrawn_task
from fhir_server.validation.validate import Validator
from models import diagnosis_answer
from models.analysis import Analysts
from models.diagnose import Diagnosis, diagnose_router, refusals_to
from models.fhir_client import CallerToken, FhirClient, FhirFailure
from models.malaria.predict import check_image
from models.malaria.reading import CellAnswer
from models.result_event import RefusedCall
from models.symptom_report import SYMPTOMS
from models.symptoms.red_flags import SafeAnalyst
from models.tasks import failed
from models.wording import NO_OPINION
from models.worker import Pace, Worker
from tests.fhir_double import BASE, FhirDouble, Refused
from tests.smear_predictions import ScriptedSmearModel, one_cell, refused

FORM = {"age": "30", "weight": "60", "height": "170", "symptoms": "fever and chills for two days"}
BEARER = {"Authorization": "Bearer good"}


def picture(format_: str = "PNG", size: tuple[int, int] = (120, 120)) -> bytes:
    content = io.BytesIO()
    Picture.effect_noise(size, 60).convert("RGB").save(content, format_)
    return content.getvalue()


@dataclass(frozen=True)
class Known:
    """Whose the token is."""

    subject: str
    client_id: str


class World:
    """The API before a FHIR server with a worker behind it."""

    def __init__(self) -> None:
        self.fhir = FhirDouble()
        self.smear = ScriptedSmearModel(one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
        self.refusals: list[RefusedCall] = []
        client = FhirClient(self.fhir.client(), BASE, CallerToken(None))
        self.worker = Worker(client, Analysts(self.smear, SafeAnalyst()), Pace(poll_seconds=0.02))
        self.diagnosis = Diagnosis(
            client, check_image, self._authenticate, self._refused, wait_seconds=10.0
        )

    def http(self) -> httpx.AsyncClient:
        app = FastAPI()
        app.include_router(diagnose_router(self.diagnosis))
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=BEARER)

    async def _authenticate(self, authorization: str | None) -> Known:
        if authorization != "Bearer good":
            raise login_required("The token is not known here")
        return Known("dr-amina", "clinic")

    async def _refused(self, call: RefusedCall) -> None:
        self.refusals.append(call)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.worker.run())
    yield made
    made.worker.stop()
    await running


async def post(world: World, files: Any = None, **changes: str | None) -> httpx.Response:
    form = {k: v for k, v in {**FORM, **changes}.items() if v is not None}
    # Without a file httpx would send no multipart form; browsers send an empty file field.
    parts = files or [("imageUpload", ("", b""))]
    async with world.http() as http:
        return await http.post("/api/diagnose", data=form, files=parts)


def image(content: bytes, name: str = "cell.png", type_: str = "image/png") -> Any:
    return [("imageUpload", (name, content, type_))]


async def test_symptoms_alone_are_answered_with_the_seeds_fields(world: World) -> None:
    answer = await post(world)

    body = answer.json()
    assert answer.status_code == 200
    assert {
        "diagnosis",
        "diagnosis_id",
        "confidence_score",
        "image_analysis_result",
        "timestamp",
        "status",
        "recommendations",
        "links",
    } <= body.keys()
    assert body["status"] == "completed"
    assert body["image_analysis_result"] is None
    assert body["confidence_score"] is None
    assert f"DiagnosticReport/{body['diagnosis_id']}" in world.fhir.resources
    assert any("rapid diagnostic test" in line for line in body["recommendations"])


async def test_an_image_adds_its_result_and_confidence(world: World) -> None:
    body = (await post(world, image(picture()))).json()

    assert body["confidence_score"] == 0.97
    assert "Parasites suspected in this cell image" in body["image_analysis_result"]
    assert body["links"]["report"] == f"{BASE}/DiagnosticReport/{body['diagnosis_id']}"


async def test_several_images_go_into_one_task(world: World) -> None:
    await post(world, image(picture()) + image(picture("JPEG"), "b.jpg", "image/jpeg"))

    assert len(world.smear.seen) == 2
    assert len(world.fhir.of_type("Task")) == 1


async def test_an_image_that_is_no_smear_is_told_and_the_symptoms_still_answered(
    world: World,
) -> None:
    world.smear.prediction = refused()

    answer = await post(world, image(picture()))

    assert answer.status_code == 200
    assert "refused (focus)" in answer.json()["image_analysis_result"]
    assert answer.json()["confidence_score"] is None
    assert answer.json()["diagnosis"].startswith(f"Images: {NO_OPINION} ")
    assert "No danger sign" in answer.json()["diagnosis"]


def test_an_image_that_no_approved_version_could_read_is_told_before_the_symptoms() -> None:
    found = symptoms_answered(media=[{"link": {"reference": "Media/1"}}])

    assert found["diagnosis"] == f"Images: {NO_OPINION} No danger sign in what was entered."
    assert symptoms_answered()["diagnosis"] == "No danger sign in what was entered."


def symptoms_answered(**report: Any) -> Any:
    said = {"coding": [{"code": "routine"}], "text": "No danger sign in what was entered"}
    observation = {"code": {"coding": [SYMPTOMS]}, "valueCodeableConcept": said}
    task = {"id": "1", "status": "completed", "for": {"reference": "Patient/1"}}
    drafted = {"id": "1", "issued": "2026-11-24", "status": "preliminary", "conclusion": "x"}
    both = {**drafted, **report}
    return diagnosis_answer.answer(task, both, observations=[observation], base_url=BASE)


async def test_danger_signs_in_the_text_make_an_emergency(world: World) -> None:
    body = (await post(world, symptoms="fever, had convulsions")).json()

    assert body["urgency"] == "emergency"
    assert "Emergency" in body["recommendations"][0]


async def test_the_patient_carries_the_name_and_the_age_stays_an_observation(world: World) -> None:
    await post(world, name="Ada Lovelace", bloodGroup="O+", sex="female", temperature="38.5")

    (patient,) = world.fhir.of_type("Patient")
    codes = {o["code"]["coding"][0]["code"] for o in world.fhir.of_type("Observation")}
    assert patient["name"] == [{"text": "Ada Lovelace"}]
    assert "birthDate" not in patient
    assert {"30525-0", "882-1", "8310-5", "29463-7", "8302-2"} <= codes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"age": None}, "age: is required"),
        ({"symptoms": "  "}, "symptoms: is required"),
        ({"age": "131"}, "age: must lie between 0 and 130"),
        ({"age": "-1"}, "age"),
        ({"age": "nan"}, "age"),
        ({"age": "thirty"}, "age: is no number"),
        ({"weight": "0"}, "weight"),
        ({"height": "300"}, "height"),
        ({"temperature": "50"}, "temperature"),
        ({"blood_group": "C+"}, "blood_group: must be one of"),
        ({"sex": "x"}, "sex"),
        ({"onset": "2999-01-01"}, "onset: lies in the future"),
        ({"onset": "yesterday"}, "onset: must be a date"),
        ({"colour": "red"}, "colour: is no field of this form"),
        ({"blood_group": "A+", "bloodGroup": "B+"}, "is given more than once"),
        ({"symptoms": "x" * 5001}, "symptoms: is longer than"),
    ],
)
async def test_a_bad_field_is_refused_by_name_and_changes_nothing(
    world: World, changes: dict[str, str | None], named: str
) -> None:
    answer = await post(world, **changes)

    outcome = answer.json()
    assert answer.status_code == 400
    assert outcome["resourceType"] == "OperationOutcome"
    assert any(named in issue["diagnostics"] for issue in outcome["issue"])
    assert world.fhir.resources == {}
    assert [call.status for call in world.refusals] == [400]


async def test_a_refused_call_leaves_a_valid_audit_event(world: World) -> None:
    record = refusals_to(world.diagnosis.fhir, lambda: datetime(2026, 11, 24, tzinfo=UTC))

    await record(RefusedCall(400, "age: is required", None, "192.0.2.7"))

    (event,) = world.fhir.of_type("AuditEvent")
    assert event["outcomeDesc"] == "400 age: is required"
    assert Validator().issues(event) == ()


async def test_a_refused_field_may_have_any_name(world: World) -> None:
    record = refusals_to(world.diagnosis.fhir, lambda: datetime(2026, 11, 24, tzinfo=UTC))

    await record(RefusedCall(400, "a\x14b\ud85a: is no field of this form", None, "192.0.2.7"))

    (event,) = world.fhir.of_type("AuditEvent")
    assert event["outcomeDesc"] == "400 a\ufffdb\ufffd: is no field of this form"
    assert Validator().issues(event) == ()


async def test_all_bad_fields_are_told_at_once(world: World) -> None:
    answer = await post(world, age="200", weight="-3", colour="red")

    assert {issue["expression"][0] for issue in answer.json()["issue"]} == {
        "age",
        "weight",
        "colour",
    }


@pytest.mark.parametrize(
    ("content", "type_", "status"),
    [
        (b"%PDF-1.7 not an image at all, but long enough to be looked at", "image/png", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "image/svg+xml", 415),
        (picture()[:200], "image/png", 422),
    ],
)
async def test_what_is_no_readable_image_is_refused(
    world: World, content: bytes, type_: str, status: int
) -> None:
    answer = await post(world, image(content, type_=type_))

    assert answer.status_code == status
    assert "imageUpload" in answer.json()["issue"][0]["diagnostics"]
    assert world.fhir.resources == {}


async def test_more_than_sixteen_megabytes_are_refused(world: World) -> None:
    answer = await post(world, image(b"\x89PNG" + bytes(16 * 1024 * 1024)))

    assert answer.status_code == 413
    assert world.fhir.resources == {}


@pytest.mark.parametrize("authorization", ["", "Bearer bad", "Basic Z29vZA==", "Bearer "])
async def test_without_a_good_token_nothing_is_read(world: World, authorization: str) -> None:
    async with world.http() as http:
        answer = await http.post(
            "/api/diagnose", data=FORM, headers={"Authorization": authorization}
        )

    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers
    assert world.refusals[0].client_address == "192.0.2.7"
    assert world.fhir.resources == {}


async def test_the_callers_own_token_goes_to_the_fhir_server(world: World) -> None:
    await post(world)

    sent = [r for r in world.fhir.requests if r.headers.get("Authorization") == "Bearer good"]
    assert any(r.method == "POST" for r in sent)


async def test_a_refusal_of_the_fhir_server_is_passed_on(world: World) -> None:
    def interrupt(request: httpx.Request) -> None:
        if request.method == "POST":
            raise Refused(403, "The scopes do not allow to create a Patient", "forbidden")

    world.fhir.interrupt = interrupt
    answer = await post(world)

    assert answer.status_code == 403
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "forbidden"
    assert "scopes" in issue["diagnostics"]


async def test_a_form_without_an_image_may_be_urlencoded_as_with_the_seed(world: World) -> None:
    async with world.http() as http:
        answer = await http.post("/api/diagnose", data=FORM)

    assert answer.status_code == 200


async def test_text_in_the_place_of_an_image_is_refused(world: World) -> None:
    async with world.http() as http:
        answer = await http.post("/api/diagnose", data={**FORM, "imageUpload": "cell.png"})

    assert answer.status_code == 400
    assert "imageUpload: must be a file" in answer.text


async def test_another_content_type_is_415(world: World) -> None:
    async with world.http() as http:
        answer = await http.post("/api/diagnose", json=FORM)

    assert answer.status_code == 415


async def test_a_store_that_is_away_for_a_while_is_waited_for_once_the_task_is_accepted(
    world: World,
) -> None:
    """A 503 would say that nothing was done, and the caller would ask for a second analysis."""
    left = 5

    def interrupt(request: httpx.Request) -> None:
        nonlocal left
        if request.method == "GET" and "/Task/" in request.url.path and left:
            left -= 1
            raise Refused(503, "the store can't be reached now", "transient")

    world.fhir.interrupt = interrupt
    answer = await post(world)

    assert (answer.status_code, left) == (200, 0)
    assert len(world.fhir.of_type("Task")) == 1


async def test_who_asks_too_often_while_waiting_is_told_where_the_result_will_be(
    world: World,
) -> None:
    asked = 0

    def interrupt(request: httpx.Request) -> None:
        nonlocal asked
        if request.method == "GET":
            asked += 1
            raise Refused(429, "too many requests", "throttled")

    world.fhir.interrupt = interrupt
    answer = await post(world)

    assert (answer.status_code, asked) == (202, 1)


async def test_a_repeat_submits_nothing_and_so_is_no_further_diagnosis(world: World) -> None:
    async with world.http() as http:
        http.headers["Idempotency-Key"] = "once"
        first = await http.post("/api/diagnose", data=FORM)
        again = await http.post("/api/diagnose", data=FORM)

    assert again.json() == first.json()
    sent = [json.loads(each.content) for each in world.fhir.requests if each.method == "POST"]
    submitted = [each for each in sent if each["entry"][0]["request"]["url"] == "Patient"]
    assert len(submitted) == 1


async def test_a_caller_who_may_not_search_tasks_may_send_a_key(world: World) -> None:
    def interrupt(request: httpx.Request) -> None:
        if request.url.path.endswith("/Task") and "identifier" in request.url.params:
            raise Refused(403, "The scopes do not allow to search Task", "forbidden")

    world.fhir.interrupt = interrupt
    async with world.http() as http:
        answer = await http.post("/api/diagnose", data=FORM, headers={"Idempotency-Key": "1"})

    assert answer.status_code == 200


async def test_what_goes_wrong_inside_the_server_is_told_at_once(world: World) -> None:
    def interrupt(request: httpx.Request) -> None:
        if request.method == "GET":
            raise Refused(500, "internal error; request id 1", "exception")

    world.fhir.interrupt = interrupt
    assert (await post(world)).status_code == 500


async def test_a_store_that_stays_away_leaves_word_of_where_the_result_will_be() -> None:
    world = World()
    world.diagnosis = replace(world.diagnosis, wait_seconds=0.1)

    def interrupt(request: httpx.Request) -> None:
        if request.method == "GET":
            raise Refused(503, "the store can't be reached now", "transient")

    world.fhir.interrupt = interrupt
    answer = await post(world)

    assert (answer.status_code, answer.json()["status"]) == (202, "requested")


async def test_a_slow_analysis_is_answered_with_where_to_look() -> None:
    world = World()
    world.diagnosis = Diagnosis(
        world.diagnosis.fhir, check_image, world._authenticate, world._refused, wait_seconds=0.1
    )

    answer = await post(world)

    assert answer.status_code == 202
    assert answer.json()["status"] == "requested"
    assert answer.json()["links"]["task"].startswith(f"{BASE}/Task/")


async def test_a_process_that_ends_lets_nobody_wait_and_says_where_to_look() -> None:
    world, is_ending = World(), False
    world.diagnosis = replace(world.diagnosis, wait_seconds=60.0, is_ending=lambda: is_ending)
    waiting = asyncio.create_task(post(world))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    is_ending = True

    answer = await waiting

    assert (answer.status_code, answer.json()["status"]) == (202, "requested")


async def test_a_refusal_that_cannot_be_recorded_is_told_all_the_same(world: World) -> None:
    async def away(_: RefusedCall) -> None:
        raise FhirFailure(503, "the store can't be reached now")

    world.diagnosis = replace(world.diagnosis, refused=away)

    answer = await post(world, age="old")

    assert answer.status_code == 400


async def test_an_analysis_that_was_cancelled_is_answered_with_its_reason_at_once() -> None:
    world = World()
    world.diagnosis = replace(world.diagnosis, wait_seconds=60.0)
    waiting = asyncio.create_task(post(world))
    async with asyncio.timeout(10):
        while not (tasks := world.fhir.of_type("Task")):
            await asyncio.sleep(0.02)
        world.fhir.add(withdrawn_task(tasks[0], datetime.now(UTC)))
        answer = await waiting

    assert answer.status_code == 422
    issue = answer.json()["issue"][0]
    assert (issue["code"], issue["diagnostics"]) == ("suppressed", NOT_PERMITTED)


@pytest.mark.parametrize(("code", "status"), [("suppressed", 422), ("forbidden", 500)])
async def test_an_analysis_that_failed_is_answered_with_its_own_reason(
    code: str, status: int
) -> None:
    world = World()
    waiting = asyncio.create_task(post(world))
    async with asyncio.timeout(10):
        while not (tasks := world.fhir.of_type("Task")):
            await asyncio.sleep(0.02)
        world.fhir.add(failed(tasks[0], [Issue("error", code, "for a reason")], datetime.now(UTC)))
        answer = await waiting

    assert answer.status_code == status
    issue = answer.json()["issue"][0]
    assert (issue["code"], issue["diagnostics"]) == (code, "for a reason")
