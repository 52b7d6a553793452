"""The second factor (RFC 6238) at sign-in: enrolment, one use of each step, recovery codes."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization import people
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.totp import (
    SecondFactor,
    code_of,
    enrolment_picture,
    enrolment_uri,
    factor_record,
    new_recovery_codes,
    spend,
    step_of,
    with_recovery,
)
from tests.smart_world import (
    FHIR,
    PASSWORD,
    SmartWorld,
    answer_of,
    hidden_fields,
    quick_hashing,
    smart_world,
)

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890"
NOW = 1_111_111_109.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_hashing(monkeypatch)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard_s_table(seconds: int, code: str) -> None:
    assert code_of(RFC_SECRET, step_of(seconds)) == code


def test_a_code_is_good_in_its_step_and_the_ones_beside_it_and_once() -> None:
    factor, now = SecondFactor(RFC_SECRET, is_confirmed=True), 1_111_111_109.0
    code = code_of(RFC_SECRET, step_of(now))
    assert spend(factor, code, now) is not None
    assert spend(factor, f"{code[:3]} {code[3:]}", now + 30) is not None
    assert spend(factor, code, now - 30) is not None
    assert spend(factor, code, now + 60) is None
    assert spend(factor, code, now - 60) is None
    assert spend(factor, "", now) is None
    used = spend(factor, code, now)
    assert used is not None
    assert spend(used, code, now) is None
    assert spend(used, code_of(RFC_SECRET, step_of(now) - 1), now) is None  # an older step
    assert spend(used, code_of(RFC_SECRET, step_of(now) + 1), now) is not None


def test_a_recovery_code_works_once_and_is_not_kept_readable() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    factor = with_recovery(SecondFactor(RFC_SECRET, is_confirmed=True), codes)
    assert not any(code.replace("-", "") in str(factor) for code in codes)
    used = spend(factor, codes[3].lower(), NOW)
    assert used is not None
    assert spend(used, codes[3], NOW) is None
    assert spend(used, codes[4], NOW) is not None
    assert spend(replace(factor, is_confirmed=False), codes[3], NOW) is None


def test_the_picture_is_svg_for_the_page_without_style_or_script() -> None:
    picture = enrolment_picture(enrolment_uri(RFC_SECRET, "dr.amina", "MedSAGE"))
    assert picture.startswith("<svg")
    assert "style=" not in picture
    assert "<script" not in picture


async def _enrolled(world: SmartWorld, user: str = "dr.amina") -> SecondFactor:
    factor = SecondFactor(RFC_SECRET, is_confirmed=True)
    await world.store.transaction(lambda tx: tx.put_record(factor_record(user, factor)))
    return factor


def code_now(world: SmartWorld, secret: str = RFC_SECRET) -> str:
    return code_of(secret, step_of(world.clock().timestamp()))


async def _password(world: SmartWorld, browser: httpx.AsyncClient | None = None) -> httpx.Response:
    """Through the password to the page of the next step."""
    browser = browser or world.browser
    answer = await world.sign_in(browser=browser)
    return await browser.get("/auth/" + answer.headers["location"])


async def _post(
    world: SmartWorld, page: httpx.Response, browser: httpx.AsyncClient | None = None, **typed: str
) -> httpx.Response:
    step = str(page.url.path)
    return await (browser or world.browser).post(step, data=hidden_fields(page) | typed)


async def test_the_password_alone_opens_nothing_and_the_code_does(world: SmartWorld) -> None:
    await _enrolled(world)
    answer = await world.authorize()
    page = await world.sign_in(url="/auth/" + answer.headers["location"])
    assert page.headers["location"].startswith("second-factor?")
    assert (await world.authorize(prompt="none")).headers["location"].count("login_required") == 1
    page = await world.browser.get("/auth/" + page.headers["location"])
    back = await _post(world, page, code=code_now(world))
    assert "code" in answer_of(back)
    (entry,) = [e for e in await world.journal("login") if e["outcome"] == "success"]
    assert entry["detail"] == "password, second factor"


async def test_a_code_is_used_once_even_by_two_at_the_same_moment(world: SmartWorld) -> None:
    await _enrolled(world)
    async with world.new_browser() as other:
        pages = [await _password(world), await _password(world, other)]
        code = code_now(world)
        answers = await asyncio.gather(
            _post(world, pages[0], code=code), _post(world, pages[1], other, code=code)
        )
    assert sorted(answer.status_code for answer in answers) == [303, 400]


async def test_wrong_codes_are_counted_and_the_wait_is_told(world: SmartWorld) -> None:
    await _enrolled(world)
    page = await _password(world)
    for _ in range(5):
        wrong = await _post(world, page, code="000000")
        assert wrong.status_code == 400
        assert "not right" in wrong.text
    limited = await _post(world, page, code=code_now(world))
    assert limited.status_code == 429
    assert 0 < int(limited.headers["retry-after"]) <= 31
    world.clock.forward(31)
    assert (await _post(world, page, code=code_now(world))).status_code == 303


async def test_a_step_can_not_be_left_out_nor_taken_in_another_browser(world: SmartWorld) -> None:
    await _enrolled(world)
    page = await _password(world)
    form = hidden_fields(page)
    for step in ("enrol", "new-password"):
        skipped = await world.browser.post(
            f"/auth/{step}", data=form | {"code": "1", "password": "x" * 12, "again": "x" * 12}
        )
        assert skipped.status_code == 400
    async with world.new_browser() as thief:
        assert (await thief.get(str(page.url))).status_code == 400
        stolen = form | {"code": code_now(world)}
        assert (await thief.post("/auth/second-factor", data=stolen)).status_code == 400
    forged = form | {"code": code_now(world), "csrf": "0" * 64}
    assert (await world.browser.post("/auth/second-factor", data=forged)).status_code == 403
    assert (await world.authorize()).headers["location"].startswith("login?")


async def test_a_role_that_needs_a_second_factor_enrols_before_the_session_begins(
    world: SmartWorld,
) -> None:
    rules = SignInRules(second_factor_roles=frozenset({"doctor"}))
    object.__setattr__(world.server, "rules", rules)
    asked = await world.authorize()
    answer = await world.sign_in(url="/auth/" + asked.headers["location"])
    assert answer.headers["location"].startswith("enrol?")
    page = await world.browser.get("/auth/" + answer.headers["location"])
    assert "<svg" in page.text
    (key,) = re.findall(r"Key: <code>([A-Z2-7 ]+)</code>", page.text)
    assert (await _post(world, page, code="000000")).status_code == 400
    assert (await world.authorize()).headers["location"].startswith("login?")
    codes = await _post(world, page, code=code_now(world, key.replace(" ", "")))
    assert codes.status_code == 200
    assert len(re.findall(r"<li><code>([A-Z2-7-]{19})</code>", codes.text)) == 10
    (onwards,) = re.findall(r'class="button" href="([^"]+)"', codes.text)
    assert "code" in answer_of(await world.browser.get("/auth/" + onwards))
    (entry,) = await world.journal("user-security")
    assert (entry["subject"], entry["detail"]) == ("dr.amina", "second factor added")
    async with world.new_browser() as other:  # from now on it is asked for, and enrolled no more
        world.clock.forward(60)
        page = await _password(world, other)
        assert str(page.url.path) == "/auth/second-factor"
        (recovery, *_) = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", codes.text)
        assert (await _post(world, page, other, code=recovery)).status_code == 303


async def test_a_reset_by_an_admin_takes_the_factor_away_and_ends_the_sessions(
    world: SmartWorld,
) -> None:
    tokens = await world.tokens()
    await _enrolled(world)
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    await people.reset_second_factor(Desk(world.store, trail, "boss"), "dr.amina")
    with pytest.raises(Exception, match="session has ended"):
        await world.who(tokens["access_token"])
    assert (await world.sign_in()).headers["location"] == "login"


async def test_after_a_reset_the_given_password_opens_only_the_choice_of_another(
    world: SmartWorld,
) -> None:
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    record = await world.store.record("user", "dr.amina")
    assert record is not None
    given = record.value["password"]
    await people.reset_password(Desk(world.store, trail, "boss"), "dr.amina", given)
    page = await _password(world)
    assert str(page.url.path) == "/auth/new-password"
    for password, again, says in (
        ("too short", "too short", "at least 12"),
        ("long enough words", "long enough wordz", "differ"),
        (PASSWORD, PASSWORD, "another password than the one"),
        ("aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa", "too easy"),
    ):
        refused = await _post(world, page, password=password, again=again)
        assert refused.status_code == 400
        assert says in refused.text
    assert (await world.authorize()).headers["location"].startswith("login?")
    done = await _post(world, page, password="long enough words", again="long enough words")
    assert done.status_code == 303
    assert "code" in answer_of(await world.authorize())
    assert (await world.sign_in(browser=world.new_browser())).status_code == 400  # the old one
