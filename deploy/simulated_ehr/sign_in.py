"""Signing in to the simulated EHR through the authorization server, and out again."""

import hmac

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deploy.simulated_ehr.oauth import Refused, Tokens
from deploy.simulated_ehr.rendering import SimulatedEhr, problem, render
from deploy.simulated_ehr.sessions import PATH, Attempt

_NO_STORE = {"Cache-Control": "no-store"}


async def start(ehr: SimulatedEhr, request: Request) -> Response:
    """The front page; the patients, for who is signed in."""
    if ehr.sessions.tokens(request) is not None:
        return RedirectResponse(f"{PATH}/patients", 303, _NO_STORE)
    return render(ehr, "start.html", user_name=None)


async def sign_in(ehr: SimulatedEhr, request: Request) -> Response:
    """To the authorization server, with a fresh state and verifier bound to this browser."""
    origin = ehr.origin_of(request)
    new_secret = ehr.server.new_secret
    attempt = Attempt(new_secret(), new_secret() + new_secret(), f"{origin}{PATH}/callback")
    url = ehr.server.sign_in_url(attempt.redirect_uri, attempt.state, attempt.verifier)
    answer = RedirectResponse(url, 303, _NO_STORE)
    ehr.sessions.start(answer, attempt, is_secure=origin.startswith("https:"))
    return answer


async def callback(ehr: SimulatedEhr, request: Request) -> Response:
    """Back from the authorization server."""
    sent = request.query_params
    attempt = ehr.sessions.attempt(request)
    if attempt is None or not hmac.compare_digest(
        sent.get("state", "").encode(), attempt.state.encode()
    ):
        reason = "This sign-in was not started in this browser, or took too long."
        return problem(ehr, "You are not signed in", reason, 400)
    if sent.get("iss", ehr.server.issuer) != ehr.server.issuer:
        return problem(ehr, "You are not signed in", "Another server answered.", 400)
    if "code" not in sent:
        reason = sent.get("error_description") or sent.get("error", "No reason was given.")
        return problem(ehr, "You are not signed in", reason, 400)
    try:
        tokens = await ehr.server.redeem(sent["code"], attempt.redirect_uri, attempt.verifier)
    except Refused as refused:
        return problem(ehr, "You are not signed in", str(refused), 502)
    answer = RedirectResponse(f"{PATH}/patients", 303, _NO_STORE)
    is_secure = attempt.redirect_uri.startswith("https:")
    ehr.sessions.start(answer, tokens, is_secure=is_secure)
    return answer


async def sign_out(ehr: SimulatedEhr, request: Request) -> Response:
    """End the session here and at the server, and with it every app that was launched."""
    back = f"{ehr.origin_of(request)}{PATH}/"
    tokens = ehr.sessions.tokens(request)
    url = back if tokens is None else ehr.server.sign_out_url(tokens, back)
    answer = RedirectResponse(url, 303, _NO_STORE)
    ehr.sessions.end(request, answer)
    return answer


async def current_tokens(ehr: SimulatedEhr, request: Request) -> Tokens | None:
    """The clinician's tokens, refreshed when they are about to end; None when signed out."""
    tokens = ehr.sessions.tokens(request)
    if tokens is None:
        return None
    try:
        fresh = await ehr.server.refreshed(tokens)
    except Refused:
        return None
    if fresh is not tokens:
        ehr.sessions.update(request, fresh)
    return fresh
