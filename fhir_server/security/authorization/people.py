"""What is done to people who sign in: each change in one unit with its audit record, in force at
once. A change that takes rights away ends the sessions and grants that were made with them.

Nobody changes their own roles or disables themselves, and the last admin stays one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization.lockout import KIND as FAILURES
from fhir_server.security.authorization.lockout import failure_ids
from fhir_server.security.authorization.records import Effects, apply, delete
from fhir_server.security.authorization.standing import Standing, end, standing_of
from fhir_server.security.authorization.totp import SecondFactor
from fhir_server.security.authorization.users import (
    KIND,
    PasswordHash,
    User,
    check_user,
    reservation,
    user_from,
    user_record,
)
from fhir_server.storage.port import Record, ResourceStore, Transaction, Unit, VersionConflict

_ATTEMPTS = 5


class RefusedChange(ValueError):
    """The change is not made; the text says why, in words for who asked for it."""


@dataclass(frozen=True)
class Desk:
    """Where people are looked after: the store, the audit trail of who does it, and their
    sign-in name (None at the command line)."""

    store: ResourceStore
    trail: AuditTrail
    by: str | None

    async def commit(self, unit: Unit[None]) -> None:
        """Run a unit, again when somebody else was first."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self.store.transaction(unit)
            except VersionConflict:
                continue
        return await self.store.transaction(unit)

    def entry(self, interaction: str, user: str, detail: str) -> bytes:
        """The audit record of what was done to a user."""
        return self.trail.entry(
            interaction=interaction, outcome="success", status=200, about=user, detail=detail
        )


async def create_user(desk: Desk, user: User, password: PasswordHash) -> None:
    """A new user; RefusedChange when the name is taken, BadUser when it is not sound. A colon is
    for names that come from other providers."""
    check_user(user)
    if ":" in user.id:
        raise RefusedChange("A sign-in name can't have a colon")
    entry = desk.entry("user-create", user.id, f"roles: {_listed(user.roles)}")

    async def unit(tx: Transaction) -> None:
        if await tx.record(KIND, user.id) is not None:
            raise RefusedChange(f"There is a user {user.id} already")
        await tx.put_record(user_record(user, password), 0)
        await tx.journal(entry)

    await desk.commit(unit)


async def change_roles(desk: Desk, id: str, roles: frozenset[str]) -> None:
    """Other roles; sessions end, since tokens carry the roles before."""
    if desk.by == id:
        raise RefusedChange("Nobody changes their own roles: another admin does")
    await _change(desk, id, _Change(lambda user: replace(user, roles=roles)))


async def disable_user(desk: Desk, id: str) -> None:
    """The user can't sign in, and everything they have open ends."""
    if desk.by == id:
        raise RefusedChange("Nobody disables themselves: another admin does")
    await _change(desk, id, _Change(lambda user: replace(user, is_disabled=True)))


async def enable_user(desk: Desk, id: str) -> None:
    """The user may sign in again."""
    change = _Change(lambda user: replace(user, is_disabled=False), ends=False)
    await _change(desk, id, change)


async def reset_password(desk: Desk, id: str, password: PasswordHash) -> None:
    """A password to sign in with once, to be changed then; sessions end, waits are over."""
    change = _Change(lambda user: replace(user, must_change_password=True), password)
    await _change(desk, id, change)
    await unlock_user(desk, id)


async def change_password(
    desk: Desk, id: str, password: PasswordHash, *, keeps: str | None
) -> None:
    """The user's own change: every session ends but the one that it `keeps`."""
    change = _Change(lambda user: replace(user, must_change_password=False), password, keeps)
    await _change(desk, id, change)


async def unlock_user(desk: Desk, id: str) -> None:
    """Failed attempts of the past no longer make anybody wait under the name."""
    effects = Effects()
    for name in (id, second_factor_name(id)):
        for failure in await failure_ids(desk.store, name):
            effects += delete(FAILURES, failure)
    await _apply(desk, id, effects, ("user-security", "unlocked"))


async def reset_second_factor(desk: Desk, id: str) -> None:
    """The user's authenticator no longer counts; sessions end."""
    effects = delete(SecondFactor.KIND, id) + end(await standing_of(desk.store, id))
    await _apply(desk, id, effects, ("user-security", "second factor removed"))


async def remove_second_factor(desk: Desk, id: str) -> None:
    """The user's own wish: the authenticator no longer counts, what is open stays."""
    await _apply(
        desk, id, delete(SecondFactor.KIND, id), ("user-security", "second factor removed")
    )


async def end_standing(
    desk: Desk, id: str, standing: Standing, detail: str, *, and_also: Effects | None = None
) -> None:
    """End some of a user's sessions and grants, and do `and_also` in the same unit."""
    await _apply(desk, id, end(standing) + (and_also or Effects()), ("session-end", detail))


async def all_users(store: ResourceStore) -> list[Record]:
    """The records of all users, by sign-in name."""
    found: list[Record] = []
    while page := await store.records(KIND, after=found[-1].id if found else ""):
        found += page
    return found


def second_factor_name(id: str) -> str:
    """The name under which wrong second factors of a user are counted."""
    return f"{id}\x1fsecond factor"


@dataclass(frozen=True)
class _Change:
    """What becomes of a user, the new password if there is one, the session that stays open, and
    whether the others end."""

    of: Callable[[User], User]
    password: PasswordHash | None = None
    keeps: str | None = None
    ends: bool = True


async def _change(desk: Desk, id: str, change: _Change) -> None:
    others = [each.id for each in await all_users(desk.store) if each.id != id]
    standing = (await standing_of(desk.store, id)).without(change.keeps)

    async def unit(tx: Transaction) -> None:
        await tx.reserve(reservation(id))
        record = await _found(tx, id)
        before = user_from(record)
        after = change.of(before)
        check_user(after)
        if _is_admin(before) and not _is_admin(after):
            await _require_another(tx, others, before.tenant)
        written = user_record(after, change.password or PasswordHash(record.value["password"]))
        await tx.put_record(written, record.revision)
        if change.ends:
            await apply(tx, end(standing))
        interaction = "user-roles" if before.roles != after.roles else "user-security"
        await tx.journal(desk.entry(interaction, id, _difference(before, after, change)))

    await desk.commit(unit)
    if change.ends:
        await _end_latecomers(desk, id, change.keeps)


async def _end_latecomers(desk: Desk, id: str, keeps: str | None) -> None:
    """What was opened between the look at what is open and the commit; from the commit on nothing
    is opened by the rights before."""
    late = (await standing_of(desk.store, id)).without(keeps)
    if late:
        await end_standing(desk, id, late, "opened while the user was changed")


async def _apply(desk: Desk, id: str, effects: Effects, what: tuple[str, str]) -> None:
    entry = desk.entry(what[0], id, what[1])

    async def unit(tx: Transaction) -> None:
        await _found(tx, id)
        await apply(tx, effects)
        await tx.journal(entry)

    await desk.commit(unit)


async def _found(tx: Transaction, id: str) -> Record:
    record = await tx.record(KIND, id)
    if record is None:
        raise RefusedChange(f"There is no user {id}")
    return record


async def _require_another(tx: Transaction, others: list[str], tenant: str) -> None:
    """Of two admins who disable each other at once, one is refused: both reserve the name. An
    admin of another tenant is none here."""
    await tx.reserve("the last admin")
    for other in others:
        record = await tx.record(KIND, other)
        user = None if record is None else user_from(record)
        if user is not None and _is_admin(user) and user.tenant == tenant:
            return
    raise RefusedChange("This is the last admin: give somebody else the role first")


def _is_admin(user: User) -> bool:
    return "admin" in user.roles and not user.is_disabled


def _difference(before: User, after: User, change: _Change) -> str:
    said = []
    if before.roles != after.roles:
        said.append(f"roles: {_listed(before.roles)} → {_listed(after.roles)}")
    if before.is_disabled != after.is_disabled:
        said.append("disabled" if after.is_disabled else "enabled")
    if change.password is not None:
        said.append("password reset" if after.must_change_password else "password changed")
    return "; ".join(said) or "unchanged"


def _listed(roles: frozenset[str]) -> str:
    return ", ".join(sorted(roles))
