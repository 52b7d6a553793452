"""MedSAGE on its real parts beside a record system of somebody else that launches it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import ECKey
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.fhir.assessment import LOINC
from smart_app.app import create_app
from smart_app.issuers import Issuer
from smart_app.parts import Parts
from tests.app_browser import Browser, Clock, hidden_fields
from tests.app_records import png
from tests.app_server import RecordSystem
from tests.app_world import ORIGIN, AppWorld, Surroundings, app_world

EHR = "https://ehr.example"
EHR_FHIR = f"{EHR}/fhir"
TERMS = "http://terminology.hl7.org/CodeSystem"
Resource = dict[str, Any]

PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"type": {"text": "MRN"}, "system": "urn:mrn", "value": "77-4"}],
    "name": [{"family": "Adeyemi", "given": ["Bola"]}],
    "gender": "female",
    "birthDate": "1988-02-03",
    "extension": [{"url": "https://ehr.example/vip", "valueBoolean": True}],
}
PRACTITIONER: Resource = {
    "resourceType": "Practitioner",
    "id": "dr-amina",
    "name": [{"family": "Obi", "given": ["Nneka"], "prefix": ["Dr"]}],
}
ENCOUNTER: Resource = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    "subject": {"reference": "Patient/p1"},
}
ALLERGY: Resource = {
    "resourceType": "AllergyIntolerance",
    "id": "a1",
    "patient": {"reference": "Patient/p1"},
    "clinicalStatus": {
        "coding": [{"system": f"{TERMS}/allergyintolerance-clinical", "code": "active"}]
    },
    "code": {"text": "Quinine"},
}
WEIGHT: Resource = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "29463-7"}], "text": "Weight"},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2026-11-20",
    "valueQuantity": {
        "value": 61.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg",
    },
}  # fmt: skip
CHART = (PATIENT, PRACTITIONER, ENCOUNTER, ALLERGY, WEIGHT)


@dataclass
class EhrWorld:
    """`home` is MedSAGE; `ehr` the record system; `issuers` what is registered just now; `asked`
    the addresses that were called of servers that nobody registered."""

    home: AppWorld
    ehr: RecordSystem
    issuers: list[Issuer]
    clock: Clock
    asked: list[str]

    @property
    def parts(self) -> Parts:
        """What the app works with."""
        parts: Parts = self.home.app.state.parts
        return parts

    @asynccontextmanager
    async def restarted(self) -> AsyncIterator[Parts]:
        """The app begun anew, without what lay in memory."""
        old = self.parts
        yield create_app(old.config, old.http, clock=self.clock).state.parts

    def browser(self) -> Browser:
        """A new browser."""
        return Browser(self.home.application)

    async def answer(self, browser: Browser, ehr: RecordSystem | None = None) -> Any:
        """The answer to the callback of a launch from the record system."""
        asked = ehr or self.ehr
        begun = await browser.get(f"/app/launch?iss={asked.fhir}&launch=xyz")
        assert begun.status_code == 303, begun.text
        transport = httpx.ASGITransport(asked.app)
        async with httpx.AsyncClient(transport=transport) as elsewhere:
            back = await elsewhere.get(begun.headers["location"])
        return await browser.get(httpx.URL(back.headers["location"]).raw_path.decode())

    async def launch(self, browser: Browser, ehr: RecordSystem | None = None) -> str:
        """A whole launch; the path of the chart."""
        done = await self.answer(browser, ehr)
        assert done.status_code == 303, done.text
        return str(done.headers["location"])

    async def stored(self, type_: str, **query: str) -> list[Resource]:
        """What lies on our server, seen without a guard."""
        return [found async for found in self.home.as_worker.search(type_, query)]

    def permit(self, *types: str, **more: Any) -> None:
        """Change the registration: what may be written back, and other members."""
        self.issuers[0] = replace(self.issuers[0], write_back=frozenset(types), **more)


def record_system(key: ECKey, origin: str = EHR) -> RecordSystem:
    """A record system with one chart."""
    made = RecordSystem(key, origin)
    for resource in CHART:
        made.put(resource)
    return made


def registered(ehr: RecordSystem, key: ECKey, **more: Any) -> Issuer:
    """The registration of a record system, as an administrator makes it."""
    private = key.as_dict(private=True)
    known: dict[str, Any] = {"is_own": False, "standalone": False, **more}
    site = ehr.fhir.removesuffix("/fhir")
    return Issuer("General Hospital", ehr.fhir, "medsage-there", private, (site,), **known)


@asynccontextmanager
async def ehr_world(
    folder: Path, *more: RecordSystem, origin: str = ORIGIN, ehr_origin: str = EHR
) -> AsyncIterator[EhrWorld]:
    """MedSAGE at `origin`, and one record system that may launch it; `more` may too."""
    key = ECKey.generate_key("P-384", {"kid": "there"}, private=True)
    ehr = record_system(key, ehr_origin)
    issuers = [registered(ehr, key)]
    clock = Clock()
    asked: list[str] = []

    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await Response(status_code=404)(scope, receive, send)

    others: dict[str, ASGIApp] = {ehr_origin: ehr.app, "all://": elsewhere}
    for each in more:
        each.client_key = key
        issuers.append(registered(each, key))
        others[each.fhir.removesuffix("/fhir")] = each.app
    around = Surroundings(others, lambda: tuple(issuers), clock)
    async with app_world(folder, origin, around) as home:
        yield EhrWorld(home, ehr, issuers, clock, asked)


async def signed_report(world: EhrWorld, browser: Browser, chart: str, smear: Any) -> str:
    """From the intake to the signature; the path of the report."""
    vitals = {"temperature": "39.2", "fever": "yes"}
    saved = await browser.submit(f"{chart}intake", f"{chart}intake", **vitals)
    assert saved.status_code == 303, saved.text
    if smear is not None:
        fields = hidden_fields((await browser.get(f"{chart}images")).text)
        files = [("image", ("a.png", png(60, 60), "image/png"))]
        assert (await browser.post(f"{chart}images", fields, files=files)).status_code == 303
    started = await browser.submit(f"{chart}check", f"{chart}start", confirm_slides="yes")
    assert started.status_code == 303, started.text
    await world.home.worker(smear).run_once()
    finished = await browser.get(started.headers["location"])
    assert finished.status_code == 303, finished.text
    report = str(finished.headers["location"])
    answer = "parasites-seen" if smear is not None else "malaria-likely"
    locked = await browser.submit(report, f"{report}/reading", reading=answer)
    assert locked.status_code == 303, locked.text
    chosen = {"finding": answer, "agreement": "accept", "acknowledged": "yes"}
    kept = await browser.submit(report, f"{report}/conclusion", conclusion="Malaria.", **chosen)
    assert kept.status_code == 303, kept.text
    signed = await browser.submit(f"{report}/sign", f"{report}/sign", examined="yes")
    assert signed.status_code == 303, signed.text
    return report
