"""User management: a change is in force at once, audited in its unit, and leaves an admin."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.audit.event import audit_event
from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization import people
from fhir_server.security.authorization.people import Desk, RefusedChange
from fhir_server.security.authorization.standing import standing_of
from fhir_server.security.authorization.users import (
    BadUser,
    PasswordHash,
    User,
    active,
    user_from,
)
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import utc_now
from tests.smart_world import FHIR, PASSWORD, SmartWorld, answer_of, smart_world

HASH = PasswordHash("not a hash")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


def desk(world: SmartWorld, by: str | None = "boss") -> Desk:
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    return Desk(world.store, trail, by)


async def _user(world: SmartWorld, id: str = "dr.amina") -> User:
    record = await world.store.record("user", id)
    assert record is not None
    return user_from(record)


async def _everything_ended(world: SmartWorld, tokens: dict[str, str]) -> None:
    with pytest.raises(Exception, match="revoked or its session has ended"):
        await world.who(tokens["access_token"])
    assert (await world.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.authorize()).headers["location"].startswith("login?")
    assert not await standing_of(world.store, "dr.amina")


async def test_a_disabled_user_loses_what_is_open_and_cannot_sign_in(world: SmartWorld) -> None:
    tokens = await world.tokens()
    await world.who(tokens["access_token"])
    await people.disable_user(desk(world), "dr.amina")
    await _everything_ended(world, tokens)
    assert (await world.sign_in()).status_code == 400
    assert (await world.sign_in("dr.kofi")).status_code == 303
    await people.enable_user(desk(world), "dr.amina")
    async with world.new_browser() as other:
        assert (await world.sign_in(browser=other)).status_code == 303


async def test_disabling_ends_lasting_access_too(world: SmartWorld) -> None:
    asked = "openid fhirUser offline_access"
    tokens = await world.tokens("public-app", scope=asked)
    await people.disable_user(desk(world), "dr.amina")
    refreshed = await world.refresh(tokens["refresh_token"], "public-app")
    assert refreshed.json()["error"] == "invalid_grant"


async def test_a_code_from_before_is_worth_nothing_after(world: SmartWorld) -> None:
    code = await world.code()
    await people.disable_user(desk(world), "dr.amina")
    assert (await world.redeem(code)).json()["error"] == "invalid_grant"


async def test_other_roles_are_in_the_next_token_and_the_old_one_has_ended(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    await people.change_roles(desk(world), "dr.amina", frozenset({"nurse", "auditor"}))
    await _everything_ended(world, tokens)
    fresh = await world.tokens()
    assert (await world.who(fresh["access_token"])).roles == {"nurse", "auditor"}


async def test_a_change_is_audited_with_who_whom_and_what(world: SmartWorld) -> None:
    await people.change_roles(desk(world), "dr.amina", frozenset({"nurse"}))
    await people.disable_user(desk(world), "dr.kofi")
    (roles,) = await world.journal("user-roles")
    assert (roles["about"], roles["detail"]) == ("dr.amina", "roles: doctor → nurse")
    (disabled,) = await world.journal("user-security")
    assert (disabled["about"], disabled["detail"]) == ("dr.kofi", "disabled")
    entry = next(iter(await world.store.journal(1))).entry
    event = audit_event(entry)
    (whom,) = [e for e in event["entity"] if e["role"]["code"] == "11"]
    assert whom["what"]["identifier"]["value"] == "dr.amina"


async def test_nobody_changes_their_own_roles_or_disables_themselves(world: SmartWorld) -> None:
    await people.create_user(desk(world), User("boss", "Boss", frozenset({"admin"})), HASH)
    await people.create_user(desk(world), User("vice", "Vice", frozenset({"admin"})), HASH)
    with pytest.raises(RefusedChange, match="their own roles"):
        await people.change_roles(desk(world), "boss", frozenset({"doctor", "admin"}))
    with pytest.raises(RefusedChange, match="themselves"):
        await people.disable_user(desk(world), "boss")
    await people.disable_user(desk(world, by="vice"), "boss")
    assert (await _user(world, "boss")).is_disabled


async def test_the_last_admin_stays_one_and_a_disabled_admin_does_not_count(
    world: SmartWorld,
) -> None:
    for name in ("one", "two"):
        await people.create_user(desk(world), User(name, name, frozenset({"admin"})), HASH)
    await people.disable_user(desk(world), "two")
    with pytest.raises(RefusedChange, match="last admin"):
        await people.disable_user(desk(world), "one")
    with pytest.raises(RefusedChange, match="last admin"):
        await people.change_roles(desk(world, None), "one", frozenset({"nurse"}))
    far = User("far", "Far", frozenset({"admin"}), tenant="north")
    await people.create_user(desk(world), far, HASH)
    with pytest.raises(RefusedChange, match="last admin"):
        await people.disable_user(desk(world), "one")
    await people.enable_user(desk(world), "two")
    await people.change_roles(desk(world), "one", frozenset({"nurse"}))


async def test_of_two_admins_who_disable_each_other_at_once_one_is_refused(
    world: SmartWorld,
) -> None:
    for name in ("one", "two"):
        await people.create_user(desk(world), User(name, name, frozenset({"admin"})), HASH)
    done = await asyncio.gather(
        people.disable_user(desk(world, "one"), "two"),
        people.disable_user(desk(world, "two"), "one"),
        return_exceptions=True,
    )
    assert sorted(type(each) for each in done if each) == [RefusedChange]


async def test_what_is_not_sound_is_refused_and_nothing_changes(world: SmartWorld) -> None:
    with pytest.raises(RefusedChange, match="already"):
        await people.create_user(desk(world), User("dr.amina", "X", frozenset({"nurse"})), HASH)
    with pytest.raises(RefusedChange, match="no user"):
        await people.disable_user(desk(world), "nobody")
    for roles, says in ((frozenset[str](), "needs a role"), (frozenset({"service"}), "service")):
        with pytest.raises(BadUser, match=says):
            await people.change_roles(desk(world), "dr.amina", roles)
    with pytest.raises(BadUser, match="printable"):
        await people.create_user(desk(world), User("a\x1fb", "X", frozenset({"nurse"})), HASH)
    assert (await _user(world)).roles == {"doctor"}
    assert (await _user(world)).name == "Dr amina"


async def test_a_session_started_while_its_user_is_disabled_ends_too(world: SmartWorld) -> None:
    """The look at what is open comes before the unit; a sign-in in between is caught after it."""
    behind = desk(world)
    real = world.store.transaction

    async def late(unit):  # type: ignore[no-untyped-def]
        world.store.transaction = real  # type: ignore[method-assign]
        assert (await world.sign_in()).status_code == 303
        return await real(unit)

    world.store.transaction = late  # type: ignore[method-assign]
    await people.disable_user(behind, "dr.amina")
    assert not await standing_of(world.store, "dr.amina")
    assert active(await world.store.record("user", "dr.amina")) is None
    assert answer_of(await world.authorize(prompt="none"))["error"] == "login_required"


def test_people_are_looked_after_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"MEDSAGE_DATA": str(tmp_path), "MEDSAGE_DEMO": "false"}

    def medsage(*words: str, typed: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(app, ["user", *words], input=f"{typed}\n{typed}\n", env=given)
        return done.exit_code, done.output

    new = ("add", "Boss", "--name", "The Boss", "--role", "admin")
    code, said = medsage(*new, typed="too short")
    assert (code, "at least 12" in said) == (1, True)
    assert medsage(*new, typed=PASSWORD)[0] == 0
    code, said = medsage(*new, typed=PASSWORD)
    assert (code, "already" in said) == (1, True)
    code, said = medsage("disable", "boss")
    assert (code, "last admin" in said) == (1, True)
    code, said = medsage("roles", "boss", "--role", "admin", "--role", "auditor")
    assert (code, "admin, auditor" in said) == (0, True)
    assert medsage("password", "boss", typed="another long one")[0] == 0
    for verb in ("unlock", "end-sessions", "reset-second-factor", "enable"):
        assert medsage(verb, "boss")[0] == 0
        assert medsage(verb, "nobody")[0] == 1
    code, said = medsage("list")
    assert said.strip() == "boss\tThe Boss\tadmin, auditor\tmust change the password"
    assert asyncio.run(_audited(tmp_path)) == [
        "user-create",
        "user-roles",
        "user-security",
        "user-security",
        "user-security",
        "session-end",
        "user-security",
        "user-security",
    ]


async def _audited(folder: Path) -> list[str]:
    import orjson

    store = SqliteStore.open(folder / "medsage.sqlite", utc_now)
    entries = [orjson.loads(one.entry) for one in await store.journal(100)]
    await store.close()
    assert {entry["client"] for entry in entries} == {"medsage-command"}
    assert {entry["about"] for entry in entries} == {"boss"}
    return [entry["interaction"] for entry in entries]
