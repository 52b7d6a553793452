"""`/launch`: an EHR asks for a launch context (our own interface; SMART leaves this step open).

POST JSON with the EHR's access token: `client_id` is the app; `patient`, `encounter`,
`need_patient_banner`, `fhirContext`, `intent`, `smart_style_url` and `tenant`, each optional, are
what the app is told in the token response. Answers 201 with the handle and the address to open.
What is told is checked first: it must be well-formed, exist, be the signed-in user's to see, and,
where it is the launch's own, be in the patient's chart.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import BUSY, FhirError
from fhir_server.security.authorization.chart_trail import chart_trail
from fhir_server.security.authorization.charts import chart_of
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.fhir_context import (
    LAUNCH_ROLE,
    BadContext,
    check_fhir_context,
    check_style_url,
    check_text,
    role_of,
    target_of,
)
from fhir_server.security.authorization.launch import create_launch
from fhir_server.security.authorization.parameters import read_body
from fhir_server.security.authorization.picker.encounters import is_about
from fhir_server.security.authorization.records import Launch, Session
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    find_client,
    journal,
    trail,
)
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Key, ResourceStore, Transaction
from fhir_server.validation.validate import Validator


class LaunchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What the EHR sends."""

    client_id: str
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool = True
    fhir_context: list[dict[str, Any]] = msgspec.field(name="fhirContext", default_factory=list)
    intent: str | None = None
    smart_style_url: str | None = None
    tenant: str | None = None


@dataclass
class _Refused(Exception):
    status: int
    error: str
    text: str


async def launch(server: AuthorizationServer, request: Request) -> Response:
    """POST: keep a launch for one app, one patient and the EHR's signed-in user."""
    principal = None
    try:
        principal = await server.verifier.verify(request.headers.get("authorization"))
        asked = await _body(request)
        session = await _check_ehr(server, principal)
        app = await _check_app(server, asked)
        _check_form(asked)
        await _check_chart(server, principal, asked)
    except FhirError as refusal:
        refused = _Refused(401, "invalid_token", str(refusal))
        return await _refuse(server, request, principal, refused)
    except _Refused as refused:
        return await _refuse(server, request, principal, refused)
    handle = server.new_secret()
    kept = Launch(
        client_id=app.id,
        ehr=principal.client_id,
        user=principal.subject,
        session=session,
        patient=asked.patient,
        encounter=asked.encounter,
        need_patient_banner=asked.need_patient_banner,
        fhir_context=tuple(asked.fhir_context),
        intent=asked.intent,
        smart_style_url=asked.smart_style_url,
        tenant=asked.tenant,
    )
    expires = server.now() + server.lifetimes.launch
    entry = (await chart_trail(server, request, principal)).entry(
        interaction="launch", outcome="success", status=201, patient=asked.patient
    )

    async def unit(tx: Transaction) -> None:
        await create_launch(tx, kept, handle=handle, expires=expires)
        await tx.journal(entry)

    await commit(server, unit)
    opened = [("iss", server.fhir_base), ("launch", handle)]
    answer = {
        "launch": handle,
        "launch_url": add_params_to_uri(app.launch_uri, opened),
        "expires_in": server.lifetimes.launch,
    }
    return _json(201, answer)


async def _body(request: Request) -> LaunchRequest:
    try:
        return msgspec.json.decode(await read_body(request), type=LaunchRequest)
    except (msgspec.DecodeError, OAuth2Error) as problem:
        raise _Refused(400, "invalid_request", str(problem)) from problem


async def _check_ehr(server: AuthorizationServer, principal: Principal) -> str:
    ehr = await find_client(server, principal.client_id)
    if ehr is None or not ehr.is_ehr:
        raise _Refused(403, "unauthorized_client", "only a registered EHR creates launches")
    if principal.session is None:
        raise _Refused(403, "unauthorized_client", "a launch needs a user who is signed in")
    if await server.store.record(Session.KIND, principal.session) is None:
        raise _Refused(401, "invalid_token", "the session has ended")
    return principal.session


async def _check_app(server: AuthorizationServer, asked: LaunchRequest) -> Client:
    app = await find_client(server, asked.client_id)
    if app is None or app.launch_uri is None:
        raise _Refused(400, "invalid_request", "client_id is no app that can be launched")
    return app


def _check_form(asked: LaunchRequest) -> None:
    try:
        check_fhir_context(asked.fhir_context, Validator())
        check_text("intent", asked.intent)
        check_text("tenant", asked.tenant)
        check_style_url(asked.smart_style_url)
    except BadContext as fault:
        raise _Refused(400, "invalid_request", str(fault)) from fault
    if asked.encounter is not None and asked.patient is None:
        raise _Refused(400, "invalid_request", "encounter: needs its patient")


async def _check_chart(
    server: AuthorizationServer, principal: Principal, asked: LaunchRequest
) -> None:
    """Everything named exists for the user; the encounter and what was opened with it are the
    patient's."""
    anywhere = await chart_of(server.store, server.charts, principal, None)
    if asked.patient is not None:
        await _read(anywhere, "the patient", Key("Patient", asked.patient))
    if asked.encounter is not None:
        encounter = await _read(anywhere, "the encounter", Key("Encounter", asked.encounter))
        if not is_about(encounter, str(asked.patient), server.fhir_base):
            raise _Refused(400, "invalid_request", "the encounter is another patient's")
    chart = await chart_of(server.store, server.charts, principal, asked.patient)
    for item in asked.fhir_context:
        key = target_of(item)
        if key is None:
            continue
        await _read(anywhere, str(key), key)
        if role_of(item) == LAUNCH_ROLE:
            await _read(chart, f"{key} in the chart of this patient", key)


async def _read(store: ResourceStore, name: str, key: Key) -> dict[str, Any]:
    try:
        stored = await store.get(key)
    except FhirError as refusal:
        error = "temporarily_unavailable" if refusal.status == BUSY else "invalid_request"
        raise _Refused(refusal.status, error, str(refusal)) from refusal
    if stored is None or stored.is_deleted:
        raise _Refused(400, "invalid_request", f"{name} is not known here")
    return parse(stored.body)


async def _refuse(
    server: AuthorizationServer,
    request: Request,
    principal: Principal | None,
    refused: _Refused,
) -> Response:
    detail = f"{refused.error}: {refused.text}"
    entry = trail(server, request, principal).entry(
        interaction="launch", outcome="refused", status=refused.status, detail=detail
    )
    await journal(server, entry)
    answer = _json(refused.status, {"error": refused.error, "error_description": refused.text})
    if refused.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="launch"'
    return answer


def _json(status: int, body: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
