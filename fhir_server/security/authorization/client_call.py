"""What the endpoints that clients call share: proof of the client, answers, CORS."""

from collections.abc import Mapping
from typing import Any

import orjson
from authlib.oauth2.rfc6749.errors import (
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
)
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.assertion import (
    Proof,
    authenticate,
    claimed_client,
    matching,
    read_header,
)
from fhir_server.security.authorization.client_secret import basic_credentials, is_secret
from fhir_server.security.authorization.clients import KIND as CLIENT
from fhir_server.security.authorization.clients import Client, client_from
from fhir_server.security.authorization.key_sets import KeysUnavailable
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import Assertion, apply
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    find_registration,
    journal_refusal,
)
from fhir_server.storage.port import Transaction

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_NOT_ACTIVE = {
    "pending": "the client waits for an administrator's approval",
    "rejected": "an administrator has refused this client",
}
_WAYS = {
    "private_key_jwt": "private_key_jwt in the body",
    "client_secret_basic": "its secret in the Authorization header (Basic)",
    "none": "its client_id alone, without a secret or key",
}


async def named_client(
    server: AuthorizationServer, request: Request, parameters: Parameters
) -> Client | None:
    """The client that the request says it comes from, nothing verified yet; InvalidClientError
    when it names none, InvalidRequestError when it authenticates in more than one way."""
    basic = _basic(request)
    if basic is not None and "client_assertion" in parameters:
        raise InvalidRequestError("authenticate in one way")
    client_id = claimed_client(parameters, basic[0] if basic else None)
    client = await find_registration(server, client_id)
    if client is not None and not client.is_active:
        raise InvalidClientError(_NOT_ACTIVE[client.status])
    return client


async def prove(
    server: AuthorizationServer, request: Request, parameters: Parameters, client: Client | None
) -> Proof:
    """Authenticate the client, in the way that it was registered with; InvalidClientError when
    it can't be done."""
    if client is None:
        raise InvalidClientError("the client is not registered")
    if "client_secret" in parameters:
        raise InvalidClientError("a secret comes in the Authorization header (Basic) alone")
    basic, assertion = _basic(request), parameters.get("client_assertion")
    match client.method:
        case "private_key_jwt" if assertion is not None and basic is None:
            return await _by_key(server, assertion, client)
        case "client_secret_basic" if basic is not None and assertion is None:
            if is_secret(client, basic[1]):
                return Proof(client)
            raise InvalidClientError("the client's secret is another")
        case "none" if basic is None and assertion is None:
            return Proof(client)
    raise InvalidClientError(f"this client authenticates by {_WAYS[client.method]}")


async def _by_key(server: AuthorizationServer, assertion: str, client: Client) -> Proof:
    header = read_header(assertion, client)
    keys = (client.jwks or {}).get("keys", ())
    if client.jwks_uri is not None:
        try:
            keys = await server.key_sets.keys(client.jwks_uri, lambda its: matching(its, header))
        except KeysUnavailable as problem:
            raise InvalidClientError(f"the client's key set can't be used: {problem}") from problem
    audiences = (f"{server.issuer}/token",)
    return authenticate(assertion, keys, client, audiences=audiences, now=server.now())


def _basic(request: Request) -> tuple[str, str] | None:
    """The credentials in the Authorization header; InvalidClientError when it has others."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    basic = basic_credentials(header)
    if basic is None:
        raise InvalidClientError("the Authorization header must be: Basic <id and secret>")
    return basic


async def spend(tx: Transaction, proof: Proof) -> None:
    """Use up the assertion inside the unit; InvalidClientError when it was used before, or the
    client was removed or refused meanwhile."""
    registered = await tx.record(CLIENT, proof.client.id)
    if registered is None or not client_from(registered).is_active:
        raise InvalidClientError("the client is not registered")
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
    """The error as RFC 6749 wants it, which names Basic to who tried it."""
    answer = json_answer(request, status_of(refusal), dict(refusal.get_body()), client)
    if answer.status_code == 401 and "authorization" in request.headers:
        answer.headers["WWW-Authenticate"] = 'Basic realm="clients", charset="UTF-8"'
    return answer


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
