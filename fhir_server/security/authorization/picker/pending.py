"""A kept authorization request for which something is being chosen, and what is done with it.

Only the browser that the request came from has its handle; the forms' tokens are bound to the
session's secret and the handle, and the choice to the session. In a framed launch there is no
cookie: the kept request then says who is signed in, and its binding keys the token.
"""

from dataclasses import dataclass, replace

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.authorize_endpoint import (
    load_launch,
    load_request,
    proceed,
    refuse_by_redirect,
    refuse_with_page,
)
from fhir_server.security.authorization.browser import (
    browser_session,
    form_token,
    is_own_form,
    session_secret,
)
from fhir_server.security.authorization.chart_trail import chart_trail
from fhir_server.security.authorization.charts import View, view_of
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.context import Choice, choice_of, next_step
from fhir_server.security.authorization.pages import FORM_EXPIRED, REQUEST_EXPIRED
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.picker.wording import PatientLine, patient_line
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    Launch,
    Session,
    apply,
    digest,
    replace_value,
    value_of,
)
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    find_client,
    user_principal,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import User, user_from
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Key, Record, Transaction

_PURPOSE = "choose"


@dataclass(frozen=True)
class Pending:
    """The kept request with everything around it."""

    handle: str
    asked: AuthorizationRequest
    client: Client
    session: Record
    secret: str
    user: User
    launch: Launch | None

    @property
    def principal(self) -> Principal:
        """The user, acting for the app that waits."""
        return user_principal(self.user, self.client.id, session=self.session.id)

    @property
    def csrf(self) -> str:
        """The token of its forms."""
        return form_token(self.secret, _PURPOSE + self.handle)

    @property
    def is_to_choose(self) -> bool:
        """Whether there is something to choose, or to choose again before it is used."""
        unchosen = replace(self.asked, choice=None)
        return next_step(unchosen, self.client, self.launch, self.session.id) is not None

    @property
    def choice(self) -> Choice | None:
        """What was chosen so far, in this session."""
        choice = choice_of(self.asked)
        return choice if choice and choice.session == self.session.id else None


async def load_pending(
    server: AuthorizationServer, request: Request, handle: str | None
) -> Pending | None:
    """The request under the handle and who is signed in for it; None when either is gone, the
    app is no longer registered, or there is nothing to choose."""
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
    user = await server.store.record(USER, session.value["user"])
    try:
        launch = await load_launch(server, asked)
    except OAuth2Error:
        return None
    if user is None:
        return None
    value = launch[1] if launch else None
    found = Pending(handle, asked, client, session, secret, user_from(user), value)
    return found if found.is_to_choose else None


async def load_posted(
    server: AuthorizationServer, request: Request
) -> tuple[Pending, Parameters] | Response:
    """The request that one of our own forms is about, with the form; or the page that says why
    it is none."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        return await refuse_with_page(server, request, FORM_EXPIRED, str(refusal.description))
    pending = await load_pending(server, request, form.get("request"))
    if pending is None:
        return await refuse_with_page(server, request, REQUEST_EXPIRED, "nothing to choose for")
    if not is_own_form(request, form.get("csrf"), pending.secret, _PURPOSE + pending.handle):
        detail = "foreign form for a choice"
        return await refuse_with_page(server, request, FORM_EXPIRED, detail, pending.client)
    if form.get("action") == "cancel":
        refused = AccessDeniedError("the user chose no patient")
        return await refuse(server, request, pending, refused)
    return pending, form


async def charts_of(server: AuthorizationServer, who: Principal) -> View:
    """The charts that the user may see."""
    return await view_of(
        server.store, server.charts, who, now=server.clock(), base_url=server.fhir_base
    )


async def named_patient(
    server: AuthorizationServer, who: Principal, patient: str | None
) -> PatientLine | None:
    """The patient in words; None when there is none that the user may see."""
    if patient is None:
        return None
    found = await (await charts_of(server, who)).read(Key("Patient", patient))
    return None if found is None else patient_line(found, server.clock().date())


async def keep_choice(
    server: AuthorizationServer, request: Request, pending: Pending, choice: Choice | None
) -> Response:
    """Keep the choice with the request, with its audit record, and go on; None takes back what
    was chosen."""
    key = Key("Encounter", choice.encounter) if choice and choice.encounter else None
    entry = (await chart_trail(server, request, pending.principal)).entry(
        interaction="choose-context",
        outcome="success",
        status=303,
        key=key,
        patient=choice.patient if choice else None,
        detail=f"for {pending.client.id}" if choice else "the choice was taken back",
    )

    async def unit(tx: Transaction) -> AuthorizationRequest:
        record = await tx.record(AuthorizationRequest.KIND, digest(pending.handle))
        if record is None:
            raise InvalidRequestError("the request was already answered")
        kept = value_of(AuthorizationRequest, record)
        chosen = replace(kept, choice=choice.as_json() if choice else None)
        await apply(tx, replace_value(record, chosen))
        await tx.journal(entry)
        return chosen

    try:
        asked = await commit(server, unit)
        return await proceed(server, request, asked, pending.session, pending.handle)
    except OAuth2Error as refusal:
        return await refuse(server, request, pending, refusal)


async def journal_listing(
    server: AuthorizationServer, request: Request, pending: Pending, query: str
) -> None:
    """Write down that the user was shown patients or visits, and which search found them."""
    entry = (await chart_trail(server, request, pending.principal)).entry(
        interaction="search-type", outcome="success", status=200, query=query
    )
    await server.store.note(entry)


async def refuse(
    server: AuthorizationServer, request: Request, pending: Pending, refusal: OAuth2Error
) -> Response:
    """The error, sent to the app."""
    target = (pending.asked.redirect_uri, pending.asked.state)
    return await refuse_by_redirect(server, request, pending.client, target, refusal)
