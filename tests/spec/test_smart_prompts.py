"""OpenID Connect Core 1.0 section 3.1.2.1: what an app may demand of the sign-in is done, may be
left out of account by the standard, or is refused by name."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.smart_world import PASSWORD, SmartWorld, answer_of, hidden_fields, smart_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        await opened.sign_in()
        opened.clock.forward(100)
        yield opened


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
async def test_a_prompt_for_the_sign_in_asks_again_and_then_goes_on(
    world: SmartWorld, prompt: str
) -> None:
    answer = await world.authorize(prompt=prompt)
    assert answer.headers["location"].startswith("login?")
    back = await world.sign_in(url="/auth/" + answer.headers["location"])
    assert not back.headers["location"].startswith("login")


async def test_prompt_none_answers_at_once_or_says_what_is_missing(world: SmartWorld) -> None:
    assert "code" in answer_of(await world.authorize(prompt="none"))
    async with world.new_browser() as stranger:
        sent = answer_of(await world.authorize(browser=stranger, prompt="none"))
    assert sent["error"] == "login_required"


async def test_prompt_consent_asks_even_for_an_app_of_our_own(world: SmartWorld) -> None:
    answer = await world.authorize(prompt="consent")
    page = await world.browser.get("/auth/" + answer.headers["location"])
    assert "MedSAGE app" in page.text
    form = hidden_fields(page) | {"decision": "allow"}
    assert "code" in answer_of(await world.browser.post("/auth/consent", data=form))


@pytest.mark.parametrize(
    ("max_age", "asks"), [("101", False), ("100", False), ("99", True), ("0", True)]
)
async def test_a_session_older_than_max_age_asks_again(
    world: SmartWorld, max_age: str, asks: bool
) -> None:
    answer = await world.authorize(max_age=max_age)
    assert answer.headers["location"].startswith("login?") == asks
    silent = answer_of(await world.authorize(max_age=max_age, prompt="none"))
    assert silent.get("error") == ("login_required" if asks else None)
    if asks:
        back = await world.sign_in(url="/auth/" + answer.headers["location"])
        assert "code" in answer_of(back)


async def test_a_launch_of_an_old_session_is_refused_where_max_age_is_shorter(
    world: SmartWorld,
) -> None:
    handle = (await world.launch(await world.ehr_token())).json()["launch"]
    asked = {"launch": handle, "scope": "openid launch"}
    assert answer_of(await world.authorize(**asked, max_age="50"))["error"] == "login_required"
    assert "code" in answer_of(await world.authorize(**asked, max_age="500"))


async def test_the_hint_fills_in_the_name_and_is_not_html(world: SmartWorld) -> None:
    async with world.new_browser() as stranger:
        for hint in ("dr.kofi", '"><b>'):
            answer = await world.authorize(browser=stranger, login_hint=hint)
            page = await stranger.get("/auth/" + answer.headers["location"])
            assert ('value="dr.kofi"' in page.text) == (hint == "dr.kofi")
            assert "<b>" not in page.text


async def test_the_user_of_the_id_token_hint_goes_on_and_no_other(world: SmartWorld) -> None:
    hint = (await world.tokens())["id_token"]
    asked = {"id_token_hint": hint, "prompt": "none"}
    assert "code" in answer_of(await world.authorize(**asked))
    async with world.new_browser() as other:
        await world.sign_in("dr.kofi", other)
        world.clock.forward(5)
        sent = answer_of(await world.authorize(browser=other, **asked))
        assert sent["error"] == "login_required"
        answer = await world.authorize(browser=other, id_token_hint=hint)
        url = "/auth/" + answer.headers["location"]
        assert url.startswith("/auth/login?")
        assert answer_of(await world.sign_in("dr.kofi", other, url))["error"] == "login_required"
        world.clock.forward(5)
        answer = await world.authorize(browser=other, id_token_hint=hint)
        form = hidden_fields(await other.get("/auth/" + answer.headers["location"]))
        form |= {"username": "dr.amina", "password": PASSWORD}
        assert "code" in answer_of(await other.post("/auth/login", data=form))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1.5"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"id_token_hint": "x.y.z"}, "invalid_request"),
        ({"claims": "{}"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://app.test/r"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"resource": "https://evil.test/fhir"}, "invalid_request"),
        ({"aud": None, "resource": "https://evil.test/fhir"}, "invalid_request"),
    ],
)
async def test_what_is_malformed_or_not_built_is_refused_by_name(
    world: SmartWorld, changes: dict[str, str | None], error: str
) -> None:
    sent = answer_of(await world.authorize(**changes))
    assert sent["error"] == error
    name = next(name for name, value in changes.items() if value)
    assert name in sent["error_description"]
    assert (await world.journal("authorize"))[-1]["outcome"] == "refused"


async def test_an_access_token_is_no_id_token_hint(world: SmartWorld) -> None:
    token = (await world.tokens())["access_token"]
    sent = answer_of(await world.authorize(id_token_hint=token))
    assert sent["error"] == "invalid_request"


async def test_what_may_be_left_out_of_account_is(world: SmartWorld) -> None:
    hints = {
        "display": "popup",
        "ui_locales": "sw",
        "acr_values": "urn:x",
        "response_mode": "query",
    }
    assert "code" in answer_of(await world.authorize(**hints))


async def test_resource_is_a_synonym_of_aud(world: SmartWorld) -> None:
    fhir = world.server.fhir_base
    assert "code" in answer_of(await world.authorize(aud=None, resource=fhir))
    assert "code" in answer_of(await world.authorize(resource=fhir))
