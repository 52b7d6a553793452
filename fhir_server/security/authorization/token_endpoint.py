"""`/token` (RFC 6749 section 3.2; SMART App Launch 2.2, "Obtain access token").

Authenticate the client, then one unit: load what the request names, decide (grants.py), apply,
and write the audit record, refusals too. Tokens are signed after the commit.
"""

from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    OAuth2Error,
    UnsupportedGrantTypeError,
)
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.assertion import Proof
from fhir_server.security.authorization.browser import use_of
from fhir_server.security.authorization.client_call import (
    error_answer,
    json_answer,
    named_client,
    prove,
    refuse,
    spend,
    status_of,
)
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
    Code,
    Grant,
    RefreshToken,
    Session,
    apply,
    digest,
)
from fhir_server.security.authorization.refreshing_client import naming_client
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    client_principal,
    commit,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import active_user
from fhir_server.storage.port import Record, Transaction


async def token(server: AuthorizationServer, request: Request) -> Response:
    """POST: tokens for a code, a refresh token or a backend service's own assertion."""
    client = grant = None
    try:
        parameters = await naming_client(server, request, await read_form(request))
        grant = parameters.get("grant_type")
        client = await named_client(server, request, parameters)
        proof = await prove(server, request, parameters, client)
        if "grant_type" not in parameters:
            raise InvalidRequestError("grant_type is missing")
        if parameters["grant_type"] not in _GRANTS:
            raise UnsupportedGrantTypeError(parameters["grant_type"][:40])
        check_grant_type(parameters, proof.client)
    except OAuth2Error as refusal:
        server.metrics.token(grant, refusal.error)
        return await refuse(server, request, refusal, client)
    outcome = await _exchange(server, request, parameters, proof)
    if isinstance(outcome, OAuth2Error):
        server.metrics.token(grant, outcome.error)
        return error_answer(request, outcome, client)
    await server.keys.refresh()
    body = token_response(
        outcome,
        server.keys,
        issuer=server.issuer,
        audience=server.fhir_base,
        now=server.now(),
        token_id=server.new_id(),
    )
    server.metrics.token(grant)
    return json_answer(request, 200, body, client)


async def _exchange(
    server: AuthorizationServer, request: Request, parameters: Parameters, proof: Proof
) -> Tokens | OAuth2Error:
    refresh_token = server.new_secret()
    moment = Moment(server.now(), refresh_token, digest(refresh_token), server.lifetimes)

    async def unit(tx: Transaction) -> Tokens | OAuth2Error:
        decision = await _decide(tx, parameters, proof, moment)
        await apply(tx, decision.effects)
        await _note_use(server, tx, decision.outcome)
        await tx.journal(_entry(server, request, proof.client, decision.outcome))
        return decision.outcome

    return await commit(server, unit)


async def _note_use(
    server: AuthorizationServer, tx: Transaction, outcome: Tokens | OAuth2Error
) -> None:
    """An app that gets tokens uses the session that it belongs to; its owner sees when."""
    grant = None if isinstance(outcome, OAuth2Error) else outcome.grant
    if grant is not None and grant.session is not None:
        await tx.put_record(use_of(server, grant.session))


async def _decide(
    tx: Transaction, parameters: Parameters, proof: Proof, moment: Moment
) -> Decision:
    try:
        await spend(tx, proof)
    except OAuth2Error as refusal:
        return Decision(refusal)
    return await _GRANTS[parameters["grant_type"]](tx, parameters, proof.client, moment)


async def _by_code(
    tx: Transaction, parameters: Parameters, client: Client, moment: Moment
) -> Decision:
    code = await tx.record(Code.KIND, digest(parameters["code"]))
    if code is None:
        return redeem_code(parameters, client, Loaded(None), moment=moment)
    loaded = Loaded(
        code,
        session=await tx.record(Session.KIND, code.value["session"]),
        user=await active_user(tx, code.value["grant"]["user"]),
    )
    return redeem_code(parameters, client, loaded, moment=moment)


async def _by_refresh_token(
    tx: Transaction, parameters: Parameters, client: Client, moment: Moment
) -> Decision:
    presented = await tx.record(RefreshToken.KIND, digest(parameters["refresh_token"]))
    grant = await _grant_of(tx, presented)
    user = None if grant is None else await active_user(tx, grant.value["user"])
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
            status=status_of(outcome),
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
