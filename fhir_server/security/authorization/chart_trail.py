"""The trail of who looks for a chart or opens one: it tells where emergency access counted."""

from dataclasses import replace

from starlette.requests import Request

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization.server import AuthorizationServer, trail
from fhir_server.security.principal import Principal


async def chart_trail(
    server: AuthorizationServer, request: Request, principal: Principal
) -> AuditTrail:
    """The trail of a request in which the person sees charts."""
    circumstances = await server.charts.rulebook.of(principal)
    return replace(trail(server, request, principal), emergencies=circumstances.emergencies)
