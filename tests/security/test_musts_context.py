"""Each MUST of SMART App Launch 2.2 about launch context, refresh and identity, broken on purpose.
The keys are the ids in the requirements' list of SMART 2.2.0."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt

from fhir_server.security.authorization.users import User, register_user
from tests.launch_world import Caller, Picker, granted, launch_world
from tests.smart_world import FHIR, SmartWorld, answer_of, password_hash

Break = Callable[[SmartWorld], Awaitable[None]]
REPORT = {"reference": "DiagnosticReport/report-1"}
SCOPE = "openid launch online_access patient/Observation.rs"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        yield opened


async def _launched(world: SmartWorld, scope: str = SCOPE, **body: Any) -> dict[str, Any]:
    answer = await world.launch(await world.ehr_token(), **{"patient": "ama", **body})
    assert answer.status_code == 201, answer.text
    async with world.new_browser() as frame:
        sent = await world.authorize(browser=frame, launch=answer.json()["launch"], scope=scope)
    return dict((await world.redeem(answer_of(sent)["code"])).json())


async def _refused(world: SmartWorld, name: str, **body: Any) -> None:
    """The launch is refused, and the refusal names the part."""
    answer = await world.launch(await world.ehr_token(), **{"patient": "ama", **body})
    assert answer.status_code == 400
    assert name in answer.json()["error_description"]


async def _no_patient_scope_without_a_patient(world: SmartWorld) -> None:
    """No way past the choice: not by asking silently, not by an empty launch."""
    await world.sign_in()
    for scope in (
        "patient/Observation.rs",
        "launch/patient openid",
        "user/Patient.rs patient/*.rs",
    ):
        answer = await world.authorize(scope=scope)
        assert answer.headers["location"].startswith("patient?"), scope
        sent = answer_of(await world.authorize(scope=scope, prompt="none"))
        assert sent["error"] == "interaction_required"
    made = (await world.launch(await world.ehr_token(), patient=None)).json()["launch"]
    answer = await world.authorize(launch=made, scope=SCOPE)
    assert answer.headers["location"].startswith("patient?")


async def _context_is_told_and_only_what_is_granted(world: SmartWorld) -> None:
    told = await _launched(world, SCOPE + " launch/encounter", encounter="visit-1")
    assert (told["patient"], told["encounter"]) == ("ama", "visit-1")
    assert {"launch", "launch/encounter"} <= set(told["scope"].split())
    bare = await _launched(world, SCOPE + " launch/encounter")
    assert "encounter" not in bare
    assert "launch/encounter" not in bare["scope"].split()
    without = await granted(world, "openid user/Patient.rs")
    assert not {"patient", "encounter", "fhirContext", "intent", "tenant"} & without.keys()


async def _patient_scopes_are_that_patients(world: SmartWorld) -> None:
    told = await _launched(world)
    who = Caller(world, told["access_token"])
    assert told["patient"] == "ama"
    assert await who.found("Observation?code=8867-4") == {"vital-1", "lab-1"}
    assert await who.status("GET", "Observation/vital-2") == 404
    await _refused(world, "patient", patient="nobody")
    await _refused(world, "patient", patient="Patient/ama")
    await _refused(world, "patient", patient=["ama"])


async def _encounter(world: SmartWorld) -> None:
    await _refused(world, "encounter", encounter="nothing")
    await _refused(world, "another patient", encounter="e1")
    await _refused(world, "encounter", encounter={"reference": "Encounter/visit-1"})


async def _no_patient_in_fhir_context(world: SmartWorld) -> None:
    for reference in ("Patient/ama", "Encounter/visit-1"):
        for role in ({}, {"role": "launch"}):
            await _refused(
                world, "Patient and Encounter", fhirContext=[{"reference": reference} | role]
            )
    await _refused(world, "fhirContext", fhirContext=REPORT)
    told = await _launched(world, fhirContext=[REPORT])
    assert told["fhirContext"] == [REPORT]


async def _an_item_says_what_it_is(world: SmartWorld) -> None:
    for item in ({}, {"type": "List"}, {"role": "https://his.test/x"}, {"url": "https://x.test"}):
        await _refused(world, "fhirContext[0]", fhirContext=[item])


async def _roles_are_absolute(world: SmartWorld) -> None:
    for role in ("", "mother", "/roles/mother", "role:", "his.test/mother"):
        await _refused(world, "role", fhirContext=[{**REPORT, "role": role}])


async def _banner(world: SmartWorld) -> None:
    for wrong in ("false", 0, None):
        await _refused(world, "need_patient_banner", need_patient_banner=wrong)
    assert (await _launched(world, need_patient_banner=False))["need_patient_banner"] is False


async def _texts(world: SmartWorld) -> None:
    for name in ("intent", "tenant"):
        for wrong in (7, "", "a\nb", "x" * 300):
            await _refused(world, name, **{name: wrong})


async def _style(world: SmartWorld) -> None:
    for wrong in ("/style.json", "http://ehr.test/s.json", "data:application/json,{}", ""):
        await _refused(world, "smart_style_url", smart_style_url=wrong)


async def _no_one_elses_chart(world: SmartWorld) -> None:
    """What an EHR may not see through its user it can't hand to an app."""
    await _refused(world, "report-2", fhirContext=[{"reference": "DiagnosticReport/report-2"}])
    ehr = await world.browser.get(
        "/auth/authorize", params=world.asking("ehr", scope="openid online_access user/Patient.rs")
    )
    async with world.new_browser() as other:
        answer = await world.authorize("ehr", other, scope="openid online_access user/Patient.rs")
        url = "/auth/" + answer.headers["location"]
        code = answer_of(await world.sign_in("admin.esi", other, url))["code"]
    assert ehr.status_code == 302
    token = (await world.redeem(code, "ehr")).json()["access_token"]
    answer = await world.launch(token, patient="ama")
    assert (answer.status_code, "not known" in answer.json()["error_description"]) == (400, True)


async def _who_is_no_resource_is_no_fhir_user(world: SmartWorld) -> None:
    tokens = await granted(world, "openid fhirUser user/Patient.rs", user="nurse.esi")
    assert tokens["scope"].split() == ["openid", "user/Patient.rs"]
    assert "fhirUser" not in _claims(world, tokens)
    tokens = await granted(world, "openid fhirUser user/Practitioner.rs")
    url = _claims(world, tokens)["fhirUser"]
    assert url == f"{FHIR}/Practitioner/dr-amina"
    assert (
        await Caller(world, tokens["access_token"]).status("GET", url.removeprefix(f"{FHIR}/"))
        == 200
    )


async def _no_id_token_unasked(world: SmartWorld) -> None:
    assert "id_token" not in await granted(world, "user/Patient.rs")
    assert "id_token" in await granted(world, "openid user/Patient.rs")
    claims = _claims(world, await granted(world, "openid user/Patient.rs"))
    assert not {"fhirUser", "name"} & claims.keys()


async def _id_tokens_verify_by_the_published_keys_alone(world: SmartWorld) -> None:
    token = (await granted(world, "openid user/Patient.rs"))["id_token"]
    keys = (await world.browser.get("/auth/jwks")).json()["keys"]
    secret = {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert all("kty" in key and not secret & key.keys() for key in keys)
    header = jwt.decode(token, world.server.keys.identity, ["RS256"]).header
    assert header["alg"] == "RS256"
    assert header["kid"] in {key["kid"] for key in keys}


def _claims(world: SmartWorld, tokens: dict[str, Any]) -> dict[str, Any]:
    return dict(jwt.decode(tokens["id_token"], world.server.keys.identity, ["RS256"]).claims)


async def _online_ends_with_the_session(world: SmartWorld) -> None:
    tokens = await _launched(world)
    assert (await world.refresh(tokens["refresh_token"])).status_code == 200
    world.clock.forward(7300)
    assert (await world.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def _offline_does_not(world: SmartWorld) -> None:
    tokens = await granted(world, "openid offline_access user/Patient.rs")
    world.clock.forward(24 * 3600)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    again = await world.browser.post("/auth/token", data=form)
    assert again.json()["scope"] == tokens["scope"]
    assert "refresh_token" not in await granted(world, "openid user/Patient.rs")


async def _refresh_is_bound_and_never_more(world: SmartWorld) -> None:
    tokens = await _launched(world)
    stolen = await world.refresh(tokens["refresh_token"], "third")
    assert stolen.json()["error"] == "invalid_grant"
    for wider in (
        "patient/*.rs",
        "patient/Observation.cruds",
        "user/Observation.rs",
        "offline_access",
    ):
        answer = await world.refresh(tokens["refresh_token"], scope=wider)
        assert answer.json()["error"] == "invalid_scope"
    same = (await world.refresh(tokens["refresh_token"])).json()
    assert (same["scope"], same["patient"]) == (tokens["scope"], "ama")
    less = (await world.refresh(same["refresh_token"], scope="openid")).json()
    assert less["scope"] == "openid"
    assert await Caller(world, less["access_token"]).status("GET", "Observation/vital-1") == 403


async def _hints_do_not_choose(world: SmartWorld) -> None:
    """An app can't name the patient itself."""
    picker = Picker(world)
    page = await picker.open(scope="openid launch/patient", patient="ama-2", launch_patient="ama-2")
    sent = answer_of(await picker.choose(page, "ama"))
    assert (await world.redeem(sent["code"], patient="ama-2")).json()["patient"] == "ama"


BREAKS: Mapping[int, Break] = {
    100: _online_ends_with_the_session,
    101: _offline_does_not,
    103: _refresh_is_bound_and_never_more,
    104: _refresh_is_bound_and_never_more,
    109: _refresh_is_bound_and_never_more,
    114: _refresh_is_bound_and_never_more,
    115: _refresh_is_bound_and_never_more,
    149: _context_is_told_and_only_what_is_granted,
    164: _no_patient_scope_without_a_patient,
    166: _hints_do_not_choose,
    168: _context_is_told_and_only_what_is_granted,
    169: _context_is_told_and_only_what_is_granted,
    170: _patient_scopes_are_that_patients,
    171: _encounter,
    172: _no_patient_in_fhir_context,
    173: _banner,
    174: _texts,
    175: _style,
    176: _texts,
    177: _no_patient_in_fhir_context,
    178: _an_item_says_what_it_is,
    188: _roles_are_absolute,
    190: _roles_are_absolute,
    197: _who_is_no_resource_is_no_fhir_user,
    200: _no_id_token_unasked,
    207: _id_tokens_verify_by_the_published_keys_alone,
    209: _who_is_no_resource_is_no_fhir_user,
    210: _id_tokens_verify_by_the_published_keys_alone,
    352: _no_one_elses_chart,
}
ONCE = list({test: must for must, test in BREAKS.items()}.values())
"""One id of each break: several musts may be broken by one."""


@pytest.mark.parametrize("must", ONCE, ids="SMART-{}".format)
async def test_what_breaks_a_must_is_refused(world: SmartWorld, must: int) -> None:
    await BREAKS[must](world)


@pytest.mark.parametrize("reference", ["Group/1", "Device/1", "Organization/1", "dr-amina"])
async def test_who_signs_in_is_one_of_five_kinds_of_person(
    world: SmartWorld, reference: str
) -> None:
    user = User("odd", "Odd", frozenset({"doctor"}), reference)
    with pytest.raises(ValueError, match="person's resource"):
        await world.store.transaction(lambda tx: register_user(tx, user, password_hash()))
