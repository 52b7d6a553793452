"""`/account`: what people see of their own account and may end: sessions, and apps that they
allowed."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization import people
from fhir_server.security.authorization.browser import USED, form_token
from fhir_server.security.authorization.consents import consents_of, forget
from fhir_server.security.authorization.factors import confirmed_factor
from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.scope_words import Line, describe
from fhir_server.security.authorization.server import AuthorizationServer, find_client
from fhir_server.security.authorization.standing import Standing, standing_of
from fhir_server.security.authorization.users import has_password
from fhir_server.security.authorization.visit import Visit, posted, visit
from fhir_server.storage.port import Record

AREA = "account"


@dataclass(frozen=True)
class SeenSession:
    """A session as its owner recognises it."""

    id: str
    started: float
    used: float
    where: str
    apps: tuple[str, ...]
    is_this: bool
    user: str = ""


@dataclass(frozen=True)
class SeenApp:
    """An app that was allowed: since when and what; `is_lasting` when it works on after the
    sign-out."""

    client_id: str
    name: str
    since: float | None
    lines: tuple[Line, ...]
    is_lasting: bool


async def show_account(server: AuthorizationServer, request: Request) -> Response:
    """GET: the overview."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    standing = await standing_of(server.store, found.user.id)
    sessions = [await seen_session(server, each, standing, found) for each in standing.sessions]
    return found.show(
        "account.html",
        sessions=sorted(sessions, key=lambda each: -each.started),
        apps=await _apps(server, found.user.id, standing),
        has_password=has_password(found.record),
        has_factor=await confirmed_factor(server.store, found.user.id) is not None,
        logout_csrf=form_token(found.secret, "logout"),
        done=request.query_params.get("done", ""),
    )


async def change_account(server: AuthorizationServer, request: Request) -> Response:
    """POST: end a session, all others, or an app's access."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    desk = found.desk(server, request)
    try:
        if "session" in form:
            await end_session(desk, found.user.id, form["session"])
        elif "client" in form:
            await revoke_app(desk, found.user.id, form["client"])
        elif "others" in form:
            rest = (await standing_of(server.store, found.user.id)).without(found.session.id)
            await people.end_standing(desk, found.user.id, rest, "all other sessions and grants")
    except RefusedChange:
        return RedirectResponse("account", 303, {"Cache-Control": "no-store"})
    return RedirectResponse("account?done=ended", 303, {"Cache-Control": "no-store"})


async def end_session(desk: Desk, user: str, session: str) -> None:
    """End one session of the user, and the grants that end with it."""
    standing = (await standing_of(desk.store, user)).of_session(session)
    if standing.sessions:
        await people.end_standing(desk, user, standing, "one session")


async def revoke_app(desk: Desk, user: str, client_id: str) -> None:
    """Take back what the user allowed the app, and end what it has."""
    standing = (await standing_of(desk.store, user)).of_client(client_id)
    await people.end_standing(
        desk, user, standing, f"access of {client_id}", and_also=forget(user, client_id)
    )


async def seen_session(
    server: AuthorizationServer, session: Record, standing: Standing, found: Visit
) -> SeenSession:
    """What there is to tell about a session."""
    used = await server.store.record(USED, session.id)
    clients = {each.value["client_id"] for each in standing.of_session(session.id).grants}
    where = (session.value.get("browser"), session.value.get("address"))
    return SeenSession(
        session.id,
        session.value["started"],
        used.value["at"] if used else session.value["started"],
        ", ".join(each for each in where if each),
        tuple([await _name(server, client) for client in sorted(clients)]),
        session.id == found.session.id,
        session.value["user"],
    )


async def _apps(server: AuthorizationServer, user: str, standing: Standing) -> list[SeenApp]:
    consents = {each.client_id: each for each in await consents_of(server.store, user)}
    lasting: dict[str, str] = {
        each.value["client_id"]: each.value["scope"]
        for each in standing.grants
        if each.value["session"] is None
    }
    apps = []
    for client_id in sorted({*consents, *lasting}):
        consent = consents.get(client_id)
        scope = consent.allowed if consent else lasting[client_id]
        apps.append(
            SeenApp(
                client_id,
                await _name(server, client_id),
                consent.given if consent else None,
                tuple(describe(scope)),
                client_id in lasting,
            )
        )
    return apps


async def _name(server: AuthorizationServer, client_id: str) -> str:
    client = await find_client(server, client_id)
    return client.name if client else client_id
