"""The registry at the start of a server, and the whole way on the real one: enrolled, run in the
shadow by the worker's own narrow scopes, read by governance alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.enrolment import Enrolment, enrol
from fhir_server.fhir.model_versions import SHADOW_RESULT, State, standing_of
from fhir_server.search.plan import Scope
from fhir_server.security.principal import Principal
from fhir_server.security.tenants import DEFAULT, tenant_label
from models.ai_systems import ai_device
from models.lifecycle.installed import Installed
from models.lifecycle.installed import installed as found_on_disk
from models.malaria.calibration import CALIBRATION, WEIGHTS
from models.malaria.reading import SmearAnswer
from models.worker import Worker
from models.worker_device import SCOPES
from tests.fhir_world import BASE, Json, World, extract, fhir_world, registry
from tests.model_versions import analysts_of, installed, scripted
from tests.smear_predictions import field_of
from tests.spec.test_worker_on_server import fhir, submit

SHADOW = f"{SHADOW_RESULT['system']}|{SHADOW_RESULT['code']}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def versions(*names: str) -> dict[str, Installed]:
    here = [installed(name, scripted(field_of(600, 40, SmearAnswer.SUSPECTED))) for name in names]
    return {version.key: version for version in here}


async def enrolled(
    world: World, here: dict[str, Installed], *, follows: bool = False, owner: str = DEFAULT
) -> int:
    numbers = iter(range(1, 100))
    enrolment = Enrolment(
        store=world.store,
        scope=lambda: Scope(registry(), world.clock(), BASE),
        extract=extract(),
        clock=world.clock,
        new_id=lambda: f"{owner}-{len(here)}-{next(numbers)}",
        base_url=BASE,
        owner=owner,
        follows_release=follows,
    )
    return await enrol(enrolment, here)


async def states(world: World) -> dict[str, State]:
    found = {}
    async for device in fhir(world).search("Device", {}):
        standing = standing_of(device)
        if standing is not None:
            found[device["version"][0]["value"]] = standing.state
    return found


async def test_the_first_version_is_active_and_each_other_a_shadow(world: World) -> None:
    assert await enrolled(world, versions("1.0.0")) == 1
    assert await enrolled(world, versions("1.0.0")) == 0
    assert await enrolled(world, versions("1.0.0", "1.1.0")) == 1
    assert await states(world) == {"1.0.0": State.ACTIVE, "1.1.0": State.SHADOW}
    assert await world.count("DocumentReference") == 2


async def test_each_tenant_has_a_registry_of_its_own(world: World) -> None:
    here = versions("1.0.0")
    assert await enrolled(world, here) == 1
    assert await enrolled(world, here, owner="north") == 1
    assert await enrolled(world, here, owner="north") == 0
    labels = [d.get("meta", {}).get("security") for d in await devices(world)]
    assert labels.count(None) == 1
    assert labels.count([tenant_label("north")]) == 1


async def devices(world: World) -> list[Json]:
    return [device async for device in fhir(world).search("Device", {})]


async def test_a_release_takes_over_in_the_demonstration_alone(world: World) -> None:
    await enrolled(world, versions("1.0.0"))
    await enrolled(world, versions("2.0.0"))
    assert await states(world) == {"1.0.0": State.ACTIVE, "2.0.0": State.SHADOW}
    await enrolled(world, versions("2.0.0"), follows=True)
    assert await states(world) == {"1.0.0": State.RETIRED, "2.0.0": State.ACTIVE}


async def test_a_device_from_before_there_was_a_registry_is_enrolled(world: World) -> None:
    here = versions("1.0.0")
    (version,) = here.values()
    made = await world.create(ai_device(version.system, "DocumentReference/c"))
    assert await enrolled(world, here) == 1
    device = await fhir(world).read(f"Device/{made}")
    standing = standing_of(device)
    assert standing is not None
    assert (standing.state, device["meta"]["versionId"]) == (State.ACTIVE, "2")
    assert await world.count("Device") == 1


def person(role: str, scopes: str) -> Principal:
    return Principal(
        subject=role,
        client_id=role,
        name=role,
        roles=frozenset({role} - {"service"}),
        fhir_user=f"Practitioner/{role}",
        scopes=scopes,
        patient=None,
        encounter=None,
        session=None,
    )


async def test_the_workers_scopes_store_a_shadow_that_governance_alone_reads(
    world: World,
) -> None:
    here = versions("1.0.0", "1.1.0")
    await enrolled(world, here)
    reference = await submit(world)
    world.caller.principal = person("service", SCOPES)
    asked = analysts_of(fhir(world), here, world.clock)
    await Worker(fhir(world), asked, clock=world.clock).run_once()
    await asked.shadows.work_off()

    seen = {}
    for role in ("governance", "doctor"):
        world.caller.principal = person(role, f"user/*.cruds user/Basic.rs?_security={SHADOW}")
        seen[role] = (await world.get("/Basic")).json()
    world.caller.principal = None
    assert (await fhir(world).read(reference))["status"] == "completed"
    assert (seen["governance"]["total"], seen["doctor"]["total"]) == (1, 0)
    (entry,) = seen["governance"]["entry"]
    said = entry["resource"]["contained"][0]
    assert said["valueCodeableConcept"]["coding"][0]["code"] == "parasites-suspected"
    assert await world.count("Observation") == 1  # the version's in use


def test_a_damaged_version_of_the_operator_is_left_out(tmp_path: Path) -> None:
    good, bad = (tmp_path / "malaria-cell" / name for name in ("good", "bad"))
    for folder in (good, bad):
        folder.mkdir(parents=True)
        for file in WEIGHTS.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    (good / CALIBRATION).write_bytes((good / CALIBRATION).read_bytes() + b"\n")
    weights = bad / "malaria_detect_model.tflite"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")

    here = found_on_disk(tmp_path)

    assert {version.folder for version in here.values()} == {WEIGHTS, good}
    assert [version.is_shipped for version in here.values()] == [True, False]
