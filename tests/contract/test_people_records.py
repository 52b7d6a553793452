"""People on both stores: what is used once is used once, and who loses rights loses them all,
whoever does what at the same moment."""

import asyncio
from typing import TypeVar

import pytest

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization import people
from fhir_server.security.authorization.factors import use_factor
from fhir_server.security.authorization.lockout import Source, count_attempt
from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.records import Grant, Session, apply, insert
from fhir_server.security.authorization.standing import standing_of
from fhir_server.security.authorization.totp import SecondFactor, code_of, factor_record, step_of
from fhir_server.security.authorization.users import PasswordHash, User, active_user
from fhir_server.storage.port import ResourceStore, Transaction, Unit, VersionConflict
from fhir_server.system import new_id
from tests.stores import START, Clock

HASH = PasswordHash("not a hash")
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
NOW = START.timestamp()
T = TypeVar("T")


def desk(store: ResourceStore, by: str | None = None) -> Desk:
    return Desk(store, AuditTrail(None, Clock(), new_id, "https://medsage.test/fhir"), by)


async def commit(store: ResourceStore, unit: Unit[T]) -> T:
    """As the server does: a lost race is run again, and sees why."""
    for _ in range(20):
        try:
            return await store.transaction(unit)
        except VersionConflict:
            continue
    raise AssertionError("twenty conflicts")


async def add(store: ResourceStore, *names: str) -> None:
    for name in names:
        user = User(name, name, frozenset({"admin"}))
        await people.create_user(desk(store), user, HASH)


async def test_of_two_admins_who_disable_each_other_at_once_one_stays(
    store: ResourceStore,
) -> None:
    await add(store, "one", "two")
    done = await asyncio.gather(
        people.disable_user(desk(store, "one"), "two"),
        people.disable_user(desk(store, "two"), "one"),
        return_exceptions=True,
    )
    assert [type(each) for each in done if each is not None] == [RefusedChange]


async def test_of_many_with_the_same_code_at_once_one_is_let_in(store: ResourceStore) -> None:
    factor = SecondFactor(SECRET, is_confirmed=True)
    await store.transaction(lambda tx: tx.put_record(factor_record("one", factor)))
    code = code_of(SECRET, step_of(NOW))
    tries = (commit(store, lambda tx: use_factor(tx, "one", code, NOW)) for _ in range(4))
    assert sorted(str(each) for each in await asyncio.gather(*tries)) == ["0", "0", "0", "None"]


async def test_attempts_at_the_same_moment_are_all_counted(store: ResourceStore) -> None:
    source = Source("address 192.0.2.1")
    tries = (commit(store, lambda tx: count_attempt(tx, "one", source, NOW)) for _ in range(8))
    waits = await asyncio.gather(*tries)
    assert [wait for wait in sorted(waits) if not wait] == [0] * 5


async def test_what_is_open_is_found_by_its_owner_and_not_by_one_whose_name_begins_alike(
    store: ResourceStore,
) -> None:
    ends = NOW + 600
    for user, id in (("ann", "a"), ("anna", "b"), ("ann", "c")):
        await store.transaction(
            lambda tx, user=user, id=id: apply(tx, insert(Session(user, NOW), id, ends))
        )
    grant = Grant("app", "ann", "openid", NOW, session="a")
    await store.transaction(lambda tx: apply(tx, insert(grant, "g", ends)))
    found = await standing_of(store, "ann")
    assert {record.id for record in found.sessions} == {"a", "c"}
    assert [record.id for record in found.grants] == ["g"]
    assert [r.id for r in (await standing_of(store, "anna")).sessions] == ["b"]


@pytest.mark.parametrize("round_", range(5))
async def test_nothing_opened_while_a_user_is_disabled_stays_open(
    store: ResourceStore, round_: int
) -> None:
    await add(store, "one", "two")

    async def opens(number: int) -> bool:
        async def unit(tx: Transaction) -> bool:
            if await active_user(tx, "two") is None:
                return False
            session = insert(Session("two", NOW), f"s{number}", NOW + 600)
            await apply(tx, session)
            return True

        return await commit(store, unit)

    await asyncio.gather(
        *(opens(number) for number in range(3)), people.disable_user(desk(store, "one"), "two")
    )
    assert not await standing_of(store, "two")
    assert not await opens(9)
