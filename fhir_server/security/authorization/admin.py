"""`/admin`: an administrator looks after people and sessions. Every change is in people.py; here it
is shown and asked for. Whoever belongs to another tenant doesn't exist here."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization import people
from fhir_server.security.authorization.account import end_session, seen_session
from fhir_server.security.authorization.factors import confirmed_factor
from fhir_server.security.authorization.lockout import locked_until
from fhir_server.security.authorization.pages import NOT_FOUND, marked, problem_page
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.records import Session
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.server import AuthorizationServer, request_id
from fhir_server.security.authorization.standing import all_sessions, standing_of
from fhir_server.security.authorization.users import (
    KIND,
    PEOPLES_ROLES,
    User,
    has_password,
    sign_in_name,
    user_from,
)
from fhir_server.security.authorization.visit import Visit, posted, visit
from fhir_server.storage.port import Record

AREA = "admin"
DONE = {
    "created": marked("The user is created. They choose their own password when they sign in."),
    "roles": marked("The roles are changed, and the user's sessions have ended."),
    "disable": marked("The user can't sign in, and everything they had open has ended."),
    "enable": marked("The user may sign in again."),
    "password": marked("The password is set. The user chooses another when they sign in."),
    "unlock": marked("The user is not locked."),
    "factor": marked("The second step is reset, and the user's sessions have ended."),
    "sessions": marked("Everything that was open has ended."),
    "session": marked("The session has ended."),
}


@dataclass(frozen=True)
class SeenUser:
    """A user as the list shows them."""

    user: User
    is_locked: bool
    has_factor: bool
    has_password: bool


async def show_users(server: AuthorizationServer, request: Request) -> Response:
    """GET: everybody, or those whose name has a text."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    sought = sign_in_name(request.query_params.get("name", ""))
    records = [
        each
        for each in await people.all_users(server.store)
        if found.may_manage(each) and (sought in each.id or sought in each.value["name"].casefold())
    ]
    listed = [await _seen(server, each) for each in records[:200]]
    return found.show("admin_users.html", users=listed, all=len(records), sought=sought)


async def show_new_user(server: AuthorizationServer, request: Request) -> Response:
    """GET: the form for a new user."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    return _new_form(server, found, {})


async def create_user(server: AuthorizationServer, request: Request) -> Response:
    """POST: a new user with a first password, which they change when they sign in."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    user = User(
        sign_in_name(form.get("username", "")),
        form.get("name", "").strip(),
        _roles(form),
        form.get("fhir_user", "").strip() or None,
        tenant=found.user.tenant,
        must_change_password=True,
    )
    try:
        password = await asyncio.to_thread(
            server.rules.passwords.hashed, form.get("password", ""), user
        )
        await people.create_user(found.desk(server, request), user, password)
    except ValueError as problem:
        return _new_form(server, found, form, str(problem))
    return _to_user(user.id, "created")


async def show_user(server: AuthorizationServer, request: Request) -> Response:
    """GET: one user, what they have open, and what can be done."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    return await _user_page(server, request, found, request.query_params.get("id", ""))


async def change_user(server: AuthorizationServer, request: Request) -> Response:
    """POST: one of the ACTIONS on a user."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    id, action = form.get("id", ""), form.get("action", "")
    if not found.may_manage(await server.store.record(KIND, id)):
        return problem_page(NOT_FOUND, request_id(server, request), root=found.root)
    try:
        if action not in ACTIONS:
            raise RefusedChange(marked("There is no such action"))
        await ACTIONS[action](found.desk(server, request), form, server.rules)
    except ValueError as problem:
        return await _user_page(server, request, found, id, str(problem))
    return _to_user(id, action)


async def _set_roles(desk: Desk, form: Parameters, rules: SignInRules) -> None:
    await people.change_roles(desk, form["id"], _roles(form))


async def _set_password(desk: Desk, form: Parameters, rules: SignInRules) -> None:
    if desk.by == form["id"]:
        raise RefusedChange(marked("Change your own password on the page of your account"))
    record = await desk.store.record(KIND, form["id"])
    if record is not None and not has_password(record):
        raise RefusedChange(marked("This user signs in at another provider"))
    user = user_from(record) if record else User(form["id"], "", frozenset())
    hashed = await asyncio.to_thread(rules.passwords.hashed, form.get("password", ""), user)
    await people.reset_password(desk, form["id"], hashed)


async def _end_all(desk: Desk, form: Parameters, rules: SignInRules) -> None:
    standing = await standing_of(desk.store, form["id"])
    await people.end_standing(desk, form["id"], standing, "all sessions and grants")


async def _end_one(desk: Desk, form: Parameters, rules: SignInRules) -> None:
    await end_session(desk, form["id"], form.get("session", ""))


def _simple(
    act: Callable[[Desk, str], Awaitable[None]],
) -> Callable[[Desk, Parameters, SignInRules], Awaitable[None]]:
    async def action(desk: Desk, form: Parameters, rules: SignInRules) -> None:
        await act(desk, form["id"])

    return action


ACTIONS: dict[str, Callable[[Desk, Parameters, SignInRules], Awaitable[None]]] = {
    "roles": _set_roles,
    "disable": _simple(people.disable_user),
    "enable": _simple(people.enable_user),
    "password": _set_password,
    "unlock": _simple(people.unlock_user),
    "factor": _simple(people.reset_second_factor),
    "sessions": _end_all,
    "session": _end_one,
}
"""What can be done to a user, by the name of the form's button."""


async def show_sessions(server: AuthorizationServer, request: Request) -> Response:
    """GET: the live sessions of everybody, page by page."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    records = await all_sessions(server.store, request.query_params.get("after", ""))
    sessions = [
        await seen_session(server, each, await standing_of(server.store, _owner(each)), found)
        for each in records
        if found.may_manage(await server.store.record(KIND, _owner(each)))
    ]
    more = records[-1].id if len(records) == 100 else ""
    done = DONE.get(request.query_params.get("done", ""), "")
    return found.show("admin_sessions.html", sessions=sessions, more=more, done=done)


async def end_any_session(server: AuthorizationServer, request: Request) -> Response:
    """POST: end the session of somebody."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    session = await server.store.record(Session.KIND, form.get("session", ""))
    owner = session and await server.store.record(KIND, _owner(session))
    if session is not None and found.may_manage(owner):
        await end_session(found.desk(server, request), _owner(session), session.id)
    return RedirectResponse("sessions?done=session", 303, {"Cache-Control": "no-store"})


async def _user_page(
    server: AuthorizationServer, request: Request, found: Visit, id: str, message: str = ""
) -> Response:
    record = await server.store.record(KIND, id)
    if record is None or not found.may_manage(record):
        return problem_page(NOT_FOUND, request_id(server, request), root=found.root)
    standing = await standing_of(server.store, id)
    sessions = [await seen_session(server, each, standing, found) for each in standing.sessions]
    return found.show(
        "admin_user.html",
        status=400 if message else 200,
        seen=await _seen(server, record),
        sessions=sorted(sessions, key=lambda each: -each.started),
        roles=sorted(PEOPLES_ROLES),
        message=message,
        done="" if message else DONE.get(request.query_params.get("done", ""), ""),
        shortest=server.rules.passwords.shortest,
    )


def _new_form(
    server: AuthorizationServer, found: Visit, form: Parameters, message: str = ""
) -> Response:
    return found.show(
        "admin_new_user.html",
        status=400 if message else 200,
        form=form,
        chosen=_roles(form),
        roles=sorted(PEOPLES_ROLES),
        message=message,
        shortest=server.rules.passwords.shortest,
    )


async def _seen(server: AuthorizationServer, record: Record) -> SeenUser:
    waits = await locked_until(server.store, record.id) > server.now()
    factor = await confirmed_factor(server.store, record.id)
    return SeenUser(user_from(record), waits, factor is not None, has_password(record))


def _roles(form: Parameters) -> frozenset[str]:
    return frozenset(name.removeprefix("role-") for name in form if name.startswith("role-"))


def _owner(session: Record) -> str:
    return str(session.value["user"])


def _to_user(id: str, done: str) -> Response:
    url = f"user?id={quote(id, safe='')}&done={done}"
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})
