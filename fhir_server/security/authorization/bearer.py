"""Refusals of endpoints here that are called with a bearer token (RFC 6750 section 3)."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.fhir.outcome import FhirError
from fhir_server.security.authorization.server import AuthorizationServer, journal_refusal

_CODES = {401: "invalid_token", 403: "insufficient_scope"}


async def refuse_bearer(
    server: AuthorizationServer, request: Request, refusal: FhirError
) -> Response:
    """401 for a token that is not good, 403 for one that is not enough; written to the journal."""
    error = _CODES.get(refusal.status, "invalid_token")
    detail = f"{error}: {refusal}"
    await journal_refusal(server, request, "token", status=refusal.status, detail=detail)
    headers = {
        "WWW-Authenticate": f'Bearer realm="{server.fhir_base}", error="{error}"',
        "Cache-Control": "no-store",
    }
    body = {"error": error, "error_description": str(refusal)}
    return Response(orjson.dumps(body), refusal.status, headers, media_type="application/json")
