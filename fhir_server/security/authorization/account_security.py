"""`/account/password` and `/account/second-factor`: what people change of how they sign in. Each
asks for the current password again, so that an open browser is not enough."""

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.security.authorization import people
from fhir_server.security.authorization.account import AREA
from fhir_server.security.authorization.factors import (
    begin_factor,
    confirm_factor,
    confirmed_factor,
)
from fhir_server.security.authorization.pages import marked
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.passwords import WeakPassword
from fhir_server.security.authorization.server import AuthorizationServer, commit
from fhir_server.security.authorization.sign_in_steps import TOO_MANY, WRONG_CODE, enrolment
from fhir_server.security.authorization.totp import (
    SecondFactor,
    factor_from,
    factor_record,
    new_recovery_codes,
    with_recovery,
)
from fhir_server.security.authorization.users import has_password
from fhir_server.security.authorization.visit import Visit, posted, prove_password, visit
from fhir_server.storage.port import Transaction

_NEEDED = marked("Your role needs a second step. An administrator can reset it for a new phone")


async def show_password(server: AuthorizationServer, request: Request) -> Response:
    """GET: the form for another password."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    return _password_form(server, found)


async def change_password(server: AuthorizationServer, request: Request) -> Response:
    """POST: another password; all other sessions end."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    given = form.get("password", "")
    problem = await prove_password(server, request, found, form.get("current", ""))
    if problem is None and not has_password(found.record):
        problem = marked("You sign in at another provider, and have no password here")
    if problem is None and given != form.get("again", ""):
        problem = marked("The two passwords differ")
    if problem is not None:
        return _password_form(server, found, problem)
    try:
        hashed = await asyncio.to_thread(server.rules.passwords.hashed, given, found.user)
    except WeakPassword as weak:
        return _password_form(server, found, str(weak))
    desk = found.desk(server, request)
    await people.change_password(desk, found.user.id, hashed, keeps=found.session.id)
    return _back("password")


def _password_form(server: AuthorizationServer, found: Visit, message: str = "") -> Response:
    return found.show(
        "account_password.html",
        status=400 if message else 200,
        message=message,
        shortest=server.rules.passwords.shortest,
        has_password=has_password(found.record),
    )


async def show_second_factor(server: AuthorizationServer, request: Request) -> Response:
    """GET: whether there is a second factor, and the forms to have one, another or none."""
    found = await visit(server, request, AREA)
    if isinstance(found, Response):
        return found
    return await _factor_form(server, found)


async def change_second_factor(server: AuthorizationServer, request: Request) -> Response:
    """POST: begin one, confirm it, make new recovery codes, or remove it."""
    found, form = await posted(server, request, AREA)
    if isinstance(found, Response):
        return found
    action = _ACTIONS.get(form.get("action", ""))
    if action is None:
        return await _factor_form(server, found)
    if action is not _confirm:
        problem = await prove_password(server, request, found, form.get("current", ""))
        if problem is not None:
            return await _factor_form(server, found, problem)
    return await action(server, request, found, form)


async def _begin(
    server: AuthorizationServer, request: Request, found: Visit, form: Parameters
) -> Response:
    await commit(server, lambda tx: begin_factor(tx, found.user.id))
    return RedirectResponse("second-factor", 303, {"Cache-Control": "no-store"})


async def _confirm(
    server: AuthorizationServer, request: Request, found: Visit, form: Parameters
) -> Response:
    codes, id, now = new_recovery_codes(), found.user.id, server.now()
    entry = found.desk(server, request).entry("user-security", id, "second factor added")

    async def unit(tx: Transaction) -> int | None:
        wait = await confirm_factor(tx, id, form.get("code", ""), now, codes)
        if wait is None:
            await tx.journal(entry)
        return wait

    wait = await commit(server, unit)
    if wait is not None:
        return await _factor_form(server, found, TOO_MANY if wait else WRONG_CODE)
    return found.show("recovery_codes.html", codes=codes, onwards="../account")


async def _renew(
    server: AuthorizationServer, request: Request, found: Visit, form: Parameters
) -> Response:
    codes, id = new_recovery_codes(), found.user.id
    entry = found.desk(server, request).entry("user-security", id, "new recovery codes")

    async def unit(tx: Transaction) -> bool:
        record = await tx.record(SecondFactor.KIND, id)
        factor = factor_from(record)
        if record is None or factor is None or not factor.is_confirmed:
            return False
        await tx.put_record(factor_record(id, with_recovery(factor, codes)), record.revision)
        await tx.journal(entry)
        return True

    if not await commit(server, unit):
        return await _factor_form(server, found)
    return found.show("recovery_codes.html", codes=codes, onwards="../account")


async def _remove(
    server: AuthorizationServer, request: Request, found: Visit, form: Parameters
) -> Response:
    if server.rules.needs_second_factor(found.user.roles):
        return await _factor_form(server, found, _NEEDED)
    await people.remove_second_factor(found.desk(server, request), found.user.id)
    return _back("factor")


_ACTIONS = {"begin": _begin, "confirm": _confirm, "renew": _renew, "remove": _remove}


async def _factor_form(server: AuthorizationServer, found: Visit, message: str = "") -> Response:
    waiting = await enrolment(server, found.user.id)
    return found.show(
        "account_second_factor.html",
        status=400 if message else 200,
        message=message,
        has_factor=await confirmed_factor(server.store, found.user.id) is not None,
        has_password=has_password(found.record),
        is_needed=server.rules.needs_second_factor(found.user.roles),
        picture=waiting["picture"],
        key=waiting["key"],
    )


def _back(done: str) -> Response:
    return RedirectResponse(f"../account?done={done}", 303, {"Cache-Control": "no-store"})
