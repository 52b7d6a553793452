"""`/admin/status`: how the parts, jobs, deliveries, backups and certificates are, for who keeps the
server running; it asks anew each time it is opened."""

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.findings import worst
from fhir_server.security.authorization.admin import AREA
from fhir_server.security.authorization.pages import marked
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.security.authorization.visit import visit

STATES = {
    "ok": (marked("in order"), "✓"),
    "warning": (marked("look at this"), "!"),
    "failed": (marked("does not work"), "✗"),
    "unknown": (marked("not known"), "?"),
}
"""The words and the sign of each state: colour alone says nothing."""


async def show_status(server: AuthorizationServer, request: Request) -> Response:
    """GET: the status of the whole, what needs somebody first."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    sections = await server.status()
    findings = [finding for section in sections for finding in section.findings]
    return found.show(
        "admin_status.html",
        sections=sections,
        urgent=[each for each in findings if each.to_do and each.state != "ok"],
        whole=worst(findings),
        states=STATES,
        asked=server.now(),
    )
