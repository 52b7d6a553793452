"""SMART App Launch 2.2, "Launch context arrives with your access token": what an EHR says at the
launch reaches the app, and only what is sound, existing and of this chart."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.security.authorization.style import STYLE
from tests.availability import ROOT
from tests.launch_world import launch_world
from tests.smart_world import ISSUER, SmartWorld, answer_of

SCOPE = "openid launch online_access patient/Observation.rs"
PAGES_CSS = ROOT / "fhir_server/security/authorization/templates/pages.css"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        yield opened


async def _launched(world: SmartWorld, **body: Any) -> dict[str, Any]:
    """The token response of a launch of ama with this body."""
    answer = await world.launch(await world.ehr_token(), **{"patient": "ama", **body})
    assert answer.status_code == 201, answer.text
    async with world.new_browser() as frame:
        sent = await world.authorize(browser=frame, launch=answer.json()["launch"], scope=SCOPE)
    return dict((await world.redeem(answer_of(sent)["code"])).json())


WHOLE: dict[str, Any] = {
    "encounter": "visit-1",
    "need_patient_banner": False,
    "fhirContext": [
        {"reference": "DiagnosticReport/report-1"},
        {"reference": "Patient/ama-2", "role": "https://his.test/roles/mother"},
        {
            "canonical": "https://his.test/Questionnaire/fever|2",
            "type": "Questionnaire",
            "role": "https://his.test/roles/to-fill-in",
        },
        {"identifier": {"system": "https://his.test/no", "value": "7"}, "type": "ServiceRequest"},
    ],
    "intent": "review-report",
    "smart_style_url": "https://ehr.test/style-3.json",
    "tenant": "2ddd6c3a-8e9a-44c6-a305-52111ad302a2",
}


async def test_all_that_the_ehr_says_comes_beside_the_token_and_beside_refreshed_ones(
    world: SmartWorld,
) -> None:
    tokens = await _launched(world, **WHOLE)
    expected = {"patient": "ama", **WHOLE}
    assert {name: tokens[name] for name in expected} == expected
    again = (await world.refresh(tokens["refresh_token"])).json()
    assert {name: again[name] for name in expected} == expected


async def test_what_the_ehr_does_not_say_is_left_out(world: SmartWorld) -> None:
    tokens = await _launched(world)
    assert not {"encounter", "fhirContext", "intent", "tenant"} & tokens.keys()
    assert tokens["need_patient_banner"] is True


async def test_an_app_launched_by_an_ehr_without_a_style_is_told_ours(world: SmartWorld) -> None:
    url = (await _launched(world))["smart_style_url"]
    assert url.startswith(f"{ISSUER}/smart-style-")
    answer = await world.browser.get(url, headers={"Origin": "https://anywhere.test"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == STYLE
    assert (await world.browser.get(f"{ISSUER}/smart-style-0.json")).status_code == 404
    assert "smart_style_url" not in await world.tokens(scope="openid user/Patient.rs")


def test_the_style_is_that_of_our_pages() -> None:
    css = PAGES_CSS.read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): light-dark\((#\w+), #\w+\);", css))
    of_pages = {"text": "ink", "background": "paper", "highlight": "accent", "error": "alarm"}
    for name, token in of_pages.items():
        shown = light[token]
        assert STYLE[f"color_{name}"] == (shown if len(shown) == 7 else "#ffffff"), name
    assert f"border-radius: {STYLE['dim_border_radius']};" in css
    assert f"font: 1rem/1.5 {STYLE['font_family_body']};" in css


REPORT = {"reference": "DiagnosticReport/report-1"}


UNSOUND: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "one of reference, canonical, identifier is needed"),
    ({"type": "DiagnosticReport", "role": "launch"}, "one of reference"),
    ({"reference": "Patient/ama"}, "Patient and Encounter have members of their own"),
    ({"reference": "Encounter/visit-1", "role": "launch"}, "Patient and Encounter"),
    ({"identifier": {"value": "1"}, "type": "Patient"}, "Patient and Encounter"),
    ({**REPORT, "role": ""}, "role must be an absolute URI"),
    ({**REPORT, "role": "mother"}, "role must be an absolute URI"),
    ({**REPORT, "type": "Observation"}, "type is not that of the reference"),
    ({**REPORT, "type": "Report"}, "is no resource type"),
    ({**REPORT, "display": "x"}, "display is not known"),
    ({"reference": "https://medsage.test/fhir/DiagnosticReport/report-1"}, "must be relative"),
    ({"reference": "DiagnosticReport/report-1/_history/1"}, "must be relative"),
    ({"reference": "DiagnosticReport?code=x"}, "reference"),
    ({"reference": "#x"}, "must be relative"),
    ({"reference": "DiagnosticReport"}, "reference"),
    ({"reference": 7}, "reference must be a string"),
    ({"canonical": "Questionnaire/fever"}, "canonical must be an absolute URL"),
    ({"identifier": "7"}, "identifier must be a FHIR Identifier"),
    ({"identifier": {"use": "official"}}, "identifier must be a FHIR Identifier"),
    ({"identifier": {"value": 7}}, "identifier:"),
    ({"identifier": {"value": "7", "number": "7"}}, "identifier:"),
    ({"reference": "DiagnosticReport/nothing"}, "DiagnosticReport/nothing is not known"),
    ({"reference": "DiagnosticReport/report-2"}, "in the chart of this patient"),
    ({"reference": "AuditEvent/1"}, "AuditEvent/1 is not known"),
)


async def test_a_context_that_is_not_sound_is_refused_by_name(world: SmartWorld) -> None:
    token = await world.ehr_token()
    for item, says in UNSOUND:
        answer = await world.launch(token, patient="ama", fhirContext=[REPORT, item])
        assert answer.status_code == 400, item
        assert says in answer.json()["error_description"], item
    outcomes = [entry["outcome"] for entry in await world.journal("launch")]
    assert outcomes == ["refused"] * len(UNSOUND)


async def test_which_item_is_at_fault_is_said(world: SmartWorld) -> None:
    answer = await world.launch(await world.ehr_token(), patient="ama", fhirContext=[REPORT, {}])
    assert answer.json()["error_description"].startswith("fhirContext[1]: ")


OTHERWISE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"fhirContext": {"reference": "List/1"}}, "fhirContext"),
    ({"fhirContext": [REPORT] * 51}, "more than 50"),
    ({"intent": ""}, "intent"),
    ({"intent": "two\nlines"}, "intent"),
    ({"tenant": "x" * 257}, "tenant"),
    ({"smart_style_url": "style.json"}, "smart_style_url"),
    ({"smart_style_url": "http://ehr.test/style.json"}, "smart_style_url"),
    ({"smart_style_url": "javascript:alert(1)"}, "smart_style_url"),
    ({"smart_style_url": "https://a@ehr.test/style.json"}, "smart_style_url"),
    ({"fhir_context": []}, "fhir_context"),
    ({"patient": None, "encounter": "visit-1"}, "encounter: needs its patient"),
    ({"patient": ""}, "patient"),
)


async def test_a_launch_that_says_something_else_is_refused_by_name(world: SmartWorld) -> None:
    token = await world.ehr_token()
    for body, says in OTHERWISE:
        answer = await world.launch(token, **{"patient": "ama", **body})
        assert answer.status_code == 400, body
        assert says in answer.json()["error_description"], body


async def test_hints_of_other_contexts_are_not_granted_and_do_no_harm(world: SmartWorld) -> None:
    asked = "openid launch/imagingstudy launch/list?role=https://his.test/x __own https://x.test/y"
    assert (await world.tokens(scope=asked))["scope"] == "openid"


async def test_a_grant_from_before_these_parameters_is_still_good(world: SmartWorld) -> None:
    tokens = await _launched(world)
    (grant,) = [each for each in await world.store.records("grant") if each.value["patient"]]
    names = ("fhir_context", "intent", "smart_style_url", "tenant", "ehr")
    older = {name: value for name, value in grant.value.items() if name not in names}
    await world.store.transaction(lambda tx: tx.put_record(replace(grant, value=older)))
    again = (await world.refresh(tokens["refresh_token"])).json()
    assert again["patient"] == "ama"
    assert "smart_style_url" not in again
