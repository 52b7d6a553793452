"""From a proved sign-in to a session, and onwards to what the person came for."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization.authorize_endpoint import (
    load_request,
    proceed,
    refuse_by_redirect,
)
from fhir_server.security.authorization.browser import (
    browser_family,
    keep_known_secret,
    keep_session,
    known_record,
    known_secret,
    source_of,
)
from fhir_server.security.authorization.lockout import forgive
from fhir_server.security.authorization.pages import REQUEST_EXPIRED, problem_page
from fhir_server.security.authorization.records import (
    AuthorizationRequest,
    PendingSignIn,
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
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import active_user, user_from
from fhir_server.storage.port import Record, Transaction

PAGES = {"account": "account", "admin": "admin/users"}
"""The pages here that somebody may be on the way to when they are asked to sign in."""


@dataclass(frozen=True)
class Errand:
    """What somebody signs in for: an app's kept request and its handle, or one of PAGES."""

    handle: str | None = None
    asked: AuthorizationRequest | None = None
    page: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The errand as parameters of an address or a form."""
        named = {"request": self.handle, "page": self.page}
        return {name: value for name, value in named.items() if value}

    @property
    def client_id(self) -> str:
        """The app that waits, empty if none does."""
        return self.asked.client_id if self.asked else ""


async def errand_of(server: AuthorizationServer, fields: Mapping[str, str]) -> Errand | None:
    """The errand that parameters name; None when its request has expired."""
    handle = fields.get("request")
    asked = await load_request(server, handle)
    if handle and asked is None:
        return None
    page = fields.get("page", "")
    return Errand(handle, asked, page if page in PAGES else "")


def onward(step: str, errand: Errand, **more: str) -> Response:
    """To another page of the sign-in, with the errand."""
    query = urlencode({**more, **errand.fields})
    return RedirectResponse(
        f"{step}?{query}" if query else step, 303, {"Cache-Control": "no-store"}
    )


@dataclass(frozen=True)
class Opened:
    """A session just begun: its record, and the secrets for the browser's two cookies."""

    record: Record
    secret: str
    known: str

    def keep(self, server: AuthorizationServer, answer: Response) -> None:
        """Set the cookies."""
        keep_session(server, answer, self.secret)
        keep_known_secret(server, answer, self.known)


async def open_session(
    server: AuthorizationServer, request: Request, arrival: PendingSignIn, errand: Errand
) -> Opened | None:
    """A session for somebody who has proved everything; None when they have been disabled
    meanwhile."""
    secret, remembered = server.new_secret(), known_secret(server, request) or server.new_secret()
    known = known_record(server, remembered, arrival.user)
    source = await source_of(server, request, arrival.user)
    session = Session(
        arrival.user,
        server.now(),
        address=address_of(request),
        browser=browser_family(request),
        provider=arrival.provider,
        provider_token=arrival.provider_token,
    )
    effects = insert(session, digest(secret), server.now() + server.lifetimes.session)

    async def unit(tx: Transaction) -> bool:
        record = await active_user(tx, arrival.user)
        if record is None:
            return False
        await apply(tx, effects)
        await forgive(tx, arrival.user, source)
        await tx.put_record(known)
        who = user_principal(user_from(record), errand.client_id, session=digest(secret))
        await tx.journal(
            trail(server, request, who).entry(
                interaction="login", outcome="success", status=303, detail=_how(arrival)
            )
        )
        return True

    if not await commit(server, unit):
        return None
    server.metrics.sign_ins.inc()
    record = await server.store.record(Session.KIND, digest(secret))
    return None if record is None else Opened(record, secret, remembered)


async def start_session(
    server: AuthorizationServer, request: Request, arrival: PendingSignIn, errand: Errand
) -> Response:
    """Open the session, and go on with the errand."""
    opened = await open_session(server, request, arrival, errand)
    if opened is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    answer = await continue_errand(server, request, errand, opened.record)
    opened.keep(server, answer)
    return answer


async def continue_errand(
    server: AuthorizationServer, request: Request, errand: Errand, session: Record
) -> Response:
    """Back to the app, or to the page here."""
    asked = errand.asked
    if asked is None:
        path = PAGES.get(errand.page, "login")
        return RedirectResponse(path, 303, {"Cache-Control": "no-store"})
    try:
        return await proceed(server, request, asked, session, errand.handle)
    except OAuth2Error as refusal:
        client = await find_client(server, asked.client_id)
        if client is None:
            return problem_page(REQUEST_EXPIRED, request_id(server, request))
        target = (asked.redirect_uri, asked.state)
        return await refuse_by_redirect(server, request, client, target, refusal)


def _how(arrival: PendingSignIn) -> str:
    first = f"provider {arrival.provider}" if arrival.provider else "password"
    return f"{first}, second factor" if arrival.has_proved else first
