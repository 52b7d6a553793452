"""Home, sign-in from it, launches from a record system, their callback, and sign-out."""

import logging
import secrets
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from smart_app.cookies import binding_of, hash_binding, is_bound, set_binding
from smart_app.discovery import IssuerUnreachable, NotSmart, SmartConfiguration
from smart_app.ehr.opening import Launched, open_chart
from smart_app.forgery import comes_from_us
from smart_app.headers import page_headers
from smart_app.issuers import Issuer
from smart_app.launch.attempt import authorize_url, new_attempt
from smart_app.launch.exchange import TokenEndpoint, TokenRefused, grant_from
from smart_app.launch.keys import BadIdentity, ClockSkew
from smart_app.launch.scopes import missing
from smart_app.pages.sending import send_waiting
from smart_app.parts import Parts
from smart_app.problems import Problem
from smart_app.sessions import Attempt, Session
from smart_app.visit import Visit, read_form

log = logging.getLogger("medsage.app")
_MOST_FORM_BYTES = 64 * 1024


async def home(parts: Parts, request: Request) -> Response:
    """S0: what the app is, and sign-in for those who have no record system open."""
    issuers = [issuer for issuer in parts.config.all_issuers if issuer.standalone]
    targets = set[str]()
    for issuer in issuers:
        try:
            targets.add((await parts.configuration(issuer)).authorize_origin)
        except IssuerUnreachable:
            continue
    body = parts.templates.get_template("home.html").render(issuers=issuers)
    return HTMLResponse(body, headers=page_headers((), sorted(targets)))


async def sign_in(parts: Parts, request: Request) -> Response:
    """Begin a standalone launch at the chosen issuer."""
    if not comes_from_us(request, parts.origin):
        raise Problem("forged")
    form = await read_form(request, _MOST_FORM_BYTES)
    issuer = parts.config.issuer(str(form.get("issuer", "")))
    if issuer is None or not issuer.standalone:
        raise Problem("unknown-issuer")
    return await _begin(parts, request, issuer, launch=None)


async def launch(parts: Parts, request: Request) -> Response:
    """SMART App Launch, "EHR launch": `iss` and `launch` come from the record system."""
    fhir_base, handle = (request.query_params.get(name, "") for name in ("iss", "launch"))
    if not fhir_base or not handle:
        raise Problem("bad-launch")
    issuer = parts.config.issuer(fhir_base)
    if issuer is None:
        raise Problem("unknown-issuer")
    return await _begin(parts, request, issuer, launch=handle)


async def _begin(parts: Parts, request: Request, issuer: Issuer, *, launch: str | None) -> Response:
    standalone = launch is None
    try:
        configuration = await parts.configuration(issuer)
    except IssuerUnreachable as error:
        raise _unusable(error) from error
    fresh = secrets.token_urlsafe(32)
    # A second launch in the same browser keeps the cookie, or it would end the first one.
    binding = binding_of(request, standalone)
    attempt = new_attempt(issuer, binding or hash_binding(fresh), standalone=standalone)
    await parts.sessions.begin(attempt)
    url = authorize_url(
        attempt, issuer, configuration, redirect_uri=parts.redirect_uri, launch=launch
    )
    response = RedirectResponse(url, 303, headers={"cache-control": "no-store"})
    if binding is None:
        set_binding(response, fresh, standalone)
    return response


async def callback(parts: Parts, request: Request) -> Response:
    """The authorization server's answer: one use, one browser, one issuer."""
    query = request.query_params
    attempt = await parts.sessions.take_attempt(query.get("state", ""))
    if attempt is None:
        raise Problem("expired-launch")
    if not is_bound(request, attempt.binding, attempt.standalone):
        raise Problem("cookies-blocked")
    issuer = parts.config.issuer(attempt.fhir_base)
    if issuer is None:
        raise Problem("unknown-issuer")
    try:
        session = await _exchange(parts, attempt, issuer, query)
    except IssuerUnreachable as error:
        raise _unusable(error) from error
    except TokenRefused as error:
        cause = "expired-launch" if error.error == "invalid_grant" else "refused"
        raise Problem(cause, (error.error,)) from error
    except ClockSkew as error:
        raise Problem("clock-skew") from error
    except BadIdentity as error:
        raise Problem("bad-identity") from error
    await parts.sessions.open(session)
    page = "" if session.patient else "patients"
    url = f"{parts.root}/s/{session.sid}/{page}"
    waiting = await send_waiting(parts, session)
    headers = {"cache-control": "no-store"}
    return RedirectResponse(url, 303, headers=headers, background=waiting)


def _unusable(error: IssuerUnreachable) -> Problem:
    return (
        Problem("not-smart", (str(error),))
        if isinstance(error, NotSmart)
        else Problem("ehr-unreachable")
    )


async def _exchange(parts: Parts, attempt: Attempt, issuer: Issuer, query: Any) -> Session:
    configuration = await parts.configuration(issuer)
    _check_answer(configuration, query)
    endpoint = TokenEndpoint(parts.http, issuer, configuration)
    now = parts.clock()
    answer = await endpoint.redeem(query["code"], attempt.verifier, parts.redirect_uri, now)
    if not issuer.is_own:
        return await open_chart(parts, Launched(issuer, attempt, endpoint, answer, now))
    return await _own_session(parts, Launched(issuer, attempt, endpoint, answer, now))


def _check_answer(configuration: SmartConfiguration, query: Any) -> None:
    """A Problem unless the authorization response is a code of the server that we asked."""
    if query.get("iss", configuration.issuer) != configuration.issuer or (
        configuration.names_itself and "iss" not in query
    ):
        # RFC 9207: the answer of another server than the one we asked.
        raise Problem("refused", ("issuer mismatch",))
    if "error" in query:
        is_denial = query["error"] in {"access_denied", "login_required"}
        raise Problem("denied" if is_denial else "refused", (query["error"][:60],))
    if "code" not in query:
        raise Problem("bad-launch")


async def _own_session(parts: Parts, launched: Launched) -> Session:
    issuer, attempt, answer = launched.issuer, launched.attempt, dict(launched.answer)
    claims = await launched.endpoint.identity(answer, attempt, launched.now)
    grant = grant_from(answer, secrets.token_urlsafe(16), issuer.fhir_base, now=launched.now)
    lacking = [f"{type_}.{actions}" for type_, actions in missing(grant.scope)]
    if lacking:
        raise Problem("missing-scopes", tuple(lacking))
    if not attempt.standalone and not answer.get("patient"):
        raise Problem("no-patient")
    await parts.sessions.keep_grant(grant)
    who = str(claims.get("fhirUser", "")).removeprefix(issuer.fhir_base.rstrip("/") + "/")
    return Session(
        sid=secrets.token_urlsafe(24),
        binding=attempt.binding,
        grant=grant.id,
        fhir_base=issuer.fhir_base,
        fhir_user=who or None,
        user_name=str(claims.get("name") or who or claims.get("sub", "")),
        started=launched.now.isoformat(timespec="seconds"),
        scope=grant.scope,
        patient=None if attempt.standalone else answer["patient"],
        encounter=None if attempt.standalone else answer.get("encounter"),
        need_patient_banner=bool(answer.get("need_patient_banner", True)),
        standalone=attempt.standalone,
    )


def bound_to(session: Session, patient: str) -> Session:
    """The session that a standalone user's choice of patient opens; it shares the tokens."""
    return replace(session, sid=secrets.token_urlsafe(24), patient=patient)


async def sign_out(visit: Visit) -> Response:
    """End the session and its tokens. Who signed in at Home is signed out at the issuer too; a
    launch from a chart leaves the record system's own session alone."""
    parts, session = visit.parts, visit.session
    grant = await parts.sessions.grant(session.grant)
    issuer = parts.config.issuer(session.issuer)
    await parts.sessions.close(session)
    if grant is not None and issuer is not None:
        try:
            endpoint = TokenEndpoint(parts.http, issuer, await parts.configuration(issuer))
            await endpoint.end(grant, parts.clock(), session_too=session.standalone)
        except IssuerUnreachable as error:
            log.warning("sign-out not told to the issuer: %s", error)
    body = parts.templates.get_template("signed-out.html").render(standalone=session.standalone)
    ancestors = issuer.frame_ancestors if issuer and not session.standalone else ()
    headers = {**page_headers(ancestors, ()), "clear-site-data": '"cache"'}
    return HTMLResponse(body, headers=headers)
