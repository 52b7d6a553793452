"""`/introspect` (RFC 7662 as SMART App Launch 2.2, "Token introspection", has it): whether an
access token is good, for whom and for what.

A client registered as a resource server may ask about every client's tokens, by its own
authentication or by a bearer token of its own; any other confidential client about its own tokens
alone. Whoever asks about more is answered as for a token that does not exist. Refresh tokens are
no concern of resource servers: they are never active here.
"""

from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.outcome import FhirError, forbidden
from fhir_server.security.authorization.bearer import refuse_bearer
from fhir_server.security.authorization.client_call import (
    json_answer,
    named_client,
    prove,
    refuse,
    spend,
)
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.context import context_parameters
from fhir_server.security.authorization.issue import person_claims
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.records import Grant, value_of
from fhir_server.security.authorization.server import AuthorizationServer, commit, find_client
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import user_from
from fhir_server.security.keys import ACCESS_ALGORITHM
from fhir_server.security.scopes import parse_scopes

_INACTIVE = {"active": False}


async def introspect(server: AuthorizationServer, request: Request) -> Response:
    """POST: what a token is good for; `{"active": false}` and nothing else for any that is not
    good, or not the caller's to ask about."""
    client = None
    try:
        parameters = await read_form(request)
        if request.headers.get("authorization", "").lower().startswith("bearer "):
            client = await _by_bearer(server, request)
        else:
            client = await named_client(server, request, parameters)
            client = await _by_own_proof(server, request, parameters, client)
        if "token" not in parameters:
            raise InvalidRequestError("token is missing")
    except OAuth2Error as refusal:
        return await refuse(server, request, refusal, client)
    except FhirError as refusal:
        return await refuse_bearer(server, request, refusal)
    return json_answer(request, 200, await _told(server, client, parameters["token"]), client)


async def _by_bearer(server: AuthorizationServer, request: Request) -> Client:
    caller = await server.verifier.verify(request.headers["authorization"])
    client = await find_client(server, caller.client_id)
    if client is None or not client.is_resource_server:
        raise forbidden("only a registered resource server asks by bearer token")
    return client


async def _by_own_proof(
    server: AuthorizationServer, request: Request, parameters: Parameters, client: Client | None
) -> Client:
    proof = await prove(server, request, parameters, client)
    if proof.client.is_public:
        raise InvalidClientError("a client without a key or secret can't ask about tokens")
    await commit(server, lambda tx: spend(tx, proof))
    return proof.client


async def _told(server: AuthorizationServer, client: Client, token: str) -> dict[str, Any]:
    try:
        caller = await server.verifier.verify(f"Bearer {token}")
    except FhirError:
        return _INACTIVE
    if not client.is_resource_server and caller.client_id != client.id:
        return _INACTIVE
    claims = (await server.keys.read(token, ACCESS_ALGORITHM)).claims
    repeated = ("scope", "client_id", "exp", "iat", "iss", "sub", "aud", "jti")
    told = {"active": True, "token_type": "Bearer", **{name: claims[name] for name in repeated}}
    if caller.grant is not None:
        told |= await _of_grant(server, caller.grant, claims["scope"])
    return told


async def _of_grant(server: AuthorizationServer, grant_id: str, scope: str) -> dict[str, Any]:
    """What came beside the token when it was issued: the launch context, and what the id_token
    said of the person."""
    record = await server.store.record(Grant.KIND, grant_id)
    if record is None:
        return {}
    grant = value_of(Grant, record)
    user = await server.store.record(USER, grant.user)
    contexts = parse_scopes(scope).contexts
    told = context_parameters(grant, server.issuer)
    if user is not None and "openid" in contexts:
        told |= person_claims(user_from(user), contexts, server.fhir_base)
    return told
