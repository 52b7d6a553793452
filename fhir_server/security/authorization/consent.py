"""The consent page: what an app asks for, in words, to allow, in part or whole, or deny. The
answer is remembered (consents.py), so that only what is new is asked.

First-party apps (`is_preapproved`) never come here. In a framed launch there is no cookie: the
kept request, whose handle only this browser has, then says who is signed in.
"""

from dataclasses import dataclass, replace

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError, OAuth2Error
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
from fhir_server.security.authorization.consents import Consent, is_remembered, remember
from fhir_server.security.authorization.context import context_of
from fhir_server.security.authorization.pages import FORM_EXPIRED, REQUEST_EXPIRED, marked, page
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.picker.pending import named_patient
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    Session,
    apply,
    digest,
    replace_value,
)
from fhir_server.security.authorization.scope_words import describe
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    find_client,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import active_user, user_from
from fhir_server.storage.port import Record, Transaction

_PURPOSE = "consent"
_NOTHING = marked("Nothing is ticked. Tick what you allow, or press Deny")


@dataclass(frozen=True)
class _Asking:
    """A kept request with everything around it."""

    handle: str
    asked: AuthorizationRequest
    client: Client
    session: Record
    secret: str


async def show_consent(server: AuthorizationServer, request: Request) -> Response:
    """GET: the page that asks."""
    asking = await _asking(server, request, request.query_params.get("request"))
    if asking is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to consent to")
    return await _page(server, request, asking)


async def _page(
    server: AuthorizationServer, request: Request, asking: _Asking, message: str = ""
) -> Response:
    try:
        lines = describe(await _scope(server, asking))
        launch = await load_launch(server, asking.asked)
    except OAuth2Error as refusal:
        return await _refuse(server, request, asking, refusal)
    user = await server.store.record(USER, asking.session.value["user"])
    chosen = context_of(asking.asked, launch[1] if launch else None)["patient"]
    who = user and user_principal(user_from(user), asking.client.id, session=asking.session.id)
    return page(
        "consent.html",
        status=400 if message else 200,
        frame_origins=asking.client.frame_origins if asking.asked.launch else (),
        form_targets=form_targets(asking.asked),
        client_name=asking.client.name,
        user_name=user.value["name"] if user else "",
        patient=await named_patient(server, who, chosen) if who else None,
        fixed=[line for line in lines if line.is_fixed],
        choices=[line for line in lines if not line.is_fixed],
        message=message,
        is_remembered=is_remembered(asking.client, asking.asked.redirect_uri),
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
        offered = await _scope(server, asking)
        allowed = _ticked(offered, form)
        if not allowed:
            return await _page(server, request, asking, _NOTHING)
        asked = await _answered(server, request, asking, (offered, allowed))
        return await give_code(server, request, asked, asking.session.id, asking.handle)
    except OAuth2Error as refusal:
        return await _refuse(server, request, asking, refusal)


async def _scope(server: AuthorizationServer, asking: _Asking) -> str:
    """What the request would get if all of it were allowed."""
    launch = await load_launch(server, asking.asked)
    record = await server.store.record(USER, asking.session.value["user"])
    user = None if record is None else user_from(record)
    return granted_scope(asking.asked, asking.client, launch[1] if launch else None, user=user)


def _ticked(offered: str, form: Parameters) -> str:
    """The scopes that were left ticked, with those that can't be left out; empty when nothing
    would be allowed by them."""
    ticked = {value for name, value in form.items() if name.startswith("scope-")}
    kept = []
    for word in offered.split():  # as the app wrote it, which may be in the way of SMART v1
        kept += [(word, line) for line in describe(word) if line.is_fixed or line.scope in ticked]
    means_something = any(not line.is_fixed or line.scope == "openid" for _, line in kept)
    return " ".join(word for word, _ in kept) if means_something else ""


async def _answered(
    server: AuthorizationServer, request: Request, asking: _Asking, answer: tuple[str, str]
) -> AuthorizationRequest:
    """Keep what was allowed, in the kept request and for the next time."""
    offered, allowed = answer
    asked, client, user = asking.asked, asking.client, asking.session.value["user"]
    narrowed = replace(asked, scope=allowed)
    consent = Consent(client.id, user, offered, allowed, server.now())

    async def unit(tx: Transaction) -> None:
        kept = await tx.record(AuthorizationRequest.KIND, digest(asking.handle))
        record = await active_user(tx, user)
        if kept is None or record is None:
            raise InvalidRequestError("the request was already answered")
        await apply(tx, replace_value(kept, narrowed))
        if is_remembered(client, asked.redirect_uri):
            await apply(tx, remember(consent))
        who = user_principal(user_from(record), client.id, session=asking.session.id)
        entry = trail(server, request, who).entry(
            interaction="consent", outcome="success", status=200, detail=f"allowed: {allowed}"
        )
        await tx.journal(entry)

    await commit(server, unit)
    return narrowed


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
