"""`/emergency-access`: the way for apps, with the user's own access token. docs/integrating.md,
"Emergency access"."""

from typing import Any

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhir_server.fhir.codec import instant
from fhir_server.fhir.dates import moment_of
from fhir_server.fhir.outcome import FhirError
from fhir_server.security.authorization.emergency_access import TooMany, begin, end, under_way
from fhir_server.security.authorization.parameters import read_form
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.security.emergencies import Emergency, Unfounded
from fhir_server.security.principal import Principal

_NO_STORE = {"Cache-Control": "no-store"}


async def begin_access(server: AuthorizationServer, request: Request) -> Response:
    """POST a form with patient, reason, text and, optionally, minutes: 201 and what was given."""
    who = await _user(server, request)
    if isinstance(who, Response):
        return who
    try:
        given = await begin(server, request, who, await read_form(request))
    except OAuth2Error as refusal:
        return _error(400, "invalid_request", str(refusal.description))
    except TooMany as refusal:
        return _error(429, "slow_down", str(refusal))
    except Unfounded as refusal:
        return _error(400, "invalid_request", str(refusal))
    return JSONResponse(_shown(given), 201, _NO_STORE)


async def list_access(server: AuthorizationServer, request: Request) -> Response:
    """GET: what the user has, whatever app it was taken in."""
    who = await _user(server, request)
    if isinstance(who, Response):
        return who
    current = [_shown(each) for each in await under_way(server, who)]
    return JSONResponse({"emergency_access": current}, 200, _NO_STORE)


async def end_access(server: AuthorizationServer, request: Request) -> Response:
    """DELETE: 204, or 404 when the user has none with the id."""
    who = await _user(server, request)
    if isinstance(who, Response):
        return who
    if await end(server, request, who, request.path_params["id"]):
        return Response(status_code=204, headers=_NO_STORE)
    return _error(404, "not_found", "there is no such emergency access of this user")


async def _user(server: AuthorizationServer, request: Request) -> Principal | Response:
    """The user of the token; the answer to one that is not good, or nobody's."""
    try:
        who = await server.verifier.verify(request.headers.get("authorization"))
    except FhirError as refusal:
        answer = _error(401, "invalid_token", refusal.issues[0].diagnostics)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="emergency"'
        return answer
    if who.acts_for_itself:
        return _error(403, "access_denied", "emergency access is given to people")
    return who


def _shown(given: Emergency) -> dict[str, Any]:
    return {
        "id": given.id,
        "patient": given.patient,
        "reason": given.reason,
        "until": instant(moment_of(int(given.until * 1_000_000))),
    }


def _error(status: int, code: str, text: str) -> Response:
    body = {"error": code, "error_description": text}
    return JSONResponse(body, status, _NO_STORE)
