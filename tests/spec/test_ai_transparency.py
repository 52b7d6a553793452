"""HL7 AI Transparency on FHIR (ballot): a real result, on the real server, against its rules.

The table below is the list of rules that results keep to; each takes what was stored.
"""

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.ai_labels import INLINE_LABEL
from fhir_server.fhir.assessment import AI_ASSERTED, Image, Intake, Parties, submission
from models.ai_systems import AI_KIND, CONFIDENCE, DEVICE_TYPES, INPUTS, MODEL_CARD
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import CellAnswer, SmearPrediction
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Worker
from smart_app.signing import (
    Signer,
    final_report,
    signature_provenance,
    signed_transaction,
)
from tests.fhir_world import BASE, START, World, fhir_world
from tests.smear_predictions import ScriptedSmearModel, one_cell, refused

Resource = dict[str, Any]
SIGNER = Signer("Practitioner/amina", "Dr Amina", "2026-11-24T09:00:00Z")
REJECTING = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


@dataclass
class Stored:
    """What one assessment left on the server."""

    report: Resource
    observations: list[Resource]
    devices: list[Resource]
    cards: list[Resource]
    provenances: list[Resource]
    images: list[str]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        await opened.put("/Practitioner/amina", {"resourceType": "Practitioner", "id": "amina"})
        yield opened


def fhir(world: World) -> FhirClient:
    return FhirClient(world.http, BASE, CallerToken(None))


async def all_of(world: World, type_: str, **criteria: str) -> list[Resource]:
    return [found async for found in fhir(world).search(type_, criteria)]


async def assessed(world: World, prediction: SmearPrediction) -> Stored:
    patient = await world.create({"resourceType": "Patient", "birthDate": "1990-05-01"})
    numbers = iter(range(1, 100))
    intake = Intake(
        START, images=[Image(b"\x89PNG", "image/png", "cell")], symptoms={"fever": "yes"}
    )
    parties = Parties(f"Patient/{patient}")
    made = submission(intake, parties, lambda: f"00000000-0000-4000-8000-{next(numbers):012d}")
    await fhir(world).transaction(made)
    model = ScriptedSmearModel(prediction)
    await Worker(fhir(world), Analysts(model, SafeAnalyst()), clock=world.clock).run_once()
    (report,) = await all_of(world, "DiagnosticReport")
    return Stored(
        report,
        [await fhir(world).read(each["reference"]) for each in report["result"]],
        await all_of(world, "Device", type="Artificial-Intelligence"),
        await all_of(world, "DocumentReference"),
        await all_of(world, "Provenance"),
        [f"Media/{each['id']}" for each in await all_of(world, "Media")],
    )


def codes(concept: Resource) -> set[str]:
    return {f"{each['system']}#{each['code']}" for each in concept.get("coding", ())}


def labels(resource: Resource) -> set[str]:
    return {each["code"] for each in resource["meta"].get("security", ())}


def is_inline(element: Resource) -> bool:
    return {"url": INLINE_LABEL, "valueCoding": AI_ASSERTED} in element.get("extension", ())


def extensions(resource: Resource, url: str) -> list[Resource]:
    return [each for each in resource.get("extension", ()) if each["url"] == url]


def agents(stored: Stored) -> list[Resource]:
    return [agent for each in stored.provenances for agent in each["agent"]]


RULES: Mapping[str, Callable[[Stored], bool]] = {
    "1 every Observation and report bears AIAST": lambda s: all(
        "AIAST" in labels(each) for each in [s.report, *s.observations]
    ),
    "2 the report tells to look for inline labels": lambda s: (
        "PROCESSINLINELABEL" in labels(s.report)
    ),
    "2 the conclusion bears the inline label": lambda s: is_inline(s.report["_conclusion"]),
    "2 every conclusion code bears the inline label": lambda s: (
        bool(s.report["conclusionCode"]) and all(map(is_inline, s.report["conclusionCode"]))
    ),
    "3 the Device is of the type Artificial-Intelligence exactly": lambda s: all(
        codes(each["type"]) == {f"{DEVICE_TYPES}#Artificial-Intelligence"} for each in s.devices
    ),
    "3 the Device says of which kinds it is": lambda s: all(
        extensions(each, AI_KIND) for each in s.devices
    ),
    "3 the Device has all that identifies a version": lambda s: all(
        each[name]
        for each in s.devices
        for name in (
            *("identifier", "manufacturer", "deviceName", "modelNumber", "version"),
            *("url", "contact", "safety"),
        )
    ),
    "3 the Device leads to its card": lambda s: (
        {
            each["valueReference"]["reference"]
            for d in s.devices
            for each in extensions(d, MODEL_CARD)
        }
        == {f"DocumentReference/{each['id']}" for each in s.cards}
    ),
    "4 the card is an AI model card in Markdown": lambda s: all(
        codes(each["type"]) == {f"{INPUTS}#AIModelCard"}
        and codes(each["category"][0]) == {f"{INPUTS}#AIModelCardMarkdownFormat"}
        and each["content"][0]["attachment"]["contentType"] == "text/markdown"
        and base64.b64decode(each["content"][0]["attachment"]["data"]).startswith(b"---\nmodel:")
        for each in s.cards
    ),
    "5 a Provenance for each result gives AI as its reason": lambda s: (
        len(s.provenances) == len(s.observations)
        and all(each["reason"][0]["coding"] == [AI_ASSERTED] for each in s.provenances)
    ),
    "5 its agent is the Device, as author, in the role of AI": lambda s: all(
        agent["who"]["reference"] in {f"Device/{d['id']}" for d in s.devices}
        and "author" in str(codes(agent["type"]))
        and codes(agent["role"][0]) == {f"{DEVICE_TYPES}#Artificial-Intelligence"}
        for agent in agents(s)
    ),
    "5 its entities are the card, derived from, and the images": lambda s: (
        all(
            next(e["what"]["reference"] for e in each["entity"] if e["role"] == "derivation")
            in {f"DocumentReference/{card['id']}" for card in s.cards}
            for each in s.provenances
        )
        and any(
            s.images == [e["what"]["reference"] for e in each["entity"] if e["role"] == "source"]
            for each in s.provenances
        )
    ),
    "6 a single cell's result tells its confidence": lambda s: (
        str(extensions(s.observations[0], CONFIDENCE)[0]["valueDecimal"]) == "0.97"
    ),
    "7 the Observation names device, images and method, and no performer": lambda s: (
        all(each["device"] and each["method"]["text"] for each in s.observations)
        and [e["reference"] for e in s.observations[0]["derivedFrom"]] == s.images
        and not any("performer" in each for each in s.observations)
    ),
    "7 nothing is final before a person signs": lambda s: (
        {each["status"] for each in [s.report, *s.observations]} == {"preliminary"}
    ),
    "8 no species and no smear-level code for one cell": lambda s: (
        not any(
            word in str([s.report, s.observations]) for word in ("30020004", "51587-4", "32700-7")
        )
    ),
}


async def test_a_real_result_keeps_each_rule_of_the_table(world: World) -> None:
    stored = await assessed(world, one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    assert [rule for rule, keeps in RULES.items() if not keeps(stored)] == []


async def test_a_refused_image_has_no_finding_but_says_why(world: World) -> None:
    stored = await assessed(world, refused())
    smear = stored.observations[0]
    assert (smear["status"], "valueCodeableConcept" in smear) == ("cancelled", False)
    assert smear["dataAbsentReason"]["coding"][0]["system"] == REJECTING
    assert "AIAST" in labels(smear)


async def sign(world: World, report: Resource, conclusion: str) -> Resource:
    finding = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Clinician's finding"},
        "subject": report["subject"],
        "performer": [{"reference": SIGNER.reference}],
        "valueCodeableConcept": {"text": "Parasites seen"},
    }
    url = "urn:uuid:00000000-0000-4000-8000-0000000000aa"
    final = final_report(report, SIGNER, finding, conclusion=conclusion, url=url)
    evidence = (signature_provenance(final, SIGNER, "a.b.c"),)
    await fhir(world).transaction(signed_transaction(final, finding, evidence, finding_url=url))
    return await fhir(world).read(f"DiagnosticReport/{report['id']}")


@pytest.mark.parametrize("is_rewritten", [False, True])
async def test_after_signing_what_is_left_of_the_draft_stays_marked(
    world: World, is_rewritten: bool
) -> None:
    stored = await assessed(world, one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    draft = stored.report["conclusion"]
    text = "Falciparum malaria. Treated." if is_rewritten else f"Agreed.\n\n{draft[:-20]}"

    signed = await sign(world, stored.report, text)

    assert signed["status"] == "final"
    assert "AIAST" in labels(signed)
    assert is_inline(signed.get("_conclusion", {})) is not is_rewritten
    assert ("PROCESSINLINELABEL" in labels(signed)) is not is_rewritten
    assert not any(is_inline(code) for code in signed["conclusionCode"])


async def test_signing_leaves_a_provenance_of_the_verifier_with_a_signature(world: World) -> None:
    stored = await assessed(world, one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    await sign(world, stored.report, stored.report["conclusion"])
    (trace,) = await all_of(world, "Provenance", agent=SIGNER.reference)
    assert "verifier" in str(codes(trace["agent"][0]["type"]))
    assert trace["signature"][0]["who"]["reference"] == SIGNER.reference


async def test_what_a_version_touched_and_whether_ai_was_used_can_be_asked(world: World) -> None:
    stored = await assessed(world, one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    signed = await sign(world, stored.report, stored.report["conclusion"])
    smear, symptoms = stored.observations
    device = smear["device"]["reference"]

    touched = await all_of(world, "Provenance", agent=device)
    targets = {each["reference"] for trace in touched for each in trace["target"]}
    assert targets == {f"DiagnosticReport/{signed['id']}", f"Observation/{smear['id']}"}
    page = await world.get(f"/Provenance?agent={device}&_include=Provenance:target")
    found = [each["resource"] for each in page.json()["entry"]]
    assert [each["status"] for each in found if each["id"] == signed["id"]] == ["final"]
    used = await all_of(
        world,
        "Provenance",
        target=f"DiagnosticReport/{signed['id']}",
        **{"agent:Device.type": "Artificial-Intelligence"},
    )
    assert len(used) == 2
    by_hand = f"Observation/{signed['result'][-1]['reference'].split('/')[1]}"
    assert await all_of(world, "Provenance", target=by_hand) == []
    assert symptoms["device"]["reference"] != device


async def test_data_without_ai_can_be_asked_for(world: World) -> None:
    stored = await assessed(world, one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    signed = await sign(world, stored.report, "Falciparum malaria. Treated.")
    human = await all_of(world, "Observation", **{"_security:not": "AIAST"})
    assert [f"Observation/{each['id']}" for each in human] == [signed["result"][-1]["reference"]]
