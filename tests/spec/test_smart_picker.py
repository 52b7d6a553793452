"""SMART App Launch 2.2, "Standalone apps": an app that needs a patient, and is not launched by an
EHR, has the user choose one, and a visit if it asks for that."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.launch_world import Picker, launch_world, listed
from tests.smart_world import SmartWorld, answer_of
from tests.stores import MONGODB, place_of

PATIENT = "openid launch/patient patient/Observation.rs online_access"
VISIT = PATIENT + " launch/encounter"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def picker(world: SmartWorld) -> Picker:
    return Picker(world)


@pytest.mark.parametrize("scope", [PATIENT, "patient/Observation.rs", "launch/patient openid"])
async def test_who_asks_for_a_patient_without_a_launch_has_the_user_choose_one(
    world: SmartWorld, picker: Picker, scope: str
) -> None:
    page = await picker.open(scope=scope)
    assert page.status_code == 200
    assert "Choose a patient" in page.text
    found = await picker.search(page, name="osei")
    sent = answer_of(await picker.choose(found, "ama"))
    tokens = (await world.redeem(sent["code"])).json()
    assert (tokens["patient"], tokens["need_patient_banner"]) == ("ama", True)
    assert set(tokens["scope"].split()) == set(scope.split())
    assert (await world.who(tokens["access_token"])).patient == "ama"


async def test_an_app_that_needs_no_patient_is_not_stopped(world: SmartWorld) -> None:
    tokens = await world.tokens(scope="openid user/Patient.rs launch")
    assert "patient" not in tokens
    assert "launch" not in tokens["scope"].split()  # nobody launched it


async def test_nobody_is_listed_before_the_user_asks(picker: Picker) -> None:
    page = await picker.open(scope=PATIENT)
    assert listed(page) == []
    assert "Osei" not in page.text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ({"name": "osei"}, ["ama-2", "ama"]),
        ({"name": "ser ose"}, ["ama-2", "ama"]),
        ({"name": "sere"}, []),
        ({"name": "ama", "birthdate": "1990"}, ["ama"]),
        ({"birthdate": "1990-02-03"}, ["ama"]),
        ({"birthdate": "1990-03"}, []),
        ({"identifier": "MRN-0043"}, ["ama-2"]),
        ({"identifier": "MRN-004"}, []),
        ({"name": "o,a|b\\c$d"}, []),
    ],
)
async def test_patients_are_found_by_name_birth_date_and_number(
    picker: Picker, typed: dict[str, str], found: list[str]
) -> None:
    page = await picker.search(await picker.open(scope=PATIENT), **typed)
    assert page.status_code == 200
    assert sorted(listed(page)) == sorted(found)
    assert ("No patient that you may see matches" in page.text) == (not found)


async def test_each_patient_is_shown_with_what_tells_them_apart(picker: Picker) -> None:
    page = await picker.search(await picker.open(scope=PATIENT), name="osei")
    for text in ("OSEI, Ama Serwaa", "03-Feb-1990 (36 y)", "female", "MRN-0042", "MRN-0043"):
        assert text in page.text
    assert page.text.count("Another patient here has the same name") == 2
    assert page.text.count("Recorded as deceased") == 1
    assert "<script" not in page.text


async def test_what_is_not_recorded_is_said_in_words(picker: Picker) -> None:
    page = await picker.open(scope=PATIENT)
    for _ in range(2):
        page = await picker.send(page, "more" if listed(page) else "search")
    assert "Name not recorded" in page.text
    assert "This record is no longer in use" in page.text
    assert page.text.count("not recorded") >= 4


async def test_long_lists_are_paged_and_each_patient_comes_once(picker: Picker) -> None:
    first = await picker.search(await picker.open(scope=PATIENT), name="ward")
    second = await picker.send(first, "more")
    assert (len(listed(first)), len(listed(second))) == (20, 5)
    assert listed(first) + listed(second) == [f"many-{number:02}" for number in range(25)]
    assert "More patients" not in second.text
    again = await picker.send(second, "choose")  # nobody was chosen: the same page again
    assert again.status_code == 400
    assert listed(again) == listed(second)
    assert "Choose a patient, then continue" in again.text


async def test_a_date_that_is_none_is_named_and_what_was_typed_stays(picker: Picker) -> None:
    page = await picker.open(scope=PATIENT)
    for wrong in ("3.2.1990", "1990-13", "1990-02-31"):
        found = await picker.search(page, name="osei", birthdate=wrong)
        assert found.status_code == 400
        assert '<div class="error" role="alert"' in found.text
        assert f'value="{wrong}"' in found.text
        assert 'value="osei"' in found.text


async def test_a_visit_is_chosen_among_those_of_the_patient_newest_first(
    world: SmartWorld, picker: Picker
) -> None:
    page = await picker.search(await picker.open(scope=VISIT), name="osei")
    visits = await picker.follow(await picker.choose(page, "ama"))
    assert listed(visits) == ["visit-2", "visit-1", "none"]
    for text in ("27-Feb-2026 · emergency · in progress", "OSEI, Ama Serwaa", "MRN-0042"):
        assert text in visits.text
    sent = answer_of(await picker.visit(visits, "visit-2"))
    tokens = (await world.redeem(sent["code"])).json()
    assert (tokens["patient"], tokens["encounter"]) == ("ama", "visit-2")
    assert "launch/encounter" in tokens["scope"].split()
    assert (await world.who(tokens["access_token"])).encounter == "visit-2"


async def test_a_user_may_go_on_without_a_visit(world: SmartWorld, picker: Picker) -> None:
    page = await picker.open(scope=VISIT)
    visits = await picker.follow(await picker.choose(page, "ama"))
    sent = answer_of(await picker.visit(visits, "none"))
    tokens = (await world.redeem(sent["code"])).json()
    assert tokens["patient"] == "ama"
    assert "encounter" not in tokens
    assert "launch/encounter" not in tokens["scope"].split()


async def test_where_there_is_no_visit_none_is_asked_for(world: SmartWorld, picker: Picker) -> None:
    sent = answer_of(await picker.choose(await picker.open(scope=VISIT), "ama-2"))
    assert "encounter" not in (await world.redeem(sent["code"])).json()


async def test_an_encounter_alone_needs_its_patient_first(
    world: SmartWorld, picker: Picker
) -> None:
    page = await picker.open(scope="openid launch/encounter")
    visits = await picker.follow(await picker.choose(page, "ama"))
    sent = answer_of(await picker.visit(visits, "visit-1"))
    tokens = (await world.redeem(sent["code"])).json()
    assert (tokens["patient"], tokens["encounter"]) == ("ama", "visit-1")
    assert tokens["scope"] == "launch/encounter openid"


async def test_another_patient_may_be_chosen_instead(world: SmartWorld, picker: Picker) -> None:
    visits = await picker.follow(await picker.choose(await picker.open(scope=VISIT), "ama"))
    page = await picker.follow(await picker.send(visits, "another", "encounter"))
    sent = answer_of(await picker.choose(page, "many-03"))
    assert (await world.redeem(sent["code"])).json()["patient"] == "many-03"


async def test_a_chosen_context_stays_in_refreshed_tokens(
    world: SmartWorld, picker: Picker
) -> None:
    sent = answer_of(await picker.choose(await picker.open(scope=PATIENT), "ama"))
    tokens = (await world.redeem(sent["code"])).json()
    again = (await world.refresh(tokens["refresh_token"])).json()
    assert (again["patient"], again["scope"]) == ("ama", tokens["scope"])


async def test_a_third_party_asks_for_consent_after_the_choice(
    world: SmartWorld, picker: Picker
) -> None:
    page = await picker.open("third", scope="openid patient/Observation.rs")
    consent = await picker.follow(await picker.choose(page, "ama"))
    assert "patient/Observation.rs" in consent.text
    assert "OSEI, Ama Serwaa" in consent.text
    assert "MRN-0042" in consent.text
    back = await picker.choose(page, "ama-2")  # with the browser's back button
    consent = await picker.follow(back)
    assert "MRN-0043" in consent.text
    ticked = {"decision": "allow", "scope-0": "patient/Observation.rs"}
    sent = answer_of(await picker.send(consent, "", "consent", **ticked))
    tokens = (await world.redeem(sent["code"], "third")).json()
    assert (tokens["patient"], tokens["scope"]) == ("ama-2", "openid patient/Observation.rs")


@pytest.mark.parametrize("at", ["patient", "encounter"])
async def test_who_cancels_sends_the_app_away_with_access_denied(picker: Picker, at: str) -> None:
    page = await picker.open(scope=VISIT)
    if at == "encounter":
        page = await picker.follow(await picker.choose(page, "ama"))
    sent = answer_of(await picker.send(page, "cancel", at))
    assert (sent["error"], sent["state"]) == ("access_denied", "st ate&1")


async def test_an_app_that_can_get_nothing_is_refused_before_anybody_chooses(
    world: SmartWorld,
) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(scope="launch/encounter"))
    assert sent["error"] == "invalid_scope"


async def test_a_choice_is_audited_and_so_is_what_was_shown(
    world: SmartWorld, picker: Picker
) -> None:
    page = await picker.search(await picker.open(scope=VISIT), name="osei")
    visits = await picker.follow(await picker.choose(page, "ama"))
    await picker.visit(visits, "visit-1")
    shown = [entry["query"] for entry in await world.journal("search-type")]
    assert shown == ["Patient?name=osei&_sort=family%2Cgiven", "Encounter?patient=ama"]
    patient, encounter = await world.journal("choose-context")
    assert (patient["subject"], patient["client"], patient["patient"]) == ("dr.amina", "app", "ama")
    assert (encounter["key"], encounter["patient"]) == ("Encounter/visit-1", "ama")
    assert (await world.journal("authorize"))[-1]["patient"] == "ama"


async def test_the_pages_have_labels_headings_and_no_script(picker: Picker) -> None:
    page = await picker.search(await picker.open(scope=VISIT), name="osei")
    visits = await picker.follow(await picker.choose(page, "ama"))
    for shown in (page, visits):
        assert shown.text.count("<h1>") == 1
        inputs = re.findall(r'<input (?!type="hidden")[^>]*id="([^"]+)"', shown.text)
        assert inputs
        assert all(f'<label for="{each}">' in shown.text for each in inputs)
        assert "<script" not in shown.text
        assert "style=" not in shown.text
        policy = shown.headers["content-security-policy"]
        assert "form-action 'self' https://app.test;" in policy
        assert "frame-ancestors 'none'" in policy
        assert shown.headers["cache-control"] == "no-store"


@pytest.mark.mongodb
async def test_on_mongodb_patients_are_found_paged_and_chosen_alike(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with place_of(request, MONGODB, tmp_path) as place:
        place.clock.now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)  # expiries are judged by it
        async with launch_world(tmp_path, await place.store()) as world:
            picker = Picker(world)
            first = await picker.search(await picker.open(scope=VISIT), name="ward")
            second = await picker.send(first, "more")
            assert listed(first) + listed(second) == [f"many-{number:02}" for number in range(25)]
            found = await picker.search(second, name="ser ose", birthdate="1990")
            visits = await picker.follow(await picker.choose(found, "ama"))
            assert listed(visits) == ["visit-2", "visit-1", "none"]
            sent = answer_of(await picker.visit(visits, "visit-2"))
            tokens = (await world.redeem(sent["code"])).json()
            assert (tokens["patient"], tokens["encounter"]) == ("ama", "visit-2")
            again = (await world.refresh(tokens["refresh_token"])).json()
            assert again["encounter"] == "visit-2"
