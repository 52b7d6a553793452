"""Who refreshes (SMART App Launch 2.2, "Refresh access token"): a public client need not say so.

The parameters of a refresh have no `client_id`, and apps in browsers send none; the refresh token
is bound to its client. One that authenticates still has to.
"""

from starlette.requests import Request

from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import RefreshToken, digest
from fhir_server.security.authorization.server import AuthorizationServer, find_client

_NAMING = frozenset({"client_id", "client_assertion", "client_secret"})


async def naming_client(
    server: AuthorizationServer, request: Request, parameters: Parameters
) -> Parameters:
    """The parameters; with the `client_id` of the refresh token where the request names no client
    and that one is public."""
    if parameters.get("grant_type") != "refresh_token" or "authorization" in request.headers:
        return parameters
    if _NAMING & parameters.keys() or "refresh_token" not in parameters:
        return parameters
    presented = await server.store.record(RefreshToken.KIND, digest(parameters["refresh_token"]))
    client = await find_client(server, presented.value["client_id"]) if presented else None
    if client is None or not client.is_public:
        return parameters
    return {**parameters, "client_id": client.id}
