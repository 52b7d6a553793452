"""A person writes readings and feedback in their own name alone: else one could be two readers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.fhir.feedback import AI_FEEDBACK
from tests.app_records import code
from tests.fhir_world import Json, World, fhir_world
from tests.spec.test_operation_model_versions import person

DORA = person("dora", "doctor")
SERVICE = replace(person("app", "service"), client_id="app", fhir_user=None)


def reading(reader: str, kind: str = "first-reading") -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": code(kind, kind),
        "performer": [{"reference": reader}],
        "valueCodeableConcept": code("parasites-seen", "Parasites seen"),
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as running:
        for id in ("dora", "eve"):
            await running.put(f"/Practitioner/{id}", {"resourceType": "Practitioner", "id": id})
        yield running


async def test_nobody_reads_in_another_name(world: World) -> None:
    world.caller.principal = DORA
    own, others = reading("Practitioner/dora"), reading("Practitioner/eve")
    for kind in ("first-reading", "adjudicated-reading", AI_FEEDBACK["code"]):
        assert (
            await world.post("/Observation", reading("Practitioner/eve", kind))
        ).status_code == 403
    both = {**own, "performer": [*own["performer"], *others["performer"]]}
    nobody = {name: value for name, value in own.items() if name != "performer"}
    elsewhere = reading("https://elsewhere.example/fhir/Practitioner/dora")
    for forged in (both, nobody, elsewhere):
        assert (await world.post("/Observation", forged)).status_code == 403
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": others, "request": {"method": "POST", "url": "Observation"}}],
    }
    assert (await world.post("/", bundle)).status_code == 403
    id = await world.create(own)
    changed = await world.put(f"/Observation/{id}", {**others, "id": id})
    assert changed.status_code == 403
    other_kind = await world.create(reading("Practitioner/eve", "clinician-finding"))
    assert other_kind


async def test_another_s_reading_is_theirs_to_change(world: World) -> None:
    world.caller.principal = SERVICE
    id = await world.create(reading("Practitioner/eve"))
    path = f"/Observation/{id}"
    world.caller.principal = DORA
    taken = {**reading("Practitioner/dora"), "id": id}
    for said in (taken, {**taken, "code": code("other", "Other")}):
        assert (await world.put(path, said)).status_code == 403
    assert (await world.delete(path)).status_code == 403
    world.caller.principal = person("eve", "doctor")
    back = {**reading("Practitioner/eve"), "id": id, "status": "entered-in-error"}
    assert (await world.put(path, back)).status_code == 200
