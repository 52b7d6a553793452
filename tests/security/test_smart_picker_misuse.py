"""Misuse of the pages where a patient is chosen: another's request, another's patient, a foreign
form, a choice that was already used."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.launch_world import Picker, caller, launch_world, listed
from tests.smart_world import EHR_ORIGIN, SmartWorld, answer_of, hidden_fields, put

SCOPE = "openid launch/patient launch/encounter patient/Observation.rs"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def picker(world: SmartWorld) -> Picker:
    return Picker(world)


async def test_a_form_from_elsewhere_chooses_nobody(world: SmartWorld, picker: Picker) -> None:
    page = await picker.open(scope=SCOPE)
    form = {**hidden_fields(page), "action": "choose", "patient": "ama"}
    for headers in (
        {"Origin": "https://evil.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await world.browser.post("/auth/patient", data=form, headers=headers)
        assert answer.status_code == 403
    for token in ("", "0" * 64):
        answer = await world.browser.post("/auth/patient", data=form | {"csrf": token})
        assert answer.status_code == 403
    assert await world.journal("choose-context") == []


async def test_a_token_of_one_request_is_worth_nothing_for_another(
    world: SmartWorld, picker: Picker
) -> None:
    first = hidden_fields(await picker.open(scope=SCOPE))
    second = hidden_fields(await picker.open(scope=SCOPE))
    form = {**second, "csrf": first["csrf"], "action": "choose", "patient": "ama"}
    assert (await world.browser.post("/auth/patient", data=form)).status_code == 403


async def test_a_request_in_another_browser_shows_and_chooses_nothing_of_the_first_user(
    world: SmartWorld, picker: Picker
) -> None:
    page = await picker.open(scope=SCOPE)
    form = {**hidden_fields(page), "action": "choose", "patient": "ama"}
    async with world.new_browser() as other:
        url = f"/auth/patient?request={form['request']}"
        assert (await other.get(url)).status_code == 400  # nobody is signed in there
        assert (await other.post("/auth/patient", data=form)).status_code == 400
        await world.sign_in("dr.kofi", other)
        assert (await other.post("/auth/patient", data=form)).status_code == 403


async def test_what_one_user_chose_is_not_what_the_next_user_gets(
    world: SmartWorld, picker: Picker
) -> None:
    visits = await picker.follow(await picker.choose(await picker.open(scope=SCOPE), "ama"))
    handle = hidden_fields(visits)["request"]
    await world.sign_in("dr.kofi", url="/auth/login?request=" + handle)  # signed in: goes on
    await world.browser.post(
        "/auth/logout", data=hidden_fields(await world.browser.get("/auth/logout"))
    )
    answer = await world.sign_in("dr.kofi", url=f"/auth/login?request={handle}")
    assert answer.headers["location"].startswith("patient?")  # and not the visits of ama
    assert (await picker.visit(visits, "visit-1")).status_code in (400, 403)


async def test_a_choice_is_used_once(picker: Picker) -> None:
    page = await picker.open(scope="launch/patient openid")
    answers = [await picker.choose(page, "ama") for _ in range(2)]
    assert "code" in answer_of(answers[0])
    assert answers[1].status_code == 400
    assert "already finished" in answers[1].text


async def test_of_many_at_once_exactly_one_choice_gets_the_code(picker: Picker) -> None:
    page = await picker.open(scope="launch/patient openid")
    answers = await asyncio.gather(*(picker.choose(page, "ama") for _ in range(5)))
    sent = [answer_of(each) for each in answers if each.status_code == 303]
    assert sum("code" in each for each in sent) == 1


@pytest.mark.parametrize("patient", ["nobody", "../x", "ama/_history/1", "ama ", "a" * 65, ""])
async def test_a_patient_that_is_not_there_is_not_chosen(
    world: SmartWorld, picker: Picker, patient: str
) -> None:
    page = await picker.open(scope=SCOPE)
    answer = await picker.choose(page, patient)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert await world.journal("choose-context") == []


@pytest.mark.parametrize("visit", ["e1", "nothing", "", "visit-1/x"])
async def test_the_visit_of_another_patient_is_not_chosen(
    world: SmartWorld, picker: Picker, visit: str
) -> None:
    visits = await picker.follow(await picker.choose(await picker.open(scope=SCOPE), "ama"))
    answer = await picker.visit(visits, visit)  # e1 is a visit of p1
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert len(await world.journal("choose-context")) == 1


async def test_visits_before_a_patient_are_not_shown(world: SmartWorld, picker: Picker) -> None:
    page = await picker.open(scope=SCOPE)
    handle = hidden_fields(page)["request"]
    answer = await world.browser.get(f"/auth/encounter?request={handle}")
    assert answer.status_code == 400
    assert listed(answer) == []
    assert (await picker.visit(page, "visit-1")).status_code == 400


async def test_a_user_whose_role_sees_no_patients_is_shown_none(world: SmartWorld) -> None:
    answer = await world.authorize(scope=SCOPE)
    back = await world.sign_in("admin.esi", url="/auth/" + answer.headers["location"])
    page = await world.browser.get("/auth/" + back.headers["location"])
    assert answer_of(page)["error"] == "access_denied"


async def test_who_was_given_away_meanwhile_is_not_shown_again(
    world: SmartWorld, picker: Picker
) -> None:
    """A patient that is deleted between the search and the choice."""
    from fhir_server.storage.port import Draft, Key, Stored

    page = await picker.search(await picker.open(scope=SCOPE), name="osei")
    gone = Stored(Key("Patient", "ama"), 2, world.clock(), b"", "DELETE")
    await world.store.transaction(lambda tx: tx.put(Draft(gone), expected=1))
    assert (await picker.choose(page, "ama")).status_code == 400


async def test_the_place_of_a_page_is_sealed_and_bound_to_its_search(picker: Picker) -> None:
    first = await picker.search(await picker.open(scope=SCOPE), name="ward")
    place = hidden_fields(first)["place"]
    assert "ward" not in place.lower()
    for name, sealed in (("osei", place), ("ward", "x" + place), ("ward", "!")):
        answer = await picker.send(first, "more", name=name, place=sealed)
        assert answer.status_code == 400
        assert listed(answer) == []


async def test_names_of_patients_are_never_in_an_address(world: SmartWorld, picker: Picker) -> None:
    page = await picker.open(scope=SCOPE)
    answer = await world.browser.get(
        "/auth/patient", params={**hidden_fields(page), "name": "osei"}
    )
    assert listed(answer) == []
    form = re.findall(r'<form method="(\w+)" action="([^"]+)"', answer.text)
    assert set(form) == {("post", "patient")}


async def test_what_is_recorded_is_not_shown_as_html(world: SmartWorld, picker: Picker) -> None:
    evil = {
        "resourceType": "Patient",
        "id": "evil",
        "name": [{"family": "<script>alert(1)</script>", "text": "x"}],
        "identifier": [{"value": '"><b>'}],
    }
    await world.store.transaction(lambda tx: put(tx, evil))
    page = await picker.search(await picker.open(scope=SCOPE), identifier='"><b>')
    assert listed(page) == ["evil"]
    assert "<script" not in page.text
    assert "<b>" not in page.text


async def test_prompt_none_never_chooses(world: SmartWorld) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(scope=SCOPE, prompt="none"))
    assert sent["error"] == "interaction_required"


async def test_a_launch_without_a_patient_chooses_in_the_frame_without_cookies(
    world: SmartWorld,
) -> None:
    handle = (await world.launch(await world.ehr_token(), patient=None)).json()["launch"]
    async with world.new_browser() as frame:
        picker = Picker(world, frame)
        page = await picker.open(scope=SCOPE + " launch", launch=handle)
        assert f"frame-ancestors {EHR_ORIGIN};" in page.headers["content-security-policy"]
        visits = await picker.follow(await picker.choose(page, "ama"))
        sent = answer_of(await picker.visit(visits, "visit-2"))
    tokens = (await world.redeem(sent["code"])).json()
    assert (tokens["patient"], tokens["encounter"]) == ("ama", "visit-2")
    assert "launch" in tokens["scope"].split()


async def test_a_choice_ends_with_the_session(world: SmartWorld, picker: Picker) -> None:
    page = await picker.open(scope=SCOPE)
    await world.browser.post(
        "/auth/logout", data=hidden_fields(await world.browser.get("/auth/logout"))
    )
    assert (await picker.choose(page, "ama")).status_code == 400


RESTRICTED = {
    "resourceType": "Patient",
    "id": "restricted",
    "name": [{"family": "Osei", "given": ["Secret"]}],
    "meta": {
        "security": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
        ]
    },
}


async def test_a_patient_whose_record_is_restricted_is_neither_listed_nor_chosen(
    world: SmartWorld, picker: Picker
) -> None:
    writer = await caller(world, "user/Patient.u")
    assert await writer.status("PUT", "Patient/restricted", RESTRICTED) == 201
    page = await picker.open(scope=SCOPE)
    assert sorted(listed(await picker.search(page, name="osei"))) == ["ama", "ama-2"]
    answer = await picker.choose(page, "restricted")
    assert answer.status_code == 400
    assert "Secret" not in answer.text
    launched = await world.launch(await world.ehr_token(), patient="restricted")
    assert (launched.status_code, "not known" in launched.text) == (400, True)


async def test_a_patient_who_denies_this_user_is_neither_listed_nor_chosen(
    world: SmartWorld, picker: Picker
) -> None:
    consent = {
        "resourceType": "Consent",
        "id": "denies",
        "status": "active",
        "scope": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/consentscope",
                    "code": "patient-privacy",
                }
            ]
        },
        "category": [{"text": "privacy"}],
        "patient": {"reference": "Patient/ama-2"},
        "policyRule": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}
            ]
        },
    }
    await world.store.transaction(lambda tx: put(tx, consent))
    page = await picker.open(scope=SCOPE)
    assert listed(await picker.search(page, name="osei")) == ["ama"]
    assert (await picker.choose(page, "ama-2")).status_code == 400


async def test_in_an_emergency_the_restricted_patient_is_chosen_and_the_trail_says_so(
    world: SmartWorld, picker: Picker
) -> None:
    writer = await caller(world, "user/Patient.u")
    await writer.status("PUT", "Patient/restricted", RESTRICTED)
    page = await picker.open(scope="openid launch/patient")
    form = hidden_fields(await world.browser.get("/auth/emergency"))
    why = {"reason": "ETREAT", "text": "found unconscious, no history known", "minutes": "30"}
    form = {"csrf": form["csrf"], "patient": "restricted", **why}
    assert (await world.browser.post("/auth/emergency", data=form)).status_code == 303
    assert "restricted" in listed(await picker.search(page, name="osei"))
    assert "code" in answer_of(await picker.choose(page, "restricted"))
    (entry,) = await world.journal("choose-context")
    assert (entry["patient"], entry["purpose"]) == ("restricted", "BTG")
