"""Two installations of MedSAGE with stores of their own: one is the record system of the other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from starlette.types import Receive, Scope, Send

from fhir_server.security.authorization.clients import Client, register_client
from models.malaria.reading import SmearAnswer
from smart_app.issuers import Issuer
from tests.app_browser import Browser, Clock
from tests.app_sign_in import launch_handle, sign_in_at
from tests.app_world import FHIR, ORIGIN, AppWorld, Surroundings, app_world
from tests.ehr_world import EhrWorld, signed_report
from tests.smear_predictions import ScriptedSmearModel, field_of

HOSPITAL = "https://hospital.example"
BASE = f"{HOSPITAL}/fhir"
SCOPES = (
    "launch openid fhirUser online_access user/Practitioner.rs patient/Patient.rs "
    "patient/Encounter.rs patient/Observation.crs patient/AllergyIntolerance.rs "
    "patient/DiagnosticReport.crs patient/DocumentReference.crs"
)


@dataclass
class Both:
    """The record system and MedSAGE, which it launches."""

    hospital: AppWorld
    home: AppWorld

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Both servers, each under its own name."""
        hosts = dict(scope["headers"]).get(b"host", b"")
        world = self.hospital if hosts == b"hospital.example" else self.home
        await world.application(scope, receive, send)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    key = ECKey.generate_key("P-384", {"kid": "there"}, private=True)
    permitted = frozenset({"Observation", "DiagnosticReport", "DocumentReference"})
    issuer = Issuer(
        "Hospital",
        BASE,
        "medsage-there",
        key.as_dict(private=True),
        (HOSPITAL,),
        standalone=False,
        is_own=False,
        write_back=permitted,
    )
    client = Client(
        "medsage-there",
        "MedSAGE",
        SCOPES,
        redirect_uris=(f"{ORIGIN}/app/callback",),
        launch_uri=f"{ORIGIN}/app/launch",
        jwks={"keys": [key.as_dict(private=False)]},
        is_preapproved=True,
    )
    for name in ("hospital", "home"):
        (tmp_path / name).mkdir()
    async with app_world(tmp_path / "hospital", HOSPITAL) as hospital:
        await hospital.store.transaction(lambda tx: register_client(tx, client))
        around = Surroundings({HOSPITAL: hospital.application}, lambda: (issuer,))
        async with app_world(tmp_path / "home", around=around) as home:
            yield Both(hospital, home)


async def found(world: AppWorld, type_: str, **query: str) -> list[dict[str, Any]]:
    return [each async for each in world.as_worker.search(type_, query)]


async def test_a_clinician_of_one_reads_and_signs_in_the_other_and_the_report_goes_home(
    both: Both,
) -> None:
    browser = Browser(both.application)
    launch = await launch_handle(browser, both.hospital.key, "medsage-there", HOSPITAL)
    begun = await browser.get(f"{ORIGIN}/app/launch?iss={BASE}&launch={launch}")
    back = await sign_in_at(browser, begun.headers["location"], f"{ORIGIN}/app/callback")
    done = await browser.get(back)
    assert done.status_code == 303, done.text
    chart = f"{ORIGIN}{done.headers['location']}"
    page = (await browser.get(chart)).text
    assert "OKAFOR, Chidi" in page
    assert "Copied from Hospital" in page

    smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    # The steps are the same as in any chart; only the worker is asked of the world.
    as_world = EhrWorld(both.home, None, [], Clock(), [])  # type: ignore[arg-type]
    path = chart.removeprefix(ORIGIN)
    report = await signed_report(as_world, browser, path, smear)
    assert "Sent to Hospital." in (await browser.get(report)).text

    (sent,) = await found(both.hospital, "DiagnosticReport")
    assert sent["subject"]["reference"] == "Patient/p1"
    assert sent["resultsInterpreter"][0]["reference"] == "Practitioner/dr-amina"
    assert sent["identifier"][0]["value"].startswith(f"{FHIR}/DiagnosticReport/")
    assert len(sent["result"]) == 4
    (document,) = await found(both.hospital, "DocumentReference", patient="p1")
    assert document["content"][0]["attachment"]["contentType"] == "application/pdf"

    # The patients with the id p1 of the two stores stay two.
    (copy,) = await found(both.home, "Patient", identifier=f"{BASE}|p1")
    own = await both.home.as_worker.read("Patient/p1")
    assert copy["id"] != own["id"] == "p1"
    reports = await found(both.home, "DiagnosticReport")
    assert [each["subject"]["reference"] for each in reports] == [f"Patient/{copy['id']}"]
