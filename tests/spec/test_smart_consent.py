"""Consent: scopes in plain words, allowed in part, remembered per user, client and scopes, and
taken back (SMART App Launch 2.2, "Scopes and Launch Context")."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.consents import is_remembered
from fhir_server.security.authorization.scope_words import describe
from tests.launch_world import Picker, launch_world
from tests.smart_world import SmartWorld, answer_of, hidden_fields, smart_world

OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        await opened.sign_in()
        yield opened


def words(scope: str) -> str:
    (line,) = describe(scope)
    assert line.scope == scope
    return line.text


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("user/Patient.rs", "Read names, birth dates and addresses of all patients that you"),
        ("patient/Observation.rs", "Read measurements and results of this patient"),
        (f"patient/Observation.rs?category={OBSERVATION}|laboratory", "Read laboratory results of"),
        ("patient/Observation.rs?category=vital-signs", "Read vital signs of this patient"),
        (
            "patient/Observation.rs?category=laboratory,vital-signs",
            "Read laboratory results and vital signs of this patient",
        ),
        ("patient/Observation.cruds?category=laboratory", "Read, create, change and delete labor"),
        ("patient/Task.u", "Change tasks of this patient"),
        ("patient/*.rs", "Read everything in the records of this patient"),
        ("user/Basic.rs", "Read resources of type Basic of all patients"),
        ("offline_access", "Keep working after you have signed out"),
    ],
)
def test_a_scope_is_told_in_words(scope: str, text: str) -> None:
    assert words(scope).startswith(text)


@pytest.mark.parametrize(
    "scope",
    [
        "patient/Observation.rs?category=https://example.org|laboratory",
        "patient/Observation.rs?category=laboratory,unheard-of",
        "patient/Observation.rs?code=1234-5",
        "patient/Observation.rs?category=laboratory&status=final",
        "patient/Condition.rs?category=laboratory",
    ],
)
def test_a_filter_without_words_is_shown_exactly_and_not_paraphrased(scope: str) -> None:
    (line,) = describe(scope)
    assert not line.has_words
    assert line.scope == scope
    assert "laborator" not in line.text


async def _page(world: SmartWorld, **changes: str | None) -> httpx.Response:
    answer = await world.authorize("third", **changes)
    assert answer.headers["location"].startswith("consent?"), answer.headers["location"]
    return await world.browser.get("/auth/" + answer.headers["location"])


async def _allow(world: SmartWorld, page: httpx.Response, *unticked: str) -> httpx.Response:
    form = {n: v for n, v in hidden_fields(page).items() if v not in unticked}
    return await world.browser.post("/auth/consent", data=form | {"decision": "allow"})


async def _scope(world: SmartWorld, answer: httpx.Response) -> str:
    tokens = await world.redeem(answer_of(answer)["code"], "third")
    return str(tokens.json()["scope"])


async def test_what_is_unticked_is_not_granted(world: SmartWorld) -> None:
    page = await _page(world, scope="openid fhirUser user/Patient.rs")
    assert "Know your name and your own record" in page.text
    answer = await _allow(world, page, "user/Patient.rs")
    assert await _scope(world, answer) == "fhirUser openid"
    (entry,) = await world.journal("consent")
    assert (entry["subject"], entry["client"], entry["detail"]) == (
        "dr.amina",
        "third",
        "allowed: fhirUser openid",
    )


async def test_a_ticked_scope_that_was_not_offered_is_not_granted(world: SmartWorld) -> None:
    page = await _page(world, scope="openid user/Patient.rs")
    form = hidden_fields(page) | {"decision": "allow", "scope-9": "patient/Observation.rs"}
    answer = await world.browser.post("/auth/consent", data=form)
    assert await _scope(world, answer) == "openid user/Patient.rs"


async def test_allowing_nothing_is_not_allowing(world: SmartWorld) -> None:
    page = await _page(world, scope="user/Patient.rs")
    answer = await _allow(world, page, "user/Patient.rs")
    assert answer.status_code == 400
    assert "Nothing is ticked" in answer.text
    assert "code" in answer_of(await _allow(world, answer))


async def test_the_answer_is_remembered_until_the_app_asks_for_more(world: SmartWorld) -> None:
    await _allow(world, await _page(world, scope="openid user/Patient.rs"))
    again = await world.authorize("third", scope="openid user/Patient.rs", prompt="none")
    assert await _scope(world, again) == "openid user/Patient.rs"
    less = await world.authorize("third", scope="user/Patient.r")
    assert await _scope(world, less) == "user/Patient.r"
    more = await _page(world, scope="openid fhirUser user/Patient.rs")
    assert "code" in answer_of(await _allow(world, more))


async def test_what_was_unticked_stays_refused_when_the_answer_is_remembered(
    world: SmartWorld,
) -> None:
    page = await _page(world, scope="openid fhirUser user/Patient.rs")
    await _allow(world, page, "user/Patient.rs")
    again = await world.authorize("third", scope="openid user/Patient.rs")
    assert await _scope(world, again) == "openid"


async def test_an_answer_is_one_user_s_and_one_app_s(world: SmartWorld) -> None:
    await _allow(world, await _page(world, scope="openid user/Patient.rs"))
    async with world.new_browser() as other:
        await world.sign_in("dr.kofi", other)
        asked = await world.authorize("third", other, scope="openid user/Patient.rs")
        assert asked.headers["location"].startswith("consent?")


async def test_denying_is_not_remembered(world: SmartWorld) -> None:
    page = await _page(world, scope="openid")
    denied = hidden_fields(page) | {"decision": "deny"}
    assert answer_of(await world.browser.post("/auth/consent", data=denied))["error"]
    await _page(world, scope="openid")


async def test_consent_taken_back_ends_the_app_s_access_and_it_must_ask_again(
    world: SmartWorld,
) -> None:
    tokens = await world.redeem(
        answer_of(await _allow(world, await _page(world, scope="openid user/Patient.rs")))["code"],
        "third",
    )
    account = await world.browser.get("/auth/account")
    assert "Read names, birth dates and addresses" in account.text
    form = {"csrf": hidden_fields(account)["csrf"], "client": "third"}
    form["csrf"] = _token_of(account)
    assert (await world.browser.post("/auth/account", data=form)).status_code == 303
    with pytest.raises(Exception, match="revoked"):
        await world.who(tokens.json()["access_token"])
    await _page(world, scope="openid user/Patient.rs")
    (entry,) = await world.journal("session-end")
    assert (entry["about"], entry["detail"]) == ("dr.amina", "access of third")


def _token_of(page: httpx.Response) -> str:
    """The CSRF token of the page's own forms; the last form on it signs out."""
    return page.text.split('name="csrf" value="')[1].split('"')[0]


def test_the_answer_to_an_app_that_any_program_could_play_is_not_remembered() -> None:
    local = "http://127.0.0.1/cb"
    public = Client("p", "P", "openid", redirect_uris=(local, "https://p.test/cb"))
    assert not is_remembered(public, local)
    assert is_remembered(public, "https://p.test/cb")


async def test_scopes_of_smart_v1_stay_as_the_app_wrote_them(world: SmartWorld) -> None:
    asked = "openid user/Patient.read"
    page = await _page(world, scope=asked)
    first = await _scope(world, await _allow(world, page))
    again = await _scope(world, await world.authorize("third", scope=asked))
    assert first == again == asked


async def test_an_app_that_asks_for_the_page_gets_it_although_the_answer_is_known(
    world: SmartWorld,
) -> None:
    await _allow(world, await _page(world, scope="openid user/Patient.rs"))
    page = await _page(world, scope="openid user/Patient.rs", prompt="consent")
    assert "code" in answer_of(await _allow(world, page))


async def test_a_remembered_answer_is_given_after_the_choice_of_the_patient(
    tmp_path: Path,
) -> None:
    asked = "openid patient/Observation.rs"
    async with launch_world(tmp_path) as world:
        picker = Picker(world)
        found = await picker.search(await picker.open("third", scope=asked), name="osei")
        page = await picker.follow(await picker.choose(found, "ama"))
        assert "Read measurements and results of this patient" in page.text
        first = await _allow(world, page)
        found = await picker.search(await picker.open("third", scope=asked), name="osei")
        second = await picker.choose(found, "ama")
        for answer in (first, second):
            tokens = (await world.redeem(answer_of(answer)["code"], "third")).json()
            assert (tokens["scope"], tokens["patient"]) == (asked, "ama")
