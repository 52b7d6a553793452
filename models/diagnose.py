"""`POST /api/diagnose`, the seed's own API: a form in, the finished analysis out.

It acts in the caller's name: the bearer token goes on to the FHIR server, which decides. The
submission, the Subscription and the worker are those of every other road; this one waits.
Refusals are OperationOutcomes (application/fhir+json) with the HTTP status that fits.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from fhir_server.fhir import codec
from fhir_server.fhir.assessment import OUTPUT_REPORT, Image, Parties, parts, submission
from fhir_server.fhir.idempotency_key import HEADER, REPLAYED
from fhir_server.fhir.outcome import (
    FhirError,
    Issue,
    login_required,
    operation_outcome,
    too_large,
    unparsable,
)
from models.diagnosis_answer import answer, pending_answer
from models.diagnosis_form import (
    IMAGE_FIELD,
    CheckImage,
    form_schema,
    patient_of,
    read_form,
    read_image,
)
from models.diagnosis_repeat import Caller, Repeatable, repeatable
from models.fhir_client import CallerToken, FhirClient, FhirFailure
from models.malaria.reading import SmearImage
from models.result_event import RefusedCall, refused_call_event
from models.tasks import OUTCOME_ID

Resource = dict[str, Any]

_FORM_BYTES = 256 * 1024  # what the text fields and the multipart frame may take
# The seed read either; a form without an image is often sent as the second.
_FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
_CALLED_OFF = frozenset({"cancelled", "rejected", "entered-in-error"})
_ENDED = _CALLED_OFF | {"completed", "failed"}
_KEY_IS_USED, _TOO_MANY = 422, 429
_LOOK_SECONDS = (0.0, 0.2, 0.5, 1.0)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.05, 0.25


@dataclass(frozen=True)
class Diagnosis:
    """What the endpoint needs. `authenticate` raises FhirError 401 for a token that is not good;
    `refused` records a refused call. `fhir` is used with the caller's own token. Once `is_ending`
    nobody is kept waiting: the answer says where the result will be. For `key_hours` the server
    remembers an Idempotency-Key."""

    fhir: FhirClient
    check_image: CheckImage
    authenticate: Callable[[str | None], Awaitable[Caller]]
    refused: Callable[[RefusedCall], Awaitable[None]]
    is_open_access: bool = False
    most_upload_bytes: int = 16 * 1024 * 1024
    wait_seconds: float = 60.0
    key_hours: int = 24
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    is_ending: Callable[[], bool] = lambda: False


def refusals_to(
    fhir: FhirClient, clock: Callable[[], datetime]
) -> Callable[[RefusedCall], Awaitable[None]]:
    """A recorder of refused calls that writes AuditEvents with the service's own client."""

    async def record(call: RefusedCall) -> None:
        event = refused_call_event(call, clock())
        entry = {"resource": event, "request": {"method": "POST", "url": "AuditEvent"}}
        await fhir.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    return record


def diagnose_router(diagnosis: Diagnosis) -> APIRouter:
    """The router with the one route `POST /api/diagnose`."""
    router = APIRouter()

    @router.post(
        "/api/diagnose", openapi_extra=form_schema(), summary="Analyse symptoms and images"
    )
    async def diagnose(request: Request) -> Response:
        authorization = request.headers.get("Authorization")
        try:
            return await _diagnose(diagnosis, request, authorization)
        except FhirError as error:
            address = request.client.host if request.client else None
            call = RefusedCall(error.status, str(error), authorization, address)
            with suppress(FhirFailure):  # the caller is refused either way, and hears why
                await diagnosis.refused(call)
            return _outcome(error)
        except FhirFailure as failure:
            # The server that refused has recorded it already.
            wait = {"Retry-After": failure.retry_after} if failure.retry_after else {}
            issues = _issues(failure.outcome) or (
                Issue("error", "processing", failure.text or "the FHIR server refused"),
            )
            return _outcome(FhirError(failure.status, issues, wait))

    return router


async def _diagnose(diagnosis: Diagnosis, request: Request, authorization: str | None) -> Response:
    fhir, caller = await _in_callers_name(diagnosis, authorization)
    pairs, images = await _read_request(diagnosis, request)
    form = read_form(pairs, images, diagnosis.clock())
    patient = f"urn:uuid:{uuid.uuid4()}"
    bundle = submission(form.intake, Parties(patient), uuid.uuid4)
    entry = {
        "fullUrl": patient,
        "resource": patient_of(form),
        "request": {"method": "POST", "url": "Patient"},
    }
    bundle["entry"].insert(0, entry)
    since = form.intake.authored - timedelta(hours=diagnosis.key_hours)
    call = repeatable(request.headers.get(HEADER), caller, (pairs, images), since)
    if call is None:
        return await _result(diagnosis, fhir, _made(await fhir.transaction(bundle)))
    task, is_repeat = await _once(fhir, bundle, call)
    response = await _result(diagnosis, fhir, task)
    response.headers.update(REPLAYED if is_repeat else {})
    return response


async def _once(fhir: FhirClient, bundle: Resource, call: Repeatable) -> tuple[Resource, bool]:
    """The Task of the submission, and whether a call before this one made it. Of several at once
    the server refuses the key to all but one, since each submission says another time and other
    names."""
    if (earlier := await call.earlier(fhir)) is not None:
        return earlier, True
    bundle["entry"][-1]["resource"]["identifier"] = [call.identifier]
    try:
        return _made(await fhir.transaction(bundle, call.key)), False
    except FhirFailure as failure:
        if failure.status != _KEY_IS_USED:
            raise
        # Where another has it, a majority may not know of its Task yet.
        for seconds in _LOOK_SECONDS:
            await asyncio.sleep(seconds)
            if (earlier := await call.earlier(fhir)) is not None:
                return earlier, True
        raise


async def _in_callers_name(
    diagnosis: Diagnosis, authorization: str | None
) -> tuple[FhirClient, Caller | None]:
    if diagnosis.is_open_access and authorization is None:
        return diagnosis.fhir.with_tokens(CallerToken(None)), None
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.casefold() != "bearer" or not token.strip():
        raise login_required("A bearer token is needed")
    caller = await diagnosis.authenticate(authorization)
    return diagnosis.fhir.with_tokens(CallerToken(token.strip())), caller


async def _read_request(
    diagnosis: Diagnosis, request: Request
) -> tuple[list[tuple[str, str]], list[Image]]:
    """The text fields as sent, and the images checked; a form field in the wrong place stays."""
    sent_as = request.headers.get("Content-Type", "").partition(";")[0].strip().casefold()
    if sent_as not in _FORM_TYPES:
        issue = Issue("error", "not-supported", "The body must be multipart/form-data")
        raise FhirError(415, (issue,))
    bounded = _bounded(request, diagnosis.most_upload_bytes + _FORM_BYTES)
    try:
        async with bounded.form(max_files=25, max_fields=50) as form:
            return await _parts(diagnosis, form)
    except HTTPException as wrong:
        raise unparsable(f"The form can't be read: {wrong.detail}") from wrong


async def _parts(diagnosis: Diagnosis, form: FormData) -> tuple[list[tuple[str, str]], list[Image]]:
    uploads = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
    pairs = [
        (name, part)
        for name, part in form.multi_items()
        if isinstance(part, str) and (part or name != IMAGE_FIELD)
    ]
    if sum(part.size or 0 for _, part in uploads) > diagnosis.most_upload_bytes:
        raise _too_large(diagnosis.most_upload_bytes)
    images = []
    for name, part in uploads:
        if name != IMAGE_FIELD:
            pairs.append((name, part.filename or "a file"))
        elif part.size or part.filename:  # an empty file field is how browsers say "none"
            upload = SmearImage(await part.read(), part.content_type, part.filename)
            images.append(await asyncio.to_thread(read_image, upload, diagnosis.check_image))
    return pairs, images


def _bounded(request: Request, most: int) -> Request:
    """The same request, refused above `most` bytes, by its announced length or as it comes in."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most - _FORM_BYTES)
    receive, seen = request.receive, 0

    async def counted() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most - _FORM_BYTES)
        return message

    return Request(request.scope, counted)


def _too_large(most: int) -> FhirError:
    return too_large(f"{IMAGE_FIELD}: more than {most // (1024 * 1024)} MB")


async def _result(diagnosis: Diagnosis, fhir: FhirClient, task: Resource) -> Response:
    """The answer when the Task has ended; where it will be, when the waiting time is over. A store
    that can't be asked meanwhile is waited for: the Task is accepted, and no refusal is true."""
    end, wait = time.monotonic() + diagnosis.wait_seconds, _FIRST_WAIT_SECONDS
    while True:
        try:
            task = await fhir.read(f"Task/{task['id']}")
            if task["status"] in _ENDED:
                return await _answer(fhir, task)
        except FhirFailure as failure:
            # What went wrong inside is told at once.
            if not failure.is_transient or failure.status == 500 or "status" not in task:
                raise
            if failure.status == _TOO_MANY:
                end = 0.0  # who asks on is refused again
        if diagnosis.is_ending() or time.monotonic() >= end:
            return _json(202, pending_answer(task, fhir.base_url))
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)


async def _answer(fhir: FhirClient, task: Resource) -> Response:
    if task["status"] != "completed":
        raise _unanswered(task)
    report = await fhir.read(parts(task.get("output", ()), OUTPUT_REPORT)[0])
    observations = [await fhir.read(result["reference"]) for result in report["result"]]
    return _json(200, answer(task, report, observations=observations, base_url=fhir.base_url))


def _unanswered(task: Resource) -> FhirError:
    """Why there is no result, as the Task tells it: 422 when it was called off or the patient does
    not permit it, else 500."""
    is_called_off = task["status"] in _CALLED_OFF
    code = "business-rule" if is_called_off else "exception"
    reason = task.get("statusReason", {}).get("text", f"The analysis is {task['status']}")
    told = next((each for each in task.get("contained", ()) if each["id"] == OUTCOME_ID), None)
    issues = _issues(told) or (Issue("error", code, reason),)
    is_suppressed = any(issue.code == "suppressed" for issue in issues)
    return FhirError(422 if is_called_off or is_suppressed else 500, issues)


def _issues(outcome: Resource | None) -> tuple[Issue, ...]:
    """What an OperationOutcome says."""
    said = (outcome or {}).get("issue", ())
    return tuple(
        Issue(each["severity"], each["code"], str(each.get("diagnostics", each["code"])))
        for each in said
    )


def _made(response: Resource) -> Resource:
    """The Task of a submission, its last entry; its id alone where the caller may not read it."""
    entry = response["entry"][-1]
    id_ = str(entry["response"]["location"]).split("/_history/")[0].rpartition("/")[2]
    task: Resource = entry.get("resource", {"id": id_})
    return task


def _json(status: int, content: Resource) -> Response:
    return Response(codec.encode(content), status, media_type="application/json")


def _outcome(error: FhirError) -> Response:
    return JSONResponse(
        operation_outcome(error.issues),
        error.status,
        headers=dict(error.headers),
        media_type="application/fhir+json",
    )
