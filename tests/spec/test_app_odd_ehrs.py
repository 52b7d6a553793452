"""Record systems differ: whatever one leaves out or answers, the page says what is missing and
what still works, and nothing is guessed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from starlette.responses import JSONResponse, Response

from smart_app.ehr import chart
from tests.app_browser import Browser, query_of
from tests.ehr_world import EHR, EHR_FHIR, EhrWorld, ehr_world

V1 = "launch openid fhirUser patient/Patient.read patient/*.read user/Practitioner.read"
NO_ALLERGIES = "could not be read from General Hospital. Ask the patient"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EhrWorld]:
    async with ehr_world(tmp_path) as opened:
        yield opened


def answering(
    status: int, body: Any = None, *, text: str = ""
) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(text, status) if text else JSONResponse(body, status)

    return answer


async def opened(world: EhrWorld, browser: Browser) -> str:
    page = await browser.get(await world.launch(browser))
    assert page.status_code == 200, page.text
    return page.text


@pytest.mark.parametrize(
    ("patient", "words"),
    [(None, "No patient was chosen"), ("../Group/1", "No patient"), ("", "No patient")],
)
async def test_a_launch_without_a_usable_patient(
    world: EhrWorld, patient: str | None, words: str
) -> None:
    world.ehr.token_extra = {"patient": patient}
    refused = await world.answer(world.browser())
    assert refused.status_code == 400
    assert words in refused.text
    assert "What still works:" in refused.text
    assert await world.stored("Patient", identifier=f"{EHR_FHIR}|") == []


async def test_leftovers_in_the_token_answer_are_understood(world: EhrWorld) -> None:
    browser = world.browser()
    for extra in (
        {"patient": "Patient/p1", "token_type": "bearer", "expires_in": "3600"},
        {"patient": "p1", "token_type": "BEARER", "expires_in": "soon", "scope": None},
        {"patient": "p1", "expires_in": None, "refresh_token": None, "encounter": "gone"},
    ):
        world.ehr.token_extra = extra
        assert "ADEYEMI, Bola" in await opened(world, browser)
    world.permit("DiagnosticReport")
    world.ehr.token_extra = {"patient": "p1", "refresh_token": None}
    assert "a permission of limited time" in await opened(world, browser)
    world.ehr.token_extra = {"patient": "p1", "token_type": "mac"}
    refused = await world.answer(browser)
    assert refused.status_code == 400
    assert "invalid_token_response" in refused.text


async def test_missing_scopes_are_told_and_an_unread_allergy_is_no_known_absence(
    world: EhrWorld,
) -> None:
    browser = world.browser()
    world.ehr.scope = "launch openid fhirUser patient/Patient.read"
    page = await opened(world, browser)
    assert "Not permitted to see allergies" in page
    assert "did not let MedSAGE read allergies" in page
    assert "did not let MedSAGE read vital signs" in page
    assert "No allergy information recorded" not in page
    assert "Dr Amina Njoroge" in page  # the name in the id_token
    world.ehr.scope = "launch openid fhirUser patient/Observation.read"
    refused = await world.answer(browser)
    assert refused.status_code == 403
    assert "Patient.r" in refused.text
    assert "What still works:" in refused.text


async def test_parts_that_fail_leave_the_rest(
    world: EhrWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart, "CHART_SECONDS", 0.2)

    async def slow() -> Response:
        await asyncio.sleep(1)
        return Response()

    browser = world.browser()
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "processing"}]}
    for answer in (
        answering(500, outcome),
        answering(200, text="<html>Maintenance</html>"),
        answering(200, {"resourceType": "Bundle", "entry": [{}, {"resource": 7}], "link": None}),
        answering(200, ["no object"]),
        slow,
    ):
        world.ehr.instead = {"AllergyIntolerance": answer}
        page = await opened(world, browser)
        assert NO_ALLERGIES in page
        assert "No allergy information recorded" not in page
        assert "61.5 kg" in page


async def test_a_patient_that_cant_be_read_ends_in_a_page(world: EhrWorld) -> None:
    browser = world.browser()
    modified = {**world.ehr.resources["Patient", "p1"], "modifierExtension": [{"url": "x"}]}
    for status, answer, words in (
        (502, answering(404, {"resourceType": "OperationOutcome", "issue": []}), "Patient: 404"),
        (502, answering(200, text="<html>"), "the answer is not FHIR"),
        (502, answering(200, {"resourceType": "Patient", "id": "p2"}), "something else"),
        (502, answering(200, modified), "modifier"),
        (502, answering(200, {"resourceType": "Patient", "id": "p1", "gender": 7}), "chart"),
    ):
        world.ehr.instead = {"Patient": answer}
        refused = await world.answer(browser)
        assert refused.status_code == status
        assert words in refused.text
        assert "What still works:" in refused.text
    assert await world.stored("Patient", identifier=f"{EHR_FHIR}|") == []


async def test_what_is_restricted_there_is_not_copied_and_not_taken_for_absent(
    world: EhrWorld,
) -> None:
    browser = world.browser()
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    restricted = {"meta": {"security": [{"system": system, "code": "R"}]}}
    allergy = world.ehr.resources["AllergyIntolerance", "a1"]
    assert "Quinine" in await opened(world, browser)
    world.ehr.put({**allergy, **restricted})
    page = await opened(world, browser)
    assert "Quinine" not in page
    assert "No allergy information recorded" not in page
    assert "others that could not be copied" in page
    assert await world.stored("AllergyIntolerance") == []
    world.ehr.put({**world.ehr.resources["Patient", "p1"], **restricted})
    refused = await world.answer(browser)
    assert refused.status_code == 502
    assert "labelled as restricted" in refused.text


async def test_who_signs_is_never_guessed(world: EhrWorld) -> None:
    browser = world.browser()

    async def told(claims: dict[str, Any], **extra: Any) -> str:
        world.ehr.claims_extra = claims
        world.ehr.token_extra = {"patient": "p1", **extra}
        return await opened(world, browser)

    # The clinician's resource can't be read: the verified name stands for them.
    world.ehr.forbidden = {"Practitioner"}
    assert "Dr Amina Njoroge" in await told({})
    (known,) = await world.stored("Practitioner", identifier=f"{EHR_FHIR}|dr-amina")
    world.ehr.forbidden = set()
    assert "Dr Nneka Obi" in await told({"fhirUser": f"{EHR_FHIR}/Practitioner/dr-amina"})
    (read,) = await world.stored("Practitioner", identifier=f"{EHR_FHIR}|dr-amina")
    assert read["id"] == known["id"]
    # SMART 1.0 named the person in `profile`.
    assert "Dr Nneka Obi" in await told({"fhirUser": "", "profile": "Practitioner/dr-amina"})
    # No fhirUser at all: the name, known by the subject.
    assert "Dr Amina Njoroge" in await told({"fhirUser": ""})
    people = await world.stored("Practitioner", identifier=f"{EHR_FHIR}|")
    assert sum(each["identifier"][0]["value"].startswith("sub:") for each in people) == 1
    # Somebody else's server is not asked.
    await told({"fhirUser": "https://evil.example/fhir/Practitioner/1"})
    assert world.asked == []
    assert "not a practitioner" in await told({"fhirUser": "Patient/p1"})
    assert "did not say who you are" in await told({"fhirUser": "", "name": ""})
    assert "did not say who you are" in await told({}, id_token=None)


async def test_each_clinician_has_so_many_analyses_in_an_hour(world: EhrWorld) -> None:
    async def started(browser: Browser) -> int:
        chart = await world.launch(browser)
        await browser.submit(f"{chart}intake", f"{chart}intake", temperature="39.2", fever="yes")
        answer = await browser.submit(f"{chart}check", f"{chart}start")
        return answer.status_code

    browser = world.browser()
    assert [await started(browser) for _ in range(3)] == [303, 303, 429]
    world.ehr.claims_extra = {"fhirUser": "Practitioner/dr-other", "name": "Dr Other"}
    assert await started(browser) == 303


async def test_a_false_identity_opens_nothing(world: EhrWorld) -> None:
    browser = world.browser()
    for claims in ({"nonce": "another"}, {"aud": "somebody"}, {"iss": "https://evil.example"}):
        world.ehr.claims_extra = claims
        refused = await world.answer(browser)
        assert refused.status_code == 400
        assert "could not be verified" in refused.text
    world.ehr.claims_extra = {}
    world.ehr.published = ECKey.generate_key("P-256", {"kid": "issuer"})
    assert (await world.answer(browser)).status_code == 400
    assert await world.stored("Patient", identifier=f"{EHR_FHIR}|") == []


async def test_scopes_are_asked_for_in_the_words_of_the_server(world: EhrWorld) -> None:
    browser = world.browser()

    async def asked(**more: Any) -> set[str]:
        world.parts.configurations.clear()
        world.ehr.documents = {"configuration": {**plain(world), **more}}
        answer = await browser.get(f"/app/launch?iss={EHR_FHIR}&launch=x")
        return set(query_of(answer)["scope"].split())

    world.permit("DiagnosticReport")
    old = await asked()
    assert {"patient/Patient.read", "patient/DiagnosticReport.write"} <= old
    assert not {scope for scope in old if scope.endswith(("rs", "_access"))}
    new = await asked(capabilities=["permission-v2", "permission-offline", "launch-ehr"])
    assert {"patient/Patient.rs", "patient/DiagnosticReport.crs", "offline_access"} <= new
    assert "patient/Patient.read" not in new
    by_list = await asked(scopes_supported=["patient/*.rs", "online_access"])
    assert {"patient/Patient.rs", "online_access"} <= by_list
    world.permit(scopes="launch openid patient/*.read")
    assert await asked() == {"launch", "openid", "patient/*.read"}


def plain(world: EhrWorld) -> dict[str, Any]:
    """The least that a server must say about itself."""
    auth = world.ehr.auth
    return {"authorization_endpoint": f"{auth}/authorize", "token_endpoint": f"{auth}/token"}


async def test_what_a_server_says_about_itself_is_checked(world: EhrWorld) -> None:
    browser = world.browser()
    known = plain(world)
    inner = {**known, "token_endpoint": "https://169.254.169.254/token"}
    local = {**known, "jwks_uri": "http://localhost/keys", "issuer": EHR}
    plainly = {**known, "token_endpoint": known["token_endpoint"].replace("https", "http")}
    for document, words in (
        ({"authorization_endpoint": known["authorization_endpoint"]}, "no token_endpoint"),
        ({**known, "code_challenge_methods_supported": ["plain"]}, "PKCE"),
        (inner, "token_endpoint is not a safe address"),
        (local, "jwks_uri is not a safe address"),
        (plainly, "token_endpoint is not a safe address"),
    ):
        world.ehr.documents = {"configuration": document}
        refused = await browser.get(f"/app/launch?iss={EHR_FHIR}&launch=x")
        assert refused.status_code == 502
        assert words in refused.text
        assert "not set up for launches" in refused.text
    world.ehr.documents = {"configuration": {}}
    refused = await browser.get(f"/app/launch?iss={EHR_FHIR}&launch=x")
    assert "can&#39;t be reached" in refused.text


async def test_older_servers_name_their_endpoints_in_the_capability_statement(
    world: EhrWorld,
) -> None:
    auth = world.ehr.auth
    uris = [
        {"url": "authorize", "valueUri": f"{auth}/authorize"},
        {"url": "token", "valueUri": f"{auth}/token"},
    ]
    url = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    security = {"extension": [{"url": url, "extension": uris}]}
    statement = {"resourceType": "CapabilityStatement", "rest": [{"security": security}]}
    world.ehr.documents = {"configuration": {}, "metadata": statement}
    world.ehr.scope = V1
    page = await opened(world, world.browser())
    assert "ADEYEMI, Bola" in page
    assert "Quinine" in page
    # Without keys nobody can be verified: the chart is shown, and not signed.
    assert "did not say who you are" in page


async def test_an_issuer_that_only_the_id_token_names_is_looked_up_and_held_to_it(
    world: EhrWorld,
) -> None:
    browser = world.browser()
    auth = world.ehr.auth
    openid = {"issuer": auth, "jwks_uri": f"{auth}/jwks"}
    world.ehr.documents = {"configuration": plain(world), "openid": openid}
    assert "Dr Nneka Obi" in await opened(world, browser)
    world.ehr.documents["openid"] = {**openid, "issuer": "https://other.example"}
    assert "did not say who you are" in await opened(world, browser)
    world.ehr.claims_extra = {"iss": "https://169.254.169.254/"}
    assert "did not say who you are" in await opened(world, browser)
    assert world.asked == []


async def test_an_answer_of_another_server_is_refused(world: EhrWorld) -> None:
    world.ehr.documents = {
        "configuration": {
            **plain(world),
            "issuer": world.ehr.auth,
            "jwks_uri": f"{world.ehr.auth}/jwks",
            "authorization_response_iss_parameter_supported": True,
        }
    }
    # It says that it names itself, and does not (RFC 9207).
    refused = await world.answer(world.browser())
    assert refused.status_code == 400
    assert "issuer mismatch" in refused.text
