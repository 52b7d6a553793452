"""A failure as the page that a person sees, and as the AuditEvent that an auditor sees."""

import logging
from datetime import datetime

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from smart_app.auditing import refusal_event
from smart_app.cookies import is_bound
from smart_app.discovery import IssuerUnreachable
from smart_app.fhir_client import FhirFailure
from smart_app.headers import page_headers
from smart_app.parts import Parts
from smart_app.problems import Explanation, Problem, explain
from smart_app.sessions import Session

log = logging.getLogger("medsage.app")

# What the FHIR server refuses, it audits itself; these refusals are the app's own.
AUDITED = frozenset(
    {
        "unknown-issuer", "bad-launch", "expired-launch", "cookies-blocked", "denied", "refused",
        "no-patient", "missing-scopes", "clock-skew", "bad-identity", "session-ended", "forged",
        "other-patient", "bad-form", "too-large",
    }
)  # fmt: skip

# Answers of the FHIR server → what they mean to the reader of a page.
FHIR_CAUSES = {
    0: "ehr-unreachable",
    400: "rejected",
    401: "reconnect",
    403: "not-permitted",
    404: "not-found",
    409: "conflict",
    410: "not-found",
    412: "conflict",
    413: "too-large",
    422: "rejected",
    429: "too-many",
    503: "ehr-busy",
}
RETRY_SECONDS = "5"
"""When to come again to what can't be had now."""


def refuse(parts: Parts, request: Request, error: Exception) -> Response:
    """The page for a failed request; what must be audited is written after it was sent."""
    reference = parts.new_id()
    problem = _as_problem(error)
    told = explain(problem.cause)
    if problem.cause == "failed":
        log.error("page failed", exc_info=error, extra={"reference": reference})
    else:
        log.info("page refused: %s", problem.cause, extra={"reference": reference})
    if request.headers.get("accept") == "application/json":
        body = {"error": problem.cause, "title": told.title}
        response: Response = JSONResponse(body, told.status)
    else:
        response = _page(parts, request, problem, told, reference)
    if told.status == 503:
        response.headers["retry-after"] = RETRY_SECONDS
    if problem.cause in AUDITED:
        response.background = BackgroundTask(audit_refusal, parts, request, problem.cause)
    return response


def busy(parts: Parts) -> ASGIApp:
    """What is answered in place of any page when there is too much to do."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = refuse(parts, Request(scope), Problem("busy"))
        await response(scope, receive, send)

    return answer


def _page(
    parts: Parts, request: Request, problem: Problem, told: Explanation, reference: str
) -> Response:
    sid = request.path_params.get("sid")
    body = parts.templates.get_template("problem.html").render(
        told=told,
        cause=problem.cause,
        details=problem.details,
        reference=reference,
        when=parts.clock().isoformat(timespec="seconds"),
        back=f"{parts.root}/s/{sid}/" if sid and told.status not in {401, 502, 503} else "",
    )
    # Any registered record system may show the failure of a launch in its frame: it has no PHI.
    ancestors = {origin for issuer in parts.config.all_issuers for origin in issuer.frame_ancestors}
    return HTMLResponse(body, told.status, headers=page_headers(sorted(ancestors), ()))


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if not isinstance(error, FhirFailure):
        return Problem("failed")
    cause = FHIR_CAUSES.get(error.status, "ehr-unreachable")
    told = error.problems if cause == "rejected" else ()
    return Problem(cause, tuple(f"{text} ({where})" if where else text for text, where in told))


async def audit_refusal(parts: Parts, request: Request, cause: str) -> None:
    """Leave the AuditEvent of a refused request, at the session's or else the first issuer."""
    session = await _own_session(parts, request)
    issuer = parts.config.issuer(session.fhir_base) if session else None
    issuer = issuer or next(iter(parts.config.issuers), None)
    if issuer is None:
        return
    now: datetime = parts.clock()
    address = request.client.host if request.client else None
    event = refusal_event(cause, now, client_id=issuer.client_id, session=session, address=address)
    try:
        await parts.audit.write(issuer, await parts.configuration(issuer), event)
    except IssuerUnreachable as error:
        log.error("refusal not audited: %s", error, extra={"cause": cause})


async def _own_session(parts: Parts, request: Request) -> Session | None:
    session = await parts.sessions.session(request.path_params.get("sid", ""))
    is_own = session is not None and is_bound(request, session.binding, session.standalone)
    return session if is_own else None
