"""`/auth/account` and `/auth/admin`: what people and administrators see and do themselves."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fhir_server.security.authorization.clients import Client, client_from, register_client
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.totp import code_of, step_of
from fhir_server.security.authorization.users import PasswordHash, User, register_user
from tests.smart_world import PASSWORD, SmartWorld, hidden_fields, smart_world

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW = "a brand new password"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        record = await opened.store.record("user", "dr.kofi")
        assert record is not None
        hashed = PasswordHash(record.value["password"])
        boss = User("boss", "The Boss", frozenset({"admin"}))
        await opened.store.transaction(lambda tx: register_user(tx, boss, hashed))
        yield opened


def token_of(page: httpx.Response) -> str:
    return page.text.split('name="csrf" value="')[1].split('"')[0]


async def post(world: SmartWorld, path: str, **fields: str) -> httpx.Response:
    """Send a form of the page at the path."""
    page = await world.browser.get(f"/auth/{path}")
    assert page.status_code == 200, page.text
    address = f"/auth/{path.partition('?')[0]}"
    return await world.browser.post(address, data={"csrf": token_of(page), **fields})


@pytest.mark.parametrize(("path", "page"), [("account", "account"), ("admin/users", "admin")])
async def test_nobody_is_sent_to_sign_in_and_back(world: SmartWorld, path: str, page: str) -> None:
    answer = await world.browser.get(f"/auth/{path}")
    assert answer.status_code == 303
    target = httpx.URL(f"https://medsage.test/auth/{path}").join(answer.headers["location"])
    assert (target.path, target.query.decode()) == ("/auth/login", f"page={page}")
    back = await world.sign_in("boss", url=str(target))
    assert back.headers["location"] == path


async def test_a_page_that_is_not_ours_is_no_way_out_of_the_sign_in(world: SmartWorld) -> None:
    back = await world.sign_in(url="/auth/login?page=https://evil.test")
    assert back.headers["location"] == "login"


async def test_sessions_are_shown_with_browser_address_apps_and_times_and_ended(
    world: SmartWorld,
) -> None:
    async with world.new_browser(**{"User-Agent": FIREFOX}) as other:
        await world.sign_in(browser=other)
        redeemed = await world.redeem(await world.code(browser=other))
        world.clock.forward(600)
        await world.sign_in()
        world.clock.forward(120)
        await other.get("/auth/account")  # used again
        page = await world.browser.get("/auth/account")
        assert "Firefox on Windows, 10.0.0.9" in page.text
        assert "MedSAGE app" in page.text
        assert "Signed in 01 Mar 2026, 09:00 UTC, last used 01 Mar 2026, 09:12 UTC" in page.text
        (session,) = re.findall(r'name="session" value="([^"]+)"', page.text)
        ended = await post(world, "account", session=session)
        assert ended.headers["location"] == "account?done=ended"
        assert (await other.get("/auth/account")).status_code == 303
    with pytest.raises(Exception, match="session has ended"):
        await world.who(redeemed.json()["access_token"])
    assert (await world.browser.get("/auth/account")).status_code == 200
    (entry,) = await world.journal("session-end")
    assert (entry["subject"], entry["about"]) == ("dr.amina", "dr.amina")


async def test_an_app_that_refreshes_its_tokens_uses_the_session(world: SmartWorld) -> None:
    tokens = await world.tokens()
    world.clock.forward(1800)
    await world.refresh(tokens["refresh_token"])
    async with world.new_browser() as other:
        await world.sign_in(browser=other)
        seen = (await other.get("/auth/account")).text
    assert "Signed in 01 Mar 2026, 09:00 UTC, last used 01 Mar 2026, 09:30 UTC" in seen


async def test_nobody_ends_or_sees_the_session_of_another(world: SmartWorld) -> None:
    async with world.new_browser() as kofi:
        await world.sign_in("dr.kofi", kofi)
        foreign = (await world.store.records("session"))[0].id
        await world.sign_in()
        assert foreign not in (await world.browser.get("/auth/account")).text
        await post(world, "account", session=foreign)
        assert (await kofi.get("/auth/account")).status_code == 200


async def test_everything_but_this_session_can_be_ended_at_once(world: SmartWorld) -> None:
    lasting = await world.tokens("public-app", scope="openid fhirUser offline_access")
    async with world.new_browser() as other:
        await world.sign_in(browser=other)
        await post(world, "account", others="yes")
        assert (await other.get("/auth/account")).status_code == 303
    assert (await world.browser.get("/auth/account")).status_code == 200
    assert (await world.refresh(lasting["refresh_token"], "public-app")).status_code == 400


async def test_another_password_needs_the_current_one_and_ends_the_other_sessions(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    async with world.new_browser() as other:
        await world.sign_in(browser=other)
        typed = {"current": PASSWORD, "password": NEW, "again": NEW}
        for changes, says in (
            ({"current": "wrong"}, "current password is not right"),
            ({"again": "different words"}, "differ"),
            ({"password": "short", "again": "short"}, "at least 12"),
        ):
            refused = await post(world, "account/password", **{**typed, **changes})
            assert refused.status_code == 400
            assert says in refused.text
        assert (await other.get("/auth/account")).status_code == 200
        done = await post(world, "account/password", **typed)
        assert done.headers["location"] == "../account?done=password"
        assert (await other.get("/auth/account")).status_code == 303
        assert (await world.browser.get("/auth/account")).status_code == 200
        form = hidden_fields(await other.get("/auth/login"))
        for password, status in ((PASSWORD, 400), (NEW, 303)):
            typed = form | {"username": "dr.amina", "password": password}
            assert (await other.post("/auth/login", data=typed)).status_code == status


async def test_the_current_password_can_not_be_guessed_from_an_open_browser(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    for _ in range(6):
        refused = await post(world, "account/password", current="guess", password=NEW, again=NEW)
    assert "Too many attempts" in refused.text


async def test_a_second_factor_is_turned_on_and_off_by_its_owner(world: SmartWorld) -> None:
    await world.sign_in()
    path = "account/second-factor"
    refused = await post(world, path, action="begin", current="wrong")
    assert refused.status_code == 400
    assert await world.store.record("second-factor", "dr.amina") is None
    await post(world, path, action="begin", current=PASSWORD)
    page = await world.browser.get(f"/auth/{path}")
    (key,) = re.findall(r"Key: <code>([A-Z2-7 ]+)</code>", page.text)
    wrong = await post(world, path, action="confirm", code="123456")
    assert "not right" in wrong.text
    code = code_of(key.replace(" ", ""), step_of(world.clock().timestamp()))
    codes = await post(world, path, action="confirm", code=code)
    first = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", codes.text)
    assert len(first) == 10
    assert key not in (await world.browser.get(f"/auth/{path}")).text
    async with world.new_browser() as other:
        assert (await world.sign_in(browser=other)).headers["location"].startswith("second-factor")
    renewed = await post(world, path, action="renew", current=PASSWORD)
    assert not set(first) & set(re.findall(r"<li><code>([A-Z2-7-]{19})</code>", renewed.text))
    await post(world, path, action="remove", current=PASSWORD)
    async with world.new_browser() as other:
        assert (await world.sign_in(browser=other)).headers["location"] == "login"
    said = [entry["detail"] for entry in await world.journal("user-security")][-3:]
    assert said == ["second factor added", "new recovery codes", "second factor removed"]


async def test_a_second_factor_that_the_role_needs_can_not_be_turned_off(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    rules = replace(SignInRules(), second_factor_roles=frozenset({"doctor"}))
    object.__setattr__(world.server, "rules", rules)
    refused = await post(world, "account/second-factor", action="remove", current=PASSWORD)
    assert refused.status_code == 400
    assert "Your role needs a second step" in refused.text


async def test_forms_from_elsewhere_change_nothing(world: SmartWorld) -> None:
    await world.sign_in("boss")
    for path in ("account", "account/password", "admin/user", "admin/new-user", "admin/sessions"):
        form = {"csrf": "0" * 64, "id": "dr.amina", "action": "disable", "others": "yes"}
        assert (await world.browser.post(f"/auth/{path}", data=form)).status_code == 403
    account = token_of(await world.browser.get("/auth/account"))
    form = {"csrf": account, "id": "dr.amina", "action": "disable"}  # the token of another area
    assert (await world.browser.post("/auth/admin/user", data=form)).status_code == 403
    record = await world.store.record("user", "dr.amina")
    assert record is not None
    assert not record.value.get("is_disabled")


@pytest.mark.parametrize("path", ["users", "new-user", "user?id=dr.kofi", "sessions", "clients"])
async def test_the_admin_pages_are_for_admins_alone(world: SmartWorld, path: str) -> None:
    await world.sign_in()
    answer = await world.browser.get(f"/auth/admin/{path}")
    assert answer.status_code == 403
    assert "for administrators" in answer.text
    assert "dr.kofi" not in answer.text
    assert (await world.browser.post(f"/auth/admin/{path}")).status_code in (403, 405)
    (entry, *_) = await world.journal("user-security")
    assert (entry["outcome"], entry["subject"]) == ("refused", "dr.amina")


async def test_an_admin_creates_a_user_who_then_chooses_a_password(world: SmartWorld) -> None:
    await world.sign_in("boss")
    new = {
        "username": "Nurse.Joy", "name": "Joy <b>", "role-nurse": "yes", "password": PASSWORD,
        "fhir_user": "Practitioner/joy",
    }  # fmt: skip
    for changes, says in (
        ({"password": "short"}, "at least 12"),
        ({"username": "dr.amina"}, "There is a user dr.amina already"),
        ({"fhir_user": "joy"}, "Practitioner/123"),
        ({"role-nurse": "", "role-root": "yes"}, "unknown roles: root"),
    ):
        refused = await post(world, "admin/new-user", **{**new, **changes})
        assert refused.status_code == 400
        assert says in refused.text
    created = await post(world, "admin/new-user", **new)
    assert created.headers["location"] == "user?id=nurse.joy&done=created"
    assert "Joy &lt;b&gt;" in (await world.browser.get("/auth/admin/users")).text
    (entry,) = await world.journal("user-create")
    assert (entry["subject"], entry["about"]) == ("boss", "nurse.joy")
    async with world.new_browser() as joy:
        answer = await world.sign_in("nurse.joy", joy)
        assert answer.headers["location"].startswith("new-password?")


async def test_an_admin_changes_and_ends_what_others_have(world: SmartWorld) -> None:
    async with world.new_browser() as amina:
        await world.sign_in(browser=amina)
        await world.sign_in("boss")
        page = "admin/user?id=dr.amina"
        assert "10.0.0.9" in (await world.browser.get(f"/auth/{page}")).text
        overview = await world.browser.get("/auth/admin/sessions")
        (session,) = re.findall(r'name="session" value="([^"]+)"', overview.text)
        await post(world, "admin/sessions", session=session)
        assert (await amina.get("/auth/account")).status_code == 303
        await world.sign_in(browser=amina)
        changed = await post(
            world, page, id="dr.amina", action="roles", **{"role-nurse": "y", "role-auditor": "y"}
        )
        assert changed.headers["location"] == "user?id=dr.amina&done=roles"
        assert (await amina.get("/auth/account")).status_code == 303
        await post(world, page, id="dr.amina", action="disable")
        assert (await world.sign_in(browser=amina)).status_code == 400
        await post(world, page, id="dr.amina", action="enable")
        await post(world, page, id="dr.amina", action="password", password=NEW)
        form = hidden_fields(await amina.get("/auth/login"))
        typed = form | {"username": "dr.amina", "password": NEW}
        answer = await amina.post("/auth/login", data=typed)
        assert answer.headers["location"].startswith("new-password?")
    said = [e["detail"] for e in await world.journal("user-security")]
    assert said == ["disabled", "enabled", "password reset", "unlocked"]
    assert {e["subject"] for e in await world.journal("user-roles")} == {"boss"}


async def test_an_admin_is_told_why_a_change_is_refused(world: SmartWorld) -> None:
    await world.sign_in("boss")
    for action, says in (
        ("roles", "their own roles"),
        ("disable", "disables themselves"),
        ("password", "your own password on the page of your account"),
        ("explode", "no such action"),
    ):
        refused = await post(
            world,
            "admin/user?id=boss",
            id="boss",
            action=action,
            password=NEW,
            **{"role-nurse": ""},
        )
        assert refused.status_code == 400, action
        assert says in refused.text


async def test_the_admin_pages_keep_the_security_headers(world: SmartWorld) -> None:
    await world.sign_in("boss")
    for path in ("account", "account/second-factor", "admin/users", "admin/user?id=dr.amina"):
        page = await world.browser.get(f"/auth/{path}")
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert "<script" not in page.text
        assert "style=" not in page.text


def _waiting(**changes: str) -> Client:
    asked = Client(
        "asker",
        "Asking <app>",
        "openid launch/patient patient/Observation.rs user/Patient.rs",
        redirect_uris=("https://asker.test/cb",),
        status="pending",
    )
    return replace(asked, **changes)


async def test_an_admin_approves_an_app_with_less_than_it_asked_for(world: SmartWorld) -> None:
    await world.store.transaction(lambda tx: register_client(tx, _waiting()))
    await world.sign_in("boss")
    page = await world.browser.get("/auth/admin/clients")
    assert "Asking &lt;app&gt;" in page.text
    assert "https://asker.test/cb" in page.text
    assert "Read names, birth dates and addresses of all patients that you may see" in page.text
    form = {n: v for n, v in hidden_fields(page).items() if v != "user/Patient.rs"}
    stale = form | {"revision": str(int(form["revision"]) + 1), "action": "approve"}
    refused = await world.browser.post("/auth/admin/clients", data=stale)
    assert refused.status_code == 400
    assert "look at it again" in refused.text
    approved = await world.browser.post("/auth/admin/clients", data=form | {"action": "approve"})
    assert approved.headers["location"] == "clients?done=approve"
    record = await world.store.record("client", "asker")
    assert record is not None
    client = client_from(record)
    assert (client.status, client.scopes) == (
        "active",
        "launch/patient openid patient/Observation.rs",
    )
    assert "No app is waiting" in (await world.browser.get("/auth/admin/clients")).text
    (entry,) = await world.journal("client-registration")
    assert (entry["subject"], entry["detail"].split(":")[0]) == ("boss", "asker approved")


async def test_an_admin_rejects_an_app(world: SmartWorld) -> None:
    await world.store.transaction(lambda tx: register_client(tx, _waiting()))
    await world.sign_in("boss")
    page = await world.browser.get("/auth/admin/clients")
    form = hidden_fields(page)
    nothing = {n: v for n, v in form.items() if not n.startswith("scope-")}
    refused = await world.browser.post("/auth/admin/clients", data=nothing | {"action": "approve"})
    assert "No scope is ticked" in refused.text
    rejected = await world.browser.post("/auth/admin/clients", data=form | {"action": "reject"})
    assert rejected.headers["location"] == "clients?done=reject"
    record = await world.store.record("client", "asker")
    assert record is not None
    assert record.value["status"] == "rejected"


async def test_people_sessions_and_apps_of_another_tenant_do_not_exist_for_an_admin(
    world: SmartWorld,
) -> None:
    record = await world.store.record("user", "dr.amina")
    assert record is not None
    hashed = PasswordHash(record.value["password"])
    others = (
        User("northener", "Northener", frozenset({"doctor"}), tenant="north"),
        User("north.admin", "North", frozenset({"admin"}), tenant="north"),
    )
    for user in others:
        await world.store.transaction(lambda tx, user=user: register_user(tx, user, hashed))
    await world.store.transaction(lambda tx: register_client(tx, _waiting()))
    async with world.new_browser() as north:
        await world.sign_in("northener", north)
        foreign = (await world.store.records("session"))[0].id
        await world.sign_in("boss")
        for path in ("admin/users", "admin/sessions"):
            assert "northener" not in (await world.browser.get(f"/auth/{path}")).text
        unknown = await world.browser.get("/auth/admin/user?id=nobody")
        hidden = await world.browser.get("/auth/admin/user?id=northener")
        assert (unknown.status_code, hidden.status_code) == (404, 404)
        csrf = token_of(await world.browser.get("/auth/admin/new-user"))
        form = {"csrf": csrf, "id": "northener", "action": "password", "password": NEW}
        assert (await world.browser.post("/auth/admin/user", data=form)).status_code == 404
        ended = {"csrf": csrf, "session": foreign}
        await world.browser.post("/auth/admin/sessions", data=ended)
        assert (await north.get("/auth/account")).status_code == 200
    async with world.new_browser() as north:
        await world.sign_in("north.admin", north)
        listed = (await north.get("/auth/admin/users")).text
        assert "northener" in listed
        assert "dr.amina" not in listed
        assert "No app is waiting" in (await north.get("/auth/admin/clients")).text
        page = await north.get("/auth/admin/new-user")
        form = {"csrf": token_of(page), "username": "new", "name": "New", "role-nurse": "y"}
        await north.post("/auth/admin/new-user", data=form | {"password": PASSWORD})
    record = await world.store.record("user", "new")
    assert record is not None
    assert record.value["tenant"] == "north"
