"""`/login`: people sign in at this server.

Attempts are counted per user name and address, and per address; an unknown name takes as long as
a wrong password.
"""

import asyncio
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.authorize_endpoint import (
    form_targets,
    load_request,
    proceed,
    refuse_by_redirect,
)
from fhir_server.security.authorization.browser import (
    browser_session,
    form_secret,
    form_token,
    is_own_form,
    keep_form_secret,
    keep_session,
    session_secret,
)
from fhir_server.security.authorization.openid_parameters import must_sign_in_again
from fhir_server.security.authorization.pages import (
    FORM_EXPIRED,
    REQUEST_EXPIRED,
    Problem,
    marked,
    page,
    problem_page,
)
from fhir_server.security.authorization.parameters import read_form
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    Session,
    apply,
    digest,
    insert,
)
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    address_of,
    commit,
    find_client,
    journal_refusal,
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import is_password, sign_in_name, user_from
from fhir_server.storage.port import Record, Transaction

_PURPOSE = "login"
_WINDOW_SECONDS = 15 * 60
_MOST_PER_USER = 5
_MOST_PER_ADDRESS = 50
_WRONG = marked("The user name or the password is not right")
_TOO_MANY = marked("Too many attempts. Wait a quarter of an hour, then try again")


@dataclass(frozen=True)
class _Refusal:
    """What the form says when it is shown again."""

    message: str
    username: str
    status: int


async def show_login(server: AuthorizationServer, request: Request) -> Response:
    """GET: the form; or onwards, when the browser is signed in already."""
    handle = request.query_params.get("request")
    asked = await load_request(server, handle)
    if handle and asked is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    session = await browser_session(server, request)
    if session is None or (asked is not None and must_sign_in_again(asked, session)):
        return await _form(server, request, asked, handle)
    if asked is not None:
        return await _continue(server, request, asked, handle, session)
    user = await server.store.record(USER, session.value["user"])
    secret = session_secret(server, request) or ""
    return page(
        "signed_in.html",
        user_name=user.value["name"] if user else "",
        csrf=form_token(secret, "logout"),
    )


async def _continue(
    server: AuthorizationServer,
    request: Request,
    asked: AuthorizationRequest,
    handle: str | None,
    session: Record,
) -> Response:
    try:
        return await proceed(server, request, asked, session, handle)
    except OAuth2Error as refusal:
        client = await find_client(server, asked.client_id)
        if client is None:
            return problem_page(REQUEST_EXPIRED, request_id(server, request))
        target = (asked.redirect_uri, asked.state)
        return await refuse_by_redirect(server, request, client, target, refusal)


async def sign_in(server: AuthorizationServer, request: Request) -> Response:
    """POST: check the password and start a session."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        return await _problem(server, request, FORM_EXPIRED, str(refusal.description))
    if not is_own_form(request, form.get("csrf"), form_secret(server, request), _PURPOSE):
        return await _problem(server, request, FORM_EXPIRED, "foreign sign-in form")
    handle = form.get("request")
    asked = await load_request(server, handle)
    if handle and asked is None:
        return await _problem(server, request, REQUEST_EXPIRED, "the request has expired")
    name = sign_in_name(form.get("username", ""))
    wait = await _throttled(server, request, name)
    if wait is not None:
        detail = "too many sign-in attempts"
        await journal_refusal(server, request, "login", status=429, detail=detail)
        answer = await _form(server, request, asked, handle, _Refusal(_TOO_MANY, name, 429))
        answer.headers["Retry-After"] = str(wait)
        return answer
    user = await server.store.record(USER, name)
    if not await asyncio.to_thread(is_password, user, form.get("password", "")) or user is None:
        detail = f"wrong password for {name[:80]!r}" if user else "unknown user name"
        await journal_refusal(server, request, "login", status=400, detail=detail)
        return await _form(server, request, asked, handle, _Refusal(_WRONG, name, 400))
    return await _start_session(server, request, asked, handle, user)


async def _start_session(
    server: AuthorizationServer,
    request: Request,
    asked: AuthorizationRequest | None,
    handle: str | None,
    user_record: Record,
) -> Response:
    secret = server.new_secret()
    user = user_from(user_record)
    principal = user_principal(user, asked.client_id if asked else "", session=digest(secret))
    entry = trail(server, request, principal).entry(
        interaction="login", outcome="success", status=303
    )
    now = server.now()

    async def unit(tx: Transaction) -> None:
        session = Session(user.id, now)
        await apply(tx, insert(session, digest(secret), now + server.lifetimes.session))
        await tx.journal(entry)

    await commit(server, unit)
    await server.counters.clear(_user_key(request, user.id))
    session = await server.store.record(Session.KIND, digest(secret))
    if asked is None or session is None:
        answer: Response = RedirectResponse("login", 303, {"Cache-Control": "no-store"})
    else:
        answer = await _continue(server, request, asked, handle, session)
    keep_session(server, answer, secret)
    return answer


async def _throttled(server: AuthorizationServer, request: Request, name: str) -> int | None:
    """Count the attempt; the seconds to wait when it is one too many."""
    by_user = await server.counters.hit(_user_key(request, name), _WINDOW_SECONDS)
    by_address = await server.counters.hit(f"login {address_of(request)}", _WINDOW_SECONDS)
    if by_user.hits > _MOST_PER_USER:
        return by_user.resets_in_seconds
    if by_address.hits > _MOST_PER_ADDRESS:
        return by_address.resets_in_seconds
    return None


def _user_key(request: Request, name: str) -> str:
    return f"login {address_of(request)} {digest(name)}"


async def _form(
    server: AuthorizationServer,
    request: Request,
    asked: AuthorizationRequest | None,
    handle: str | None,
    refusal: _Refusal | None = None,
) -> Response:
    secret = form_secret(server, request) or server.new_secret()
    client = await find_client(server, asked.client_id) if asked else None
    answer = page(
        "login.html",
        status=refusal.status if refusal else 200,
        form_targets=form_targets(asked),
        client_name=client.name if client else None,
        message=refusal.message if refusal else None,
        username=refusal.username if refusal else (asked and asked.login_hint) or "",
        csrf=form_token(secret, _PURPOSE),
        request_handle=handle,
    )
    keep_form_secret(server, answer, secret)
    return answer


async def _problem(
    server: AuthorizationServer, request: Request, problem: Problem, detail: str
) -> Response:
    await journal_refusal(server, request, "login", status=problem.status, detail=detail)
    return problem_page(problem, request_id(server, request))
