"""A launch from a record system that is not ours: the chart is copied, and stays that system's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from fhir_server.fhir.assessment import FROM_EHR
from models.malaria.reading import SmearAnswer
from smart_app.fhir_client import FhirFailure
from smart_app.launch.own_scopes import copy_access
from tests.app_browser import query_of
from tests.app_world import FHIR
from tests.ehr_world import EHR_FHIR, EhrWorld, ehr_world, record_system, signed_report
from tests.smear_predictions import ScriptedSmearModel, field_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EhrWorld]:
    async with ehr_world(tmp_path) as opened:
        yield opened


async def test_a_launch_opens_a_copy_of_the_chart(world: EhrWorld) -> None:
    browser = world.browser()
    page = await browser.get(await world.launch(browser))
    assert page.status_code == 200, page.text
    assert "ADEYEMI, Bola" in page.text
    assert "MRN 77-4" in page.text
    assert "61.5 kg" in page.text
    assert "Quinine" in page.text
    assert "Dr Nneka Obi" in page.text
    assert "Copied from General Hospital" in page.text
    assert "frame-ancestors https://ehr.example" in page.headers["content-security-policy"]
    (patient,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    assert "extension" not in patient
    assert patient["meta"]["source"] == f"{EHR_FHIR}/Patient/p1"


async def test_the_copies_say_who_took_what_from_where_and_when(world: EhrWorld) -> None:
    await world.launch(world.browser())
    (patient,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    (person,) = await world.stored("Practitioner", identifier=f"{EHR_FHIR}|dr-amina")
    (made,) = await world.stored("Provenance", target=f"Patient/{patient['id']}")
    assert made["entity"][0]["what"]["reference"] == f"{EHR_FHIR}/Patient/p1/_history/1"
    assert made["agent"][0]["onBehalfOf"]["reference"] == f"Practitioner/{person['id']}"
    assert made["agent"][1]["who"]["identifier"]["value"] == EHR_FHIR
    (event,) = [
        e for e in await world.stored("AuditEvent") if e["subtype"][0]["code"] == "ehr-launch"
    ]
    assert event["agent"][0]["who"]["reference"] == f"Practitioner/{person['id']}"
    assert event["entity"][0]["what"]["reference"] == f"Patient/{patient['id']}"


async def test_a_second_launch_uses_the_copy_and_brings_it_up_to_date(world: EhrWorld) -> None:
    browser = world.browser()
    await world.launch(browser)
    (first,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    await world.launch(browser)
    (same,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    assert same["meta"]["versionId"] == first["meta"]["versionId"] == "1"
    assert len(await world.stored("Provenance")) == 3
    renamed = {**world.ehr.resources["Patient", "p1"], "name": [{"family": "Adeyemi-Cole"}]}
    world.ehr.put(renamed)
    page = await browser.get(await world.launch(browser))
    assert "ADEYEMI-COLE" in page.text
    (changed,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    assert (changed["id"], changed["meta"]["versionId"]) == (first["id"], "2")


async def test_two_launches_at_once_make_one_copy(world: EhrWorld) -> None:
    browsers = [world.browser() for _ in range(3)]
    charts = await asyncio.gather(*(world.launch(browser) for browser in browsers))
    for browser, chart in zip(browsers, charts, strict=True):
        assert "ADEYEMI, Bola" in (await browser.get(chart)).text
    assert len(await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")) == 1
    assert len(await world.stored("Practitioner", identifier=f"{EHR_FHIR}|dr-amina")) == 1
    assert len(await world.stored("AllergyIntolerance")) == 1
    assert len(await world.stored("Observation")) == 1
    for kind, id_, change in (
        ("Patient", "p1", {"birthDate": "1988-02-04"}),
        ("AllergyIntolerance", "a1", {"code": {"text": "Chloroquine"}}),
    ):
        world.ehr.put({**world.ehr.resources[kind, id_], **change})
    charts = await asyncio.gather(*(world.launch(browser) for browser in browsers))
    assert "Chloroquine" in (await browsers[2].get(charts[2])).text
    (allergy,) = await world.stored("AllergyIntolerance")
    assert allergy["meta"]["versionId"] == "2"


async def test_an_allergy_that_could_not_be_copied_is_never_no_allergy(world: EhrWorld) -> None:
    sound = world.ehr.resources["AllergyIntolerance", "a1"]
    world.ehr.put({**sound, "id": "a2", "clinicalStatus": {"text": "?"}, "modifierExtension": []})
    browser = world.browser()
    page = await browser.get(await world.launch(browser))
    assert "Quinine, others that could not be copied" in page.text
    assert "1 entry of the chart could not be taken over" in page.text
    del world.ehr.resources["AllergyIntolerance", "a1"]
    page = await browser.get(await world.launch(browser))
    assert "No allergy information recorded" not in page.text


async def test_an_entry_that_is_gone_there_goes_here(world: EhrWorld) -> None:
    browser = world.browser()
    await world.launch(browser)
    del world.ehr.resources["AllergyIntolerance", "a1"]
    page = await browser.get(await world.launch(browser))
    assert "Quinine" not in page.text
    assert await world.stored("AllergyIntolerance") == []


async def test_the_same_id_at_two_issuers_is_two_patients(tmp_path: Path) -> None:
    other = record_system(ECKey.generate_key("P-384"), "https://clinic.example")
    other.put({**other.resources["Patient", "p1"], "name": [{"family": "Nakamura"}]})
    async with ehr_world(tmp_path, other) as world:
        browser = world.browser()
        here, there = await world.launch(browser), await world.launch(browser, other)
        assert "ADEYEMI" in (await browser.get(here)).text
        assert "NAKAMURA" in (await browser.get(there)).text
        found = [
            patient
            for base in (EHR_FHIR, other.fhir)
            for patient in await world.stored("Patient", identifier=f"{base}|p1")
        ]
        assert len({patient["id"] for patient in found}) == 2


async def test_an_issuer_cant_claim_another_issuers_patient(tmp_path: Path) -> None:
    other = record_system(ECKey.generate_key("P-384"), "https://clinic.example")
    claimed = {"system": EHR_FHIR, "value": "p1"}
    forged = {**other.resources["Patient", "p1"], "identifier": [claimed]}
    other.put({**forged, "name": [{"family": "Forged"}]})
    async with ehr_world(tmp_path, other) as world:
        browser = world.browser()
        there, here = await world.launch(browser, other), await world.launch(browser)
        assert "FORGED" in (await browser.get(there)).text
        assert "ADEYEMI" in (await browser.get(here)).text
        (patient,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
        assert patient["name"][0]["family"] == "Adeyemi"


async def test_our_server_confines_the_app_whatever_the_app_asks_for(tmp_path: Path) -> None:
    other = record_system(ECKey.generate_key("P-384"), "https://clinic.example")
    async with ehr_world(tmp_path, other) as world:
        browser = world.browser()
        await world.launch(browser)
        await world.launch(browser, other)
        (ours,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
        (theirs,) = await world.stored("Patient", identifier=f"{other.fhir}|p1")
        (weight,) = await world.stored("Observation", patient=theirs["id"])
        # The widest token that the app can get reaches copies, and no patient of our own.
        widest = world.parts.in_own_name("system/Patient.rs system/Observation.rs")
        assert {p["id"] for p in await widest.search("Patient", {})} == {ours["id"], theirs["id"]}
        in_chart = world.parts.in_chart(ours["id"])
        of_issuer = world.parts.in_own_name(copy_access(EHR_FHIR), tags=(FROM_EHR,))
        for client in (widest, in_chart, of_issuer):
            with pytest.raises(FhirFailure) as refused:
                await client.read("Patient", "p1")
            assert refused.value.status == 404
        for client in (in_chart, of_issuer):
            with pytest.raises(FhirFailure) as refused:
                await client.read("Observation", weight["id"])
            assert refused.value.status == 404
            with pytest.raises(FhirFailure) as refused:
                await client.update({**theirs, "active": False})
            # As if it did not exist.
            assert refused.value.status in {403, 404, 412}
            assert await client.search("Observation", {"patient": theirs["id"]}) == []
        # A resource about another patient can't be put into this chart.
        stray = {**weight, "subject": {"reference": f"Patient/{theirs['id']}"}}
        with pytest.raises(FhirFailure) as refused:
            await in_chart.create({k: v for k, v in stray.items() if k != "id"})
        assert refused.value.status == 403


async def test_a_session_reaches_no_chart_but_its_own(tmp_path: Path) -> None:
    other = record_system(ECKey.generate_key("P-384"), "https://clinic.example")
    async with ehr_world(tmp_path, other) as world:
        browser = world.browser()
        here, there = await world.launch(browser), await world.launch(browser, other)
        smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
        report = (await signed_report(world, browser, here, smear)).rpartition("/")[2]
        assert (await browser.get(f"{here}reports/{report}")).status_code == 200
        assert (await browser.get(f"{there}reports/{report}")).status_code == 404
        (image,) = await world.stored("Media")
        assert (await browser.get(f"{here}media/{image['id']}")).status_code == 200
        assert (await browser.get(f"{there}media/{image['id']}")).status_code == 404


async def test_the_analysis_and_the_signature_are_about_the_copy_by_the_right_person(
    world: EhrWorld,
) -> None:
    browser = world.browser()
    chart = await world.launch(browser)
    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    page = (await browser.get(await signed_report(world, browser, chart, smear))).text
    assert "examined and signed by Dr Nneka Obi" in page
    (patient,) = await world.stored("Patient", identifier=f"{EHR_FHIR}|p1")
    (person,) = await world.stored("Practitioner", identifier=f"{EHR_FHIR}|dr-amina")
    (report,) = await world.stored("DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    (interpreter,) = report["resultsInterpreter"]
    assert interpreter["reference"] == f"Practitioner/{person['id']}"
    events = {e["subtype"][0]["code"]: e for e in await world.stored("AuditEvent")}
    signed = events["signature"]["agent"][0]["who"]["reference"]
    assert signed == f"Practitioner/{person['id']}"


async def test_an_unregistered_issuer_is_refused_before_anybody_is_asked(world: EhrWorld) -> None:
    browser = world.browser()
    for iss in ("https://evil.example/fhir", "http://169.254.169.254/fhir", f"{EHR_FHIR}/x"):
        refused = await browser.get(f"/app/launch?iss={iss}&launch=xyz")
        assert refused.status_code == 400
        assert "not registered" in refused.text
    assert world.asked == []


async def test_an_issuer_that_is_taken_away_ends_its_sessions(world: EhrWorld) -> None:
    browser = world.browser()
    chart = await world.launch(browser)
    world.issuers.clear()
    assert (await browser.get(chart)).status_code == 400
    assert (await browser.get(f"/app/launch?iss={EHR_FHIR}&launch=xyz")).status_code == 400


async def test_the_launch_is_for_the_registered_server_alone(world: EhrWorld) -> None:
    answer = await world.browser().get(f"/app/launch?iss={EHR_FHIR}/&launch=xyz")
    query = query_of(answer)
    assert query["aud"] == EHR_FHIR
    assert query["client_id"] == "medsage-there"
    assert query["code_challenge_method"] == "S256"


async def test_our_own_launches_go_on_beside_it(world: EhrWorld) -> None:
    answer = await world.browser().get(f"/app/launch?iss={FHIR}&launch=xyz")
    assert query_of(answer)["aud"] == FHIR
