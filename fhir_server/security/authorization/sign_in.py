"""`/login`: people sign in at this server, with a password or at another provider.

Attempts are counted before the password is looked at (lockout.py), and per address; an unknown
name takes as long as a wrong password.
"""

import asyncio
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.authorize_endpoint import form_targets
from fhir_server.security.authorization.browser import (
    browser_session,
    form_secret,
    form_token,
    is_own_form,
    keep_form_secret,
    session_secret,
    source_of,
)
from fhir_server.security.authorization.lockout import count_attempt
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
from fhir_server.security.authorization.records import PendingSignIn, digest
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    address_of,
    commit,
    find_client,
    journal_refusal,
    request_id,
)
from fhir_server.security.authorization.sessions import Errand, continue_errand, errand_of
from fhir_server.security.authorization.sign_in_steps import advance
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import active, is_password, sign_in_name

_PURPOSE = "login"
_WINDOW_SECONDS = 15 * 60
_MOST_PER_ADDRESS = 50
_WRONG = marked("The user name or the password is not right")
_TOO_MANY = marked("Too many attempts. Wait a while, then try again")


@dataclass(frozen=True)
class _Refusal:
    """What the form says when it is shown again."""

    message: str
    username: str
    status: int


async def show_login(server: AuthorizationServer, request: Request) -> Response:
    """GET: the form; or onwards, when the browser is signed in already."""
    errand = await errand_of(server, request.query_params)
    if errand is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    session = await browser_session(server, request)
    asked = errand.asked
    if session is None or (asked is not None and must_sign_in_again(asked, session)):
        return await _form(server, request, errand)
    if asked is not None or errand.page:
        return await continue_errand(server, request, errand, session)
    return await signed_in_page(server, request, session.value["user"])


async def signed_in_page(server: AuthorizationServer, request: Request, id: str) -> Response:
    """Who is signed in, the way to their own pages, and the button to sign out."""
    user = await server.store.record(USER, id)
    return page(
        "signed_in.html",
        user_name=user.value["name"] if user else "",
        is_admin=user is not None and "admin" in user.value["roles"],
        csrf=form_token(session_secret(server, request) or "", "logout"),
    )


async def sign_in(server: AuthorizationServer, request: Request) -> Response:
    """POST: check the password; what is left to prove, or the session, comes next."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        return await _problem(server, request, FORM_EXPIRED, str(refusal.description))
    secret = form_secret(server, request)
    if secret is None or not is_own_form(request, form.get("csrf"), secret, _PURPOSE):
        return await _problem(server, request, FORM_EXPIRED, "foreign sign-in form")
    errand = await errand_of(server, form)
    if errand is None:
        return await _problem(server, request, REQUEST_EXPIRED, "the request has expired")
    name = sign_in_name(form.get("username", ""))
    wait = await _throttled(server, request, name)
    if wait:
        detail = "too many sign-in attempts"
        await journal_refusal(server, request, "login", status=429, detail=detail)
        answer = await _form(server, request, errand, _Refusal(_TOO_MANY, name, 429))
        answer.headers["Retry-After"] = str(wait)
        return answer
    user = active(await server.store.record(USER, name))
    if not await asyncio.to_thread(is_password, user, form.get("password", "")) or user is None:
        detail = f"wrong password for {name[:80]!r}" if user else "unknown user name"
        await journal_refusal(server, request, "login", status=400, detail=detail)
        return await _form(server, request, errand, _Refusal(_WRONG, name, 400))
    return await advance(server, request, PendingSignIn(user.id, digest(secret)), errand)


async def _throttled(server: AuthorizationServer, request: Request, name: str) -> int:
    """Count the attempt; the seconds to wait when it is one too many."""
    address = f"login {address_of(request)}"
    by_address = await server.counters.hit(address, _WINDOW_SECONDS)
    if by_address.hits > _MOST_PER_ADDRESS:
        return by_address.resets_in_seconds
    source = await source_of(server, request, name)
    return await commit(server, lambda tx: count_attempt(tx, name, source, server.now()))


def _hint(errand: Errand) -> str:
    return (errand.asked.login_hint if errand.asked else None) or ""


async def _form(
    server: AuthorizationServer,
    request: Request,
    errand: Errand,
    refusal: _Refusal | None = None,
) -> Response:
    secret = form_secret(server, request) or server.new_secret()
    client = await find_client(server, errand.client_id)
    answer = page(
        "login.html",
        status=refusal.status if refusal else 200,
        form_targets=form_targets(errand.asked),
        client_name=client.name if client else None,
        message=refusal.message if refusal else None,
        username=refusal.username if refusal else _hint(errand),
        csrf=form_token(secret, _PURPOSE),
        errand=errand.fields,
        providers=server.rules.providers,
    )
    keep_form_secret(server, answer, secret)
    return answer


async def _problem(
    server: AuthorizationServer, request: Request, problem: Problem, detail: str
) -> Response:
    await journal_refusal(server, request, "login", status=problem.status, detail=detail)
    return problem_page(problem, request_id(server, request))
