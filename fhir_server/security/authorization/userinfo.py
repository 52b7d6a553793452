"""`/userinfo` (OpenID Connect Core section 5.3): who signed in, as the granted scopes allow."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.outcome import FhirError, forbidden, login_required
from fhir_server.security.authorization.bearer import refuse_bearer
from fhir_server.security.authorization.client_call import json_answer
from fhir_server.security.authorization.issue import person_claims
from fhir_server.security.authorization.server import AuthorizationServer, find_client
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import user_from
from fhir_server.security.principal import Principal
from fhir_server.security.scopes import parse_scopes


async def userinfo(server: AuthorizationServer, request: Request) -> Response:
    """GET or POST with an access token that has the openid scope: the same `sub` as in the
    id_token, name and `fhirUser` if those were granted."""
    try:
        caller = await server.verifier.verify(request.headers.get("authorization"))
        claims = await _claims(server, caller)
    except FhirError as refusal:
        return await refuse_bearer(server, request, refusal)
    client = await find_client(server, caller.client_id)
    return json_answer(request, 200, claims, client)


async def _claims(server: AuthorizationServer, caller: Principal) -> dict[str, Any]:
    contexts = parse_scopes(caller.scopes).contexts
    if caller.grant is None or "openid" not in contexts:
        raise forbidden("the access token lacks the openid scope")
    user = await server.store.record(USER, caller.subject)
    if user is None:
        raise login_required("the person is no longer registered")
    return {"sub": caller.subject, **person_claims(user_from(user), contexts, server.fhir_base)}
