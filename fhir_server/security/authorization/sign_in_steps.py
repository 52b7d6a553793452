"""What is left to do between the first factor and the session: the second factor, a new password
after an admin's reset, the enrolment of a second factor where the role needs one.

The pending sign-in is bound to the browser that proved the first factor, by its form cookie.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization import people
from fhir_server.security.authorization.authorize_endpoint import form_targets
from fhir_server.security.authorization.browser import form_secret, form_token, is_own_form
from fhir_server.security.authorization.factors import (
    begin_factor,
    confirm_factor,
    confirmed_factor,
    use_factor,
)
from fhir_server.security.authorization.pages import (
    FORM_EXPIRED,
    NO_ACCESS,
    REQUEST_EXPIRED,
    marked,
    page,
    problem_page,
)
from fhir_server.security.authorization.parameters import Parameters, read_form
from fhir_server.security.authorization.passwords import WeakPassword
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.records import (
    PendingSignIn,
    apply,
    digest,
    insert,
    replace_value,
    value_of,
)
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    commit,
    journal_refusal,
    request_id,
    trail,
    user_principal,
)
from fhir_server.security.authorization.sessions import (
    Errand,
    errand_of,
    onward,
    open_session,
    start_session,
)
from fhir_server.security.authorization.totp import (
    SecondFactor,
    enrolment_picture,
    enrolment_uri,
    factor_from,
    new_recovery_codes,
)
from fhir_server.security.authorization.users import KIND as USER
from fhir_server.security.authorization.users import User, active, is_password, user_from
from fhir_server.storage.port import Record, Transaction

Step = Literal["second-factor", "new-password", "enrol"]
WRONG_CODE = marked("The code is not right, or was used before. Wait for the next one")
TOO_MANY = marked("Too many attempts. Wait a while, then try again")
PRODUCT = "MedSAGE"


@dataclass(frozen=True)
class Pending:
    """A pending sign-in with everything around it; `handle` names it to its own browser."""

    handle: str
    record: Record
    value: PendingSignIn
    user: Record
    errand: Errand
    secret: str


def next_step(
    user: User, factor: SecondFactor | None, pending: PendingSignIn, rules: SignInRules
) -> Step | None:
    """What comes next; None when everything is proved."""
    if factor is not None and not pending.has_proved:
        return "second-factor"
    if user.must_change_password and pending.provider is None:
        return "new-password"
    if rules.needs_second_factor(user.roles) and not pending.has_proved:
        return "enrol"
    return None


async def advance(
    server: AuthorizationServer,
    request: Request,
    arrival: PendingSignIn,
    errand: Errand,
    handle: str | None = None,
) -> Response:
    """On to what is left, or to the session. `handle` names the pending sign-in, if it is kept."""
    record = active(await server.store.record(USER, arrival.user))
    if record is None:
        detail = f"{arrival.user!r} is disabled"
        await journal_refusal(server, request, "login", status=403, detail=detail)
        return problem_page(NO_ACCESS, request_id(server, request))
    factor = await confirmed_factor(server.store, arrival.user)
    step = next_step(user_from(record), factor, arrival, server.rules)
    if step is None:
        return await start_session(server, request, arrival, errand)
    kept = handle or server.new_secret()
    effects = insert(arrival, digest(kept), server.now() + server.lifetimes.request)

    async def unit(tx: Transaction) -> None:
        if handle is None:
            await apply(tx, effects)
        if step == "enrol":
            await begin_factor(tx, arrival.user)

    await commit(server, unit)
    return onward(step, errand, attempt=kept)


async def show_step(server: AuthorizationServer, request: Request) -> Response:
    """GET of a step's page."""
    pending = await _pending(server, request, request.query_params)
    if pending is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    return await _page(server, request, pending)


async def answer_second_factor(server: AuthorizationServer, request: Request) -> Response:
    """POST of a code, or a recovery code."""
    pending, form = await _posted(server, request)
    if isinstance(pending, Response):
        return pending

    async def unit(tx: Transaction) -> int | None:
        wait = await use_factor(tx, pending.value.user, form.get("code", ""), server.now())
        if wait is None:
            proved = replace(pending.value, has_proved=True)
            await apply(tx, replace_value(pending.record, proved))
        return wait

    wait = await commit(server, unit)
    if wait is not None:
        return await _wrong_code(server, request, pending, wait)
    proved = replace(pending.value, has_proved=True)
    return await advance(server, request, proved, pending.errand, pending.handle)


async def answer_enrol(server: AuthorizationServer, request: Request) -> Response:
    """POST of the first code of a new second factor: the session begins, and the recovery codes
    are shown, this once."""
    pending, form = await _posted(server, request)
    if isinstance(pending, Response):
        return pending
    codes, now = new_recovery_codes(), server.now()
    who = user_principal(user_from(pending.user), "", session=None)
    entry = trail(server, request, who).entry(
        interaction="user-security", outcome="success", status=200,
        about=pending.value.user, detail="second factor added",
    )  # fmt: skip

    async def unit(tx: Transaction) -> int | None:
        wait = await confirm_factor(tx, pending.value.user, form.get("code", ""), now, codes)
        if wait is None:
            await tx.journal(entry)
        return wait

    wait = await commit(server, unit)
    if wait is not None:
        return await _wrong_code(server, request, pending, wait)
    arrival = replace(pending.value, has_proved=True)
    opened = await open_session(server, request, arrival, pending.errand)
    if opened is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    onwards = onward("login", pending.errand).headers["location"]
    answer = page("recovery_codes.html", codes=codes, onwards=onwards)
    opened.keep(server, answer)
    return answer


async def answer_new_password(server: AuthorizationServer, request: Request) -> Response:
    """POST of the password that replaces an admin's."""
    pending, form = await _posted(server, request)
    if isinstance(pending, Response):
        return pending
    given, user = form.get("password", ""), user_from(pending.user)
    try:
        if given != form.get("again", ""):
            raise WeakPassword(marked("The two passwords differ"))
        if await asyncio.to_thread(is_password, pending.user, given):
            raise WeakPassword(marked("Choose another password than the one you were given"))
        hashed = await asyncio.to_thread(server.rules.passwords.hashed, given, user)
    except WeakPassword as problem:
        return await _page(server, request, pending, (str(problem), 400))
    who = user_principal(user, "", session=None)
    desk = Desk(server.store, trail(server, request, who), user.id)
    await people.change_password(desk, user.id, hashed, keeps=None)
    return await advance(server, request, pending.value, pending.errand, pending.handle)


STEPS = {
    "second-factor": answer_second_factor,
    "enrol": answer_enrol,
    "new-password": answer_new_password,
}
"""The steps, by the last part of their address."""


async def _posted(
    server: AuthorizationServer, request: Request
) -> tuple[Pending | Response, Parameters]:
    """The pending sign-in of a posted form, or the page that refuses it: a foreign form, one of a
    sign-in that has ended, or one of a step that is not the next."""
    try:
        form = await read_form(request)
    except OAuth2Error as refusal:
        detail = str(refusal.description)
        await journal_refusal(server, request, "login", status=403, detail=detail)
        return problem_page(FORM_EXPIRED, request_id(server, request)), {}
    pending = await _pending(server, request, form)
    if pending is None or request.url.path.rpartition("/")[2] != await _step(server, pending):
        return problem_page(REQUEST_EXPIRED, request_id(server, request)), form
    if not is_own_form(request, form.get("csrf"), pending.secret, pending.handle):
        detail = "foreign form of a sign-in"
        await journal_refusal(server, request, "login", status=403, detail=detail)
        return problem_page(FORM_EXPIRED, request_id(server, request)), form
    return pending, form


async def _pending(
    server: AuthorizationServer, request: Request, fields: Mapping[str, str]
) -> Pending | None:
    handle, secret = fields.get("attempt"), form_secret(server, request)
    if not handle or secret is None:
        return None
    record = await server.store.record(PendingSignIn.KIND, digest(handle))
    errand = await errand_of(server, fields)
    if record is None or errand is None or record.value["browser"] != digest(secret):
        return None
    value = value_of(PendingSignIn, record)
    user = active(await server.store.record(USER, value.user))
    return None if user is None else Pending(handle, record, value, user, errand, secret)


async def _step(server: AuthorizationServer, pending: Pending) -> Step | None:
    factor = await confirmed_factor(server.store, pending.value.user)
    return next_step(user_from(pending.user), factor, pending.value, server.rules)


async def _page(
    server: AuthorizationServer,
    request: Request,
    pending: Pending,
    refusal: tuple[str, int] = ("", 200),
) -> Response:
    step = await _step(server, pending)
    if step is None:
        return problem_page(REQUEST_EXPIRED, request_id(server, request))
    shown: dict[str, Any] = {"shortest": server.rules.passwords.shortest}
    if step == "enrol":
        shown |= await enrolment(server, pending.value.user)
    return page(
        f"{step.replace('-', '_')}.html",
        status=refusal[1],
        form_targets=form_targets(pending.errand.asked),
        message=refusal[0],
        csrf=form_token(pending.secret, pending.handle),
        hidden_fields={**pending.errand.fields, "attempt": pending.handle},
        **shown,
    )


async def enrolment(server: AuthorizationServer, user: str) -> dict[str, Any]:
    """What a page shows of a second factor that waits to be confirmed."""
    factor = factor_from(await server.store.record(SecondFactor.KIND, user))
    if factor is None or factor.is_confirmed:
        return {"picture": "", "key": ""}
    uri = enrolment_uri(factor.secret, user, PRODUCT)
    return {
        "picture": enrolment_picture(uri),
        "key": " ".join(factor.secret[at : at + 4] for at in range(0, 32, 4)),
    }


async def _wrong_code(
    server: AuthorizationServer, request: Request, pending: Pending, wait: int
) -> Response:
    status = 429 if wait else 400
    detail = f"wrong second factor for {pending.value.user!r}"
    await journal_refusal(server, request, "login", status=status, detail=detail)
    answer = await _page(server, request, pending, (TOO_MANY if wait else WRONG_CODE, status))
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer
