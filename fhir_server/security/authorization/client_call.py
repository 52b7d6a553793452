"""What the endpoints that clients call share: proof of the client, answers, CORS."""

from collections.abc import Mapping
from typing import Any

import orjson
from authlib.oauth2.rfc6749.errors import InvalidClientError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.assertion import Proof, authenticate, claimed_client
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import Assertion, apply
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    find_client,
    journal_refusal,
)
from fhir_server.storage.port import Transaction

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def named_client(server: AuthorizationServer, parameters: Parameters) -> Client | None:
    """The client that the request says it comes from, nothing verified yet; InvalidClientError
    when it names none."""
    return await find_client(server, claimed_client(parameters))


def prove(
    server: AuthorizationServer, request: Request, parameters: Parameters, client: Client | None
) -> Proof:
    """Authenticate the client; InvalidClientError when it can't be done."""
    if "authorization" in request.headers or "client_secret" in parameters:
        raise InvalidClientError("authenticate by private_key_jwt in the body")
    audiences = (f"{server.issuer}/token",)
    return authenticate(parameters, client, audiences=audiences, now=server.now())


async def spend(tx: Transaction, proof: Proof) -> None:
    """Use up the assertion inside the unit; InvalidClientError when it was used before."""
    if proof.used_id is not None and await tx.record(Assertion.KIND, proof.used_id) is not None:
        raise InvalidClientError("the client_assertion was already used (jti)")
    await apply(tx, proof.effects())


async def refuse(
    server: AuthorizationServer,
    request: Request,
    refusal: OAuth2Error,
    client: Client | None,
) -> Response:
    """The error as RFC 6749 wants it, and its audit record in a unit of its own."""
    detail = f"{refusal.error}: {refusal.get_error_description()}"
    await journal_refusal(
        server, request, "token", status=status_of(refusal), detail=detail, client=client
    )
    return error_answer(request, refusal, client)


def error_answer(request: Request, refusal: OAuth2Error, client: Client | None) -> Response:
    """The error as RFC 6749 wants it."""
    return json_answer(request, status_of(refusal), dict(refusal.get_body()), client)


def json_answer(
    request: Request, status: int, body: Mapping[str, Any], client: Client | None
) -> Response:
    """JSON that is not to be stored, readable by scripts on the client's registered origins."""
    headers = {**_NO_STORE, **_cors(request, client)}
    return Response(orjson.dumps(dict(body)), status, headers, media_type="application/json")


def status_of(refusal: OAuth2Error) -> int:
    """401 when the client is not who it says, otherwise 400 (RFC 6749 section 5.2)."""
    return 401 if isinstance(refusal, InvalidClientError) else 400


def _cors(request: Request, client: Client | None) -> dict[str, str]:
    origin = request.headers.get("origin")
    if origin is None or client is None or origin not in client.origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
