"""The consent page: what an app asks for, in words, to allow or deny.

First-party apps (`is_preapproved`) never come here. In a framed launch there is no cookie: the
kept request, whose handle only this browser has, then says who is signed in.
"""

from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import AccessDeniedError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.authorize import granted_scope
from fhir_server.security.authorization.authorize_endpoint import (
    form_targets,
    give_code,
    load_launch,
    load_request,
    refuse_by_redirect,
    refuse_with_page,
)
from fhir_server.security.authorization.browser import (
    browser_session,
    form_token,
    is_own_form,
    session_secret,
)
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.pages import FORM_EXPIRED, REQUEST_EXPIRED, marked, page
from fhir_server.security.authorization.parameters import read_form
from fhir_server.security.authorization.records import AuthorizationRequest, Session
from fhir_server.security.authorization.server import AuthorizationServer, find_client
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.scopes import ResourceScope, parse_scopes
from fhir_server.storage.port import Record

_PURPOSE = "consent"
_CONTEXT_TEXTS = {
    "openid": marked("Know that it is you who is signed in"),
    "fhirUser": marked("Know your name and your own record as a member of staff"),
    "profile": marked("Know your name"),
    "launch": marked("Know which chart is open"),
    "launch/patient": marked("Know which patient is chosen"),
    "launch/encounter": marked("Know which visit is open"),
    "online_access": marked("Keep working until you sign out"),
    "offline_access": marked("Keep working after you have signed out"),
}
_ACTION_TEXTS = {
    "c": marked("create"),
    "r": marked("read"),
    "u": marked("change"),
    "d": marked("delete"),
    "s": marked("search"),
}
_LEVEL_TEXTS = {
    "patient": marked("of this patient"),
    "user": marked("of all patients that you may see"),
    "system": marked("of all patients"),
}


@dataclass(frozen=True)
class Line:
    """One granted scope, in words and as it is."""

    text: str
    scope: str


@dataclass(frozen=True)
class _Asking:
    """A kept request with everything around it."""

    handle: str
    asked: AuthorizationRequest
    client: Client
    session: Record
    secret: str


def describe(scope: str) -> list[Line]:
    """The scopes of a granted scope string in words."""
    scopes = parse_scopes(scope)
    contexts = [Line(_CONTEXT_TEXTS[name], name) for name in sorted(scopes.contexts)]
    return contexts + [Line(_sentence(one), str(one)) for one in scopes.resources]


async def show_consent(server: AuthorizationServer, request: Request) -> Response:
    """GET: the page that asks."""
    asking = await _asking(server, request, request.query_params.get("request"))
    if asking is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to consent to")
    try:
        launch = await load_launch(server, asking.asked)
        scope = granted_scope(asking.asked, asking.client, launch[1] if launch else None)
    except OAuth2Error as refusal:
        return await _refuse(server, request, asking, refusal)
    user = await server.store.record(USER, asking.session.value["user"])
    return page(
        "consent.html",
        frame_origins=asking.client.frame_origins if asking.asked.launch else (),
        form_targets=form_targets(asking.asked),
        client_name=asking.client.name,
        user_name=user.value["name"] if user else "",
        lines=describe(scope),
        redirect_origin=form_targets(asking.asked)[0],
        csrf=form_token(asking.secret, _PURPOSE + asking.handle),
        request_handle=asking.handle,
    )


async def answer_consent(server: AuthorizationServer, request: Request) -> Response:
    """POST: the user's answer."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        return await refuse_with_page(server, request, FORM_EXPIRED, str(refusal.description))
    asking = await _asking(server, request, form.get("request"))
    if asking is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to consent to")
    if not is_own_form(request, form.get("csrf"), asking.secret, _PURPOSE + asking.handle):
        return await refuse_with_page(server, request, FORM_EXPIRED, "foreign consent form")
    try:
        if form.get("decision") != "allow":
            raise AccessDeniedError("the user denied the request")
        return await give_code(server, request, asking.asked, asking.session.id, asking.handle)
    except OAuth2Error as refusal:
        return await _refuse(server, request, asking, refusal)


async def _asking(
    server: AuthorizationServer, request: Request, handle: str | None
) -> _Asking | None:
    asked = await load_request(server, handle)
    if asked is None or handle is None:
        return None
    client = await find_client(server, asked.client_id)
    if asked.session is not None:
        session = await server.store.record(Session.KIND, asked.session)
        secret: str | None = asked.binding
    else:
        session = await browser_session(server, request)
        secret = session_secret(server, request)
    if client is None or session is None or secret is None:
        return None
    return _Asking(handle, asked, client, session, secret)


async def _refuse(
    server: AuthorizationServer, request: Request, asking: _Asking, refusal: OAuth2Error
) -> Response:
    target = (asking.asked.redirect_uri, asking.asked.state)
    return await refuse_by_redirect(server, request, asking.client, target, refusal)


def _sentence(scope: ResourceScope) -> str:
    actions = ", ".join(text for key, text in _ACTION_TEXTS.items() if key in scope.actions)
    what = "all resources" if scope.type == "*" else scope.type
    only = ", ".join(f"{name} = {value}" for name, value in sorted(scope.query))
    where = f" with {only}" if only else ""
    return f"{actions.capitalize()} {what}{where} {_LEVEL_TEXTS[scope.level]}"
