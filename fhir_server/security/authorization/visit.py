"""Who is signed in at the pages for people and admins, and proof that a form is theirs."""

import asyncio
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
    source_of,
)
from fhir_server.security.authorization.lockout import count_attempt, forgive
from fhir_server.security.authorization.pages import (
    FORM_EXPIRED,
    NOT_FOR_YOU,
    marked,
    page,
    problem_page,
)
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    journal_refusal,
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.users import (
    KIND,
    User,
    active,
    has_password,
    is_password,
    user_from,
)
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record

WRONG_PASSWORD = marked("Your current password is not right")
TOO_MANY = marked("Too many attempts. Wait a while, then try again")


@dataclass(frozen=True)
class Visit:
    """A signed-in person at a page of `area` (account or admin); `root` is the way from the page
    to the top of the pages here."""

    area: str
    root: str
    record: Record
    session: Record
    secret: str

    @property
    def user(self) -> User:
        """The person."""
        return user_from(self.record)

    @property
    def csrf(self) -> str:
        """The token of the forms on the page."""
        return form_token(self.secret, self.area)

    def may_manage(self, record: Record | None) -> bool:
        """Whether a user is of the person's own tenant: nobody else is theirs to look after."""
        return record is not None and user_from(record).tenant == self.user.tenant

    def desk(self, server: AuthorizationServer, request: Request) -> Desk:
        """From where the person changes people: the audit trail says it was them."""
        who = user_principal(self.user, "", session=self.session.id)
        return Desk(server.store, trail(server, request, who), self.user.id)

    def show(self, template: str, *, status: int = 200, **values: object) -> Response:
        """A page with what all of them need."""
        return page(
            template,
            status=status,
            root=self.root,
            csrf=self.csrf,
            me=self.user,
            moment=moment,
            **values,  # type: ignore[arg-type]  # templates take anything
        )


async def visit(server: AuthorizationServer, request: Request, area: str) -> Visit | Response:
    """The visit; the way to the sign-in page for nobody, a page that says so for somebody who is
    no admin in the admin area. Users and clients of all tenants are kept by the default one's."""
    root = "../" * request.url.path.partition(f"/{area}")[2].count("/")
    session, secret = await browser_session(server, request), session_secret(server, request)
    record = session and active(await server.store.record(KIND, session.value["user"]))
    if session is None or secret is None or record is None:
        headers = {"Cache-Control": "no-store"}
        return RedirectResponse(f"{root}login?page={area}", 303, headers)
    found = Visit(area, root, record, session, secret)
    keeps_all = "admin" in found.user.roles and found.user.tenant == DEFAULT
    if area == "admin" and not keeps_all:
        who = user_principal(found.user, "", session=session.id)
        entry = trail(server, request, who).entry(
            interaction="user-security", outcome="refused", status=403, detail="not an admin of all"
        )
        await server.store.note(entry)
        return problem_page(NOT_FOR_YOU, request_id(server, request), root=root)
    return found


async def posted(
    server: AuthorizationServer, request: Request, area: str
) -> tuple[Visit | Response, Parameters]:
    """The visit and the fields of its own form, or the page that refuses it."""
    found = await visit(server, request, area)
    if isinstance(found, Response):
        return found, {}
    try:
        form = await read_form(request)
        if is_own_form(request, form.get("csrf"), found.secret, area):
            return found, form
        detail = f"foreign form at {area}"
    except OAuth2Error as refusal:
        detail = str(refusal.description)
    await journal_refusal(server, request, "user-security", status=403, detail=detail)
    return problem_page(FORM_EXPIRED, request_id(server, request), root=found.root), {}


async def prove_password(
    server: AuthorizationServer, request: Request, found: Visit, typed: str
) -> str | None:
    """Ask the person for the password again: None when it is right, else what to tell them. Who
    signs in at another provider has none, and is believed by the session."""
    if not has_password(found.record):
        return None
    name, now = found.user.id, server.now()
    source = await source_of(server, request, name)
    if await commit(server, lambda tx: count_attempt(tx, name, source, now)):
        return TOO_MANY
    if not await asyncio.to_thread(is_password, found.record, typed):
        detail = "wrong current password"
        await journal_refusal(server, request, "user-security", status=400, detail=detail)
        return WRONG_PASSWORD
    await commit(server, lambda tx: forgive(tx, name, source))
    return None


def moment(seconds: float) -> str:
    """A time as pages show it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %Y, %H:%M UTC")
