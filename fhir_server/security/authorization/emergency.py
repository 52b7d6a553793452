"""`/emergency`: the page on which a doctor or nurse takes, sees and ends emergency access."""

from dataclasses import dataclass
from datetime import UTC, datetime

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.browser import (
    browser_session,
    form_token,
    is_own_form,
    session_secret,
)
from fhir_server.security.authorization.emergency_access import begin, end, under_way
from fhir_server.security.authorization.pages import (
    FORM_EXPIRED,
    Problem,
    marked,
    page,
    problem_page,
)
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    journal_refusal,
    request_id,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import active, user_from
from fhir_server.security.emergencies import (
    LONGEST_TEXT,
    REASONS,
    ROLES,
    SHORTEST_TEXT,
    Unfounded,
)
from fhir_server.security.principal import Principal

_PURPOSE = "emergency"
NOT_YOURS = Problem(
    "no-emergency-access",
    marked("Emergency access is for doctors and nurses"),
    marked("Ask a doctor or nurse who treats the patient."),
    status=403,
)


@dataclass(frozen=True)
class _Asking:
    """Who is signed in, and the secret that their forms are bound to."""

    who: Principal
    secret: str


async def show_emergency(server: AuthorizationServer, request: Request) -> Response:
    """GET: the form, and what emergency access the user has."""
    asking = await _asking(server, request)
    return asking if isinstance(asking, Response) else await _form(server, asking)


async def answer_emergency(server: AuthorizationServer, request: Request) -> Response:
    """POST: begin, or with `end` end one; then back to the page."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        return await _refused(server, request, str(refusal.description))
    asking = await _asking(server, request)
    if isinstance(asking, Response):
        return asking
    if not is_own_form(request, form.get("csrf"), asking.secret, _PURPOSE):
        return await _refused(server, request, "foreign emergency form")
    if "end" in form:
        await end(server, request, asking.who, form["end"])
    else:
        try:
            await begin(server, request, asking.who, form)
        except Unfounded as problem:
            return await _form(server, asking, form, str(problem))
    return RedirectResponse("emergency", 303, {"Cache-Control": "no-store"})


async def _asking(server: AuthorizationServer, request: Request) -> _Asking | Response:
    session = await browser_session(server, request)
    record = session and active(await server.store.record(USER, session.value["user"]))
    if session is None or record is None:
        return RedirectResponse("login", 303, {"Cache-Control": "no-store"})
    who = user_principal(user_from(record), "", session=session.id)
    if not who.roles & ROLES:
        return problem_page(NOT_YOURS, request_id(server, request))
    return _Asking(who, session_secret(server, request) or "")


async def _form(
    server: AuthorizationServer,
    asking: _Asking,
    given: Parameters | None = None,
    message: str | None = None,
) -> Response:
    current = [
        {"id": each.id, "patient": each.patient, "until": _clock(each.until), "text": each.text}
        for each in await under_way(server, asking.who)
    ]
    return page(
        "emergency.html",
        status=400 if message else 200,
        user_name=asking.who.name,
        current=current,
        message=message,
        given=given or {},
        reasons=REASONS,
        shortest=SHORTEST_TEXT,
        longest=LONGEST_TEXT,
        most_minutes=server.lifetimes.emergency // 60,
        csrf=form_token(asking.secret, _PURPOSE),
    )


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M UTC")


async def _refused(server: AuthorizationServer, request: Request, detail: str) -> Response:
    await journal_refusal(
        server, request, "emergency-begin", status=FORM_EXPIRED.status, detail=detail
    )
    return problem_page(FORM_EXPIRED, request_id(server, request))
