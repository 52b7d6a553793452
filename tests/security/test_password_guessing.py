"""Guessing passwords is slow for who guesses, and not for whom they guess at; what new passwords
must be (NIST SP 800-63B)."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization import people
from fhir_server.security.authorization.lockout import (
    Failures,
    Source,
    judge,
    locked_until,
    source_of_address,
)
from fhir_server.security.authorization.passwords import (
    BrokenPasswords,
    PasswordRules,
    UnusableList,
    WeakPassword,
)
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.users import User
from tests.smart_world import (
    FHIR,
    ORIGIN,
    PASSWORD,
    SmartWorld,
    hidden_fields,
    quick_hashing,
    smart_world,
)

AMINA = User("dr.amina", "Dr Amina", frozenset({"doctor"}))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_hashing(monkeypatch)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


def browser_at(world: SmartWorld, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(world.application, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN)


async def guess(browser: httpx.AsyncClient, times: int, password: str = "wrong") -> list[int]:
    form = hidden_fields(await browser.get("/auth/login"))
    form |= {"username": "dr.amina", "password": password}
    return [(await browser.post("/auth/login", data=form)).status_code for _ in range(times)]


def test_a_source_waits_longer_each_time_up_to_a_quarter_of_an_hour() -> None:
    own, waits, now = Failures(), [], 0.0
    for _ in range(12):
        own = judge(own, Failures(), Source("address 1"), now).own
        waits.append(own.until - now)
        assert judge(own, Failures(), Source("address 1"), now).wait == (
            int(waits[-1]) + 1 if waits[-1] else 0
        )
        now = own.until
    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]


def test_the_account_counts_five_of_each_source_and_never_holds_up_a_known_browser() -> None:
    in_all, own, now = Failures(), Failures(), 0.0
    for _ in range(40):
        judged = judge(own, in_all, Source("address 1"), now)
        own, in_all, now = judged.own, judged.in_all, judged.own.until
    assert in_all == Failures(5, in_all.until)
    for address in range(2, 7):
        own = Failures()
        for _ in range(5):
            judged = judge(own, in_all, Source(f"address {address}"), in_all.until)
            own, in_all = judged.own, judged.in_all
    assert in_all.count > 25
    before = in_all.until - 1
    assert judge(Failures(), in_all, Source("address 9"), before).wait > 0
    assert judge(Failures(), in_all, Source("browser x", is_known=True), before).wait == 0


def test_an_ipv6_network_is_one_source() -> None:
    assert source_of_address("2001:db8::1") == source_of_address("2001:db8::ffff")
    assert source_of_address("2001:db8::1") != source_of_address("2001:db8:0:1::1")
    assert source_of_address("10.0.0.1") != source_of_address("10.0.0.2")
    assert source_of_address(None) == source_of_address(None)


async def test_one_address_can_not_lock_the_owner_out(world: SmartWorld) -> None:
    async with browser_at(world, "192.0.2.66") as guesser:
        assert await guess(guesser, 8) == [400] * 5 + [429] * 3
        assert (await guess(guesser, 1, PASSWORD)) == [429]
    assert (await world.sign_in()).status_code == 303


async def test_many_addresses_slow_down_strangers_but_not_a_browser_that_is_known(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    world.browser.cookies.delete("__Secure-medsage-session")
    for number in range(6):
        async with browser_at(world, f"192.0.2.{number}") as guesser:
            await guess(guesser, 5)
    async with browser_at(world, "198.51.100.1") as stranger:
        assert await guess(stranger, 1, PASSWORD) == [429]
    assert (await world.sign_in()).status_code == 303
    world.clock.forward(301)
    async with browser_at(world, "198.51.100.1") as stranger:
        assert await guess(stranger, 1, PASSWORD) == [303]


async def test_guesses_at_the_same_moment_are_counted_before_any_is_looked_at(
    world: SmartWorld,
) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    form |= {"username": "dr.amina", "password": "wrong"}
    answers = await asyncio.gather(
        *(world.browser.post("/auth/login", data=form) for _ in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [400] * 5 + [429] * 7


async def test_an_admin_unlocks_at_once(world: SmartWorld) -> None:
    assert await guess(world.browser, 6) == [400] * 5 + [429]
    now = world.clock().timestamp()
    assert await locked_until(world.store, "dr.amina") > now
    assert await locked_until(world.store, "dr.kofi") == 0
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    await people.unlock_user(Desk(world.store, trail, "boss"), "dr.amina")
    assert await locked_until(world.store, "dr.amina") == 0
    assert (await world.sign_in()).status_code == 303


async def test_a_success_forgives_its_own_source(world: SmartWorld) -> None:
    assert await guess(world.browser, 4) == [400] * 4
    assert (await world.sign_in()).status_code == 303
    world.browser.cookies.clear()
    assert await guess(world.browser, 4) == [400] * 4


async def test_what_was_typed_as_a_name_is_not_kept_readable(world: SmartWorld) -> None:
    form = hidden_fields(await world.browser.get("/auth/login"))
    await world.browser.post("/auth/login", data=form | {"username": "my secret password"})
    kept = await world.store.records("failed-sign-ins")
    assert len(kept) == 2
    assert "secret" not in str(kept)


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("eleven char", "at least 12"),
        ("x" * 257, "at most 256"),
        ("aaaaaaaaaaaabbbb", "too easy"),
    ],
)
def test_a_weak_password_is_refused_in_words(password: str, says: str) -> None:
    with pytest.raises(WeakPassword, match=says):
        PasswordRules().check(password, AMINA)


def test_there_are_no_rules_of_composition() -> None:
    for password in ("twelve chars", "correct horse battery", "пароль из слов", "1234567890123"):
        PasswordRules().check(password, AMINA)
    with pytest.raises(WeakPassword, match="easy"):
        PasswordRules(8).check("dr.amina", AMINA)


def _sha1(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


def _list(folder: Path, hashes: list[str], end: str = "\r\n") -> BrokenPasswords:
    path = folder / "broken.txt"
    counts = random.Random(5)
    path.write_text(end.join(f"{each}:{counts.randrange(10**6)}" for each in sorted(hashes)) + end)
    return BrokenPasswords(path)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("digits", [40, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_every_password_on_the_list_is_found_and_no_other(
    tmp_path: Path, size: int, digits: int, end: str
) -> None:
    listed = [f"password {number}" for number in range(size)]
    broken = _list(tmp_path, [_sha1(each)[:digits] for each in listed], end)
    assert all(each in broken for each in listed)
    assert not any(f"other {number}" in broken for number in range(200))


def test_a_password_from_a_breach_is_refused(tmp_path: Path) -> None:
    rules = PasswordRules(12, _list(tmp_path, [_sha1("correct horse"), _sha1("battery staple")]))
    with pytest.raises(WeakPassword, match="breach"):
        rules.check("correct horse", AMINA)
    rules.check("correct horse battery", AMINA)


def test_a_file_that_is_no_such_list_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with pytest.raises(UnusableList, match="can't be read"):
        BrokenPasswords(path)
    for text, says in (
        ("", "lines of HASH:count"),
        ("password\n123456\n", "not HASH:count"),
        (f"{'F' * 40}:1\n{'A' * 40}:1\n", "sorted"),
        (f"{'A' * 32}:1\n{'F' * 32}:1\n", "NTLM"),
    ):
        path.write_text(text)
        with pytest.raises(UnusableList, match=says):
            BrokenPasswords(path)
