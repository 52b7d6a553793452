"""Bad input to the composed service: the right 4xx that names the cause, an AuditEvent, and
nothing changed."""

import asyncio
import io
import uuid
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image as Picture

from deploy.demo.loading import demo_tokens
from fhir_server.fhir.assessment import Image, Intake, Parties, submission
from fhir_server.system import new_id, utc_now
from tests.composed_world import ORIGIN, Json, Whole, observation, picture, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/fhir+json"}
FORM = {"age": "30", "weight": "60", "height": "170", "symptoms": "fever and chills"}
VALID = b'{"resourceType":"Patient","active":true}'
COUNTED = ("Patient", "Observation", "Task", "Media")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("bad")
    async with whole(folder, max_body_bytes="300000") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(service: Whole) -> AsyncIterator[None]:
    """What is counted before the test is counted again after it."""
    before = [await service.count(type_) for type_ in COUNTED]
    yield
    assert [await service.count(type_) for type_ in COUNTED] == before


async def event_of(service: Whole, request_id: str) -> Json:
    """The AuditEvent of a request, once it is sealed."""
    for _ in range(200):
        if events := await service.events(request_id):
            return events[0]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no AuditEvent of {request_id}")


@dataclass(frozen=True)
class Bad:
    """A FHIR request, and what its refusal must be. `token` None sends none."""

    method: str
    path: str
    status: int
    names: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    token: str | None = ""


def posted(body: bytes, status: int, names: str, **more: Any) -> Bad:
    return Bad("POST", "/fhir/Patient", status, names, body, **more)


FHIR = {
    "an unknown field": posted(b'{"resourceType":"Patient","colour":"red"}', 400, "colour"),
    "an unknown parameter": Bad("GET", "/fhir/Patient?colour=red", 400, "colour"),
    "an unknown modifier": Bad("GET", "/fhir/Patient?name:red=x", 400, "red"),
    "an unknown type": Bad("GET", "/fhir/Patent/1", 404, "Patent"),
    "broken JSON": posted(b'{"resourceType":', 400, "JSON"),
    "a duplicate key": posted(
        b'{"resourceType":"Patient","active":true,"active":false}', 400, "active"
    ),
    "too large": posted(
        b'{"resourceType":"Patient","language":"' + b"a" * 300_000 + b'"}', 413, "300000"
    ),
    "another content type": posted(
        VALID, 415, "text/plain", headers={"Content-Type": "text/plain"}
    ),
    "no token": posted(VALID, 401, "token", token=None),
    "a token of nobody": posted(VALID, 401, "not one of this server", token="a.b.c"),
    "an AuditEvent replaced": Bad(
        "PUT", "/fhir/AuditEvent/1", 403, "AuditEvent", b'{"resourceType":"AuditEvent","id":"1"}'
    ),
    "an AuditEvent deleted": Bad("DELETE", "/fhir/AuditEvent/1", 405, "AuditEvent"),
}


@pytest.mark.parametrize("case", FHIR)
@pytest.mark.usefixtures("unchanged")
async def test_fhir_refuses(service: Whole, case: str) -> None:
    bad, request_id = FHIR[case], f"bad-{uuid.uuid4().hex}"
    answer = await service.send(
        bad.method,
        bad.path,
        bad.token,
        content=bad.body,
        headers={**bad.headers, "X-Request-Id": request_id},
    )
    assert answer.status_code == bad.status, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert bad.names in answer.text
    event = await event_of(service, request_id)
    assert event["outcome"] == "4"
    assert event["outcomeDesc"].startswith(str(bad.status))


@pytest.mark.usefixtures("unchanged")
async def test_half_a_transaction_is_none(service: Whole) -> None:
    entries = [
        {"resource": each, "request": {"method": "POST", "url": "Observation"}}
        for each in (observation(), observation(status="red"))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await service.send("POST", "/fhir", json=bundle, headers=JSON)
    assert answer.status_code == 400
    assert "Bundle.entry[1].resource.status" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/fhir/AuditEvent", 403),
        ("GET", "/fhir/AuditEvent/1", 403),
        ("PUT", "/fhir/AuditEvent/1", 403),
        ("DELETE", "/fhir/AuditEvent/1", 405),
    ],
)
async def test_a_doctor_neither_reads_nor_changes_audit_events(
    service: Whole, method: str, path: str, status: int
) -> None:
    token = await service.user_token("dr.amina")
    body = b'{"resourceType":"AuditEvent","id":"1"}' if method == "PUT" else b""
    answer = await service.send(method, path, token, content=body, headers=JSON)
    assert answer.status_code == status, answer.text


async def test_not_even_its_own_writer_changes_an_audit_event(service: Whole) -> None:
    """The demonstration's service may write AuditEvents under ids of its own (scope `c`)."""
    token = await demo_tokens(service.http, ORIGIN, "system/AuditEvent.cruds").token()
    request_id = f"bad-{uuid.uuid4().hex}"
    await service.send("GET", "/fhir/Patient/ward-1", headers={"X-Request-Id": request_id})
    event = await event_of(service, request_id)
    path = f"/fhir/AuditEvent/{event['id']}"
    changed = {name: value for name, value in event.items() if name != "meta"} | {
        "outcomeDesc": "changed"
    }
    for method in ("PUT", "DELETE"):
        body = {"json": changed} if method == "PUT" else {}
        answer = await service.send(method, path, token, headers=JSON, **body)
        assert answer.status_code in (403, 405), answer.text
    assert (await service.send("GET", path)).json() == event


OAUTH: dict[str, tuple[dict[str, str], str]] = {
    "no grant type": ({}, "invalid_request"),
    "an unknown grant type": ({"grant_type": "password"}, "invalid_client"),
    "a guessed code": (
        {"grant_type": "authorization_code", "code": "guessed", "code_verifier": "x" * 43},
        "invalid_client",
    ),
    "no assertion": ({"grant_type": "client_credentials", "scope": "system/*.r"}, "invalid_client"),
}


@pytest.mark.parametrize("case", OAUTH)
async def test_the_token_endpoint_refuses(service: Whole, case: str) -> None:
    form, error = OAUTH[case]
    request_id = f"bad-{uuid.uuid4().hex}"
    answer = await service.http.post("/auth/token", data=form, headers={"X-Request-Id": request_id})
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] == error
    event = await event_of(service, request_id)
    assert event["outcome"] == "4"


async def test_an_unknown_client_is_shown_a_page_and_not_redirected(service: Whole) -> None:
    asked = {"response_type": "code", "client_id": "nobody", "redirect_uri": "https://evil.example"}
    answer = await service.http.get("/auth/authorize", params=asked)
    assert answer.status_code == 400
    assert "location" not in answer.headers


def bomb() -> bytes:
    """A PNG of a few kilobytes that would be 900 million pixels when decoded."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    side = 30_000
    head = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(side // 8 + 1) * 200)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animated(form: str) -> bytes:
    frames = [Picture.new("RGB", (120, 120), colour) for colour in ("red", "blue")]
    content = io.BytesIO()
    frames[0].save(content, form, save_all=True, append_images=frames[1:])
    return content.getvalue()


IMAGES = {
    "corrupt": (picture()[:-400], "image/png", 422, "corrupt"),
    "huge when decoded": (bomb(), "image/png", 422, "pixels"),
    "an animated GIF": (animated("GIF"), "image/gif", 415, "type"),
    "an animated PNG": (animated("PNG"), "image/png", 422, "animated"),
    "mislabelled": (picture("JPEG"), "image/png", 415, "content-type"),
    "no image at all": (b"%PDF-1.7 not an image", "image/png", 415, "type"),
    "too large": (b"\x89PNG\r\n\x1a\n" + bytes(16 * 1024 * 1024), "image/png", 413, "16 MB"),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.usefixtures("unchanged")
async def test_diagnose_refuses_an_image(service: Whole, case: str) -> None:
    content, kind, status, names = IMAGES[case]
    files = {"imageUpload": ("smear.png", content, kind)}
    answer = await service.send("POST", "/api/diagnose", data=FORM, files=files)
    await refused(service, answer, status, names)


FORMS: dict[str, tuple[dict[str, str], int, str]] = {
    "an unknown field": (FORM | {"colour": "red"}, 400, "colour"),
    "an age of 200": (FORM | {"age": "200"}, 400, "age"),
    "no symptoms": ({name: FORM[name] for name in ("age", "weight", "height")}, 400, "symptoms"),
    "no number": (FORM | {"weight": "heavy"}, 400, "weight"),
    "an unknown blood group": (FORM | {"blood_group": "C"}, 400, "blood_group"),
}


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.usefixtures("unchanged")
async def test_diagnose_refuses_a_form(service: Whole, case: str) -> None:
    form, status, names = FORMS[case]
    answer = await service.send("POST", "/api/diagnose", data=form)
    await refused(service, answer, status, names)


@pytest.mark.parametrize("token", [None, "a.b.c"])
@pytest.mark.usefixtures("unchanged")
async def test_diagnose_refuses_a_stranger(service: Whole, token: str | None) -> None:
    answer = await service.send("POST", "/api/diagnose", token, data=FORM)
    await refused(service, answer, 401, "token")


async def refused(service: Whole, answer: Any, status: int, names: str) -> None:
    """The refusal is an OperationOutcome that names the cause, and an AuditEvent tells of it."""
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert names in answer.text
    query = {"subtype": "diagnose", "outcome": "4", "_sort": "-_lastUpdated", "_count": "1"}
    for _ in range(100):
        found = await service.send("GET", "/fhir/AuditEvent", params=query)
        entries = found.json().get("entry", ())
        if entries and entries[0]["resource"]["outcomeDesc"].startswith(str(status)):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no AuditEvent of the refusal")


async def test_an_image_that_is_no_smear_fails_the_task_that_has_nothing_else(
    service: Whole,
) -> None:
    images = [Image(picture(size=(240, 180)), "image/png", "holiday.png")]
    bundle = submission(Intake(utc_now(), images=images), Parties("Patient/ward-2"), new_id)
    headers = {**JSON, "Prefer": "return=representation"}
    made = await service.send("POST", "/fhir", json=bundle, headers=headers)
    task = made.json()["entry"][-1]["resource"]
    for _ in range(600):
        task = (await service.send("GET", f"/fhir/Task/{task['id']}")).json()
        if task["status"] not in ("requested", "in-progress"):
            break
        await asyncio.sleep(0.05)
    assert task["status"] == "failed"
    (outcome,) = task["contained"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["diagnostics"] == task["statusReason"]["text"]
    reports = await service.send("GET", "/fhir/DiagnosticReport?patient=ward-2")
    assert reports.json().get("entry", []) == []
    events = await service.send("GET", f"/fhir/AuditEvent?entity=Task/{task['id']}&outcome=4")
    assert events.json()["entry"][0]["resource"]["subtype"][0]["code"] == "ai-refusal"
