"""`/token` (RFC 6749 section 3.2; SMART App Launch 2.2, "Obtain access token").

Authenticate the client, then one unit: load what the request names, decide (grants.py), apply,
and write the audit record, refusals too. Tokens are signed after the commit.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from authlib.oauth2.rfc6749.errors import (
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
    UnsupportedGrantTypeError,
)
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.assertion import Proof, authenticate, claimed_client
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.grants import (
    Decision,
    Loaded,
    Moment,
    Tokens,
    check_grant_type,
    client_credentials,
    redeem_code,
    refresh,
)
from fhir_server.security.authorization.issue import token_response
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.records import (
    Assertion,
    Code,
    Grant,
    RefreshToken,
    Session,
    apply,
    digest,
)
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    client_principal,
    commit,
    find_client,
    journal_refusal,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.storage.port import Record, Transaction

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def token(server: AuthorizationServer, request: Request) -> Response:
    """POST: tokens for a code, a refresh token or a backend service's own assertion."""
    client = None
    try:
        parameters = await read_form(request)
        if "authorization" in request.headers or "client_secret" in parameters:
            raise InvalidClientError("authenticate by private_key_jwt in the body")
        client = await find_client(server, claimed_client(parameters))
        proof = authenticate(
            parameters, client, audiences=(f"{server.issuer}/token",), now=server.now()
        )
        if "grant_type" not in parameters:
            raise InvalidRequestError("grant_type is missing")
        if parameters["grant_type"] not in _GRANTS:
            raise UnsupportedGrantTypeError(parameters["grant_type"][:40])
        check_grant_type(parameters, proof.client)
    except OAuth2Error as refusal:
        detail = f"{refusal.error}: {refusal.get_error_description()}"
        status = _status(refusal)
        await journal_refusal(server, request, "token", status=status, detail=detail, client=client)
        return _refusal(refusal, _cors(request, client))
    outcome = await _exchange(server, request, parameters, proof)
    cors = _cors(request, proof.client)
    if isinstance(outcome, OAuth2Error):
        return _refusal(outcome, cors)
    body = token_response(
        outcome,
        server.keys,
        issuer=server.issuer,
        audience=server.fhir_base,
        now=server.now(),
        token_id=server.new_id(),
    )
    return _json(200, body, cors)


async def _exchange(
    server: AuthorizationServer, request: Request, parameters: Parameters, proof: Proof
) -> Tokens | OAuth2Error:
    refresh_token = server.new_secret()
    moment = Moment(server.now(), refresh_token, digest(refresh_token), server.lifetimes)

    async def unit(tx: Transaction) -> Tokens | OAuth2Error:
        decision = await _decide(tx, parameters, proof, moment)
        await apply(tx, decision.effects)
        await tx.journal(_entry(server, request, proof.client, decision.outcome))
        return decision.outcome

    return await commit(server, unit)


async def _decide(
    tx: Transaction, parameters: Parameters, proof: Proof, moment: Moment
) -> Decision:
    if proof.used_id is not None and await tx.record(Assertion.KIND, proof.used_id) is not None:
        return Decision(InvalidClientError("the client_assertion was already used (jti)"))
    decision = await _GRANTS[parameters["grant_type"]](tx, parameters, proof.client, moment)
    return replace(decision, effects=proof.effects() + decision.effects)


async def _by_code(
    tx: Transaction, parameters: Parameters, client: Client, moment: Moment
) -> Decision:
    code = await tx.record(Code.KIND, digest(parameters["code"]))
    if code is None:
        return redeem_code(parameters, client, Loaded(None), moment=moment)
    loaded = Loaded(
        code,
        session=await tx.record(Session.KIND, code.value["session"]),
        user=await tx.record(USER, code.value["grant"]["user"]),
    )
    return redeem_code(parameters, client, loaded, moment=moment)


async def _by_refresh_token(
    tx: Transaction, parameters: Parameters, client: Client, moment: Moment
) -> Decision:
    presented = await tx.record(RefreshToken.KIND, digest(parameters["refresh_token"]))
    grant = await _grant_of(tx, presented)
    user = None if grant is None else await tx.record(USER, grant.value["user"])
    return refresh(parameters, client, Loaded(presented, grant, user=user), moment=moment)


async def _by_own_credentials(
    tx: Transaction, parameters: Parameters, client: Client, moment: Moment
) -> Decision:
    return client_credentials(parameters, client, moment=moment)


_GRANTS = {
    "authorization_code": _by_code,
    "refresh_token": _by_refresh_token,
    "client_credentials": _by_own_credentials,
}


async def _grant_of(tx: Transaction, presented: Record | None) -> Record | None:
    if presented is None:
        return None
    return await tx.record(Grant.KIND, presented.value["grant_id"])


def _entry(
    server: AuthorizationServer,
    request: Request,
    client: Client,
    outcome: Tokens | OAuth2Error,
) -> bytes:
    if isinstance(outcome, OAuth2Error):
        return trail(server, request, client_principal(client)).entry(
            interaction="token",
            outcome="refused",
            status=_status(outcome),
            detail=f"{outcome.error}: {outcome.get_error_description()}",
        )
    session = outcome.grant.session if outcome.grant else None
    principal = (
        user_principal(outcome.user, client.id, session=session)
        if outcome.user
        else client_principal(client)
    )
    return trail(server, request, principal).entry(
        interaction="token",
        outcome="success",
        status=200,
        patient=outcome.grant.patient if outcome.grant else None,
        detail=f"granted: {outcome.scope}",
    )


def _status(refusal: OAuth2Error) -> int:
    return 401 if isinstance(refusal, InvalidClientError) else 400


def _refusal(refusal: OAuth2Error, cors: Mapping[str, str]) -> Response:
    return _json(_status(refusal), dict(refusal.get_body()), cors)


def _json(status: int, body: dict[str, Any], cors: Mapping[str, str]) -> Response:
    return Response(
        orjson.dumps(body), status, {**_NO_STORE, **cors}, media_type="application/json"
    )


def _cors(request: Request, client: Client | None) -> dict[str, str]:
    """Scripts may read the answer on the origins that the client is registered for."""
    origin = request.headers.get("origin")
    if origin is None or client is None or origin not in client.origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
