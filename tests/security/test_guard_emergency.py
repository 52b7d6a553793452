"""What emergency access gives back: what Consents and labels took away of one patient's record, and
nothing that scope, role or another patient's Consent keeps."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.security import emergencies
from fhir_server.security.emergencies import Emergency
from fhir_server.storage.port import Transaction
from tests.consent_world import LABEL, consent, deny, exceptions, observation
from tests.fhir_world import World, fhir_world
from tests.security.test_guard_http import AUDITOR, principal

DOCTOR = principal("user/*.cruds", patient=None)


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as world:
        for resource in (
            {"resourceType": "Patient", "id": "x"},
            {"resourceType": "Patient", "id": "y"},
            observation("ox", "x"),
            observation("rx", "x", meta={"security": [LABEL]}),
            observation("oy", "y"),
            observation("ry", "y", meta={"security": [LABEL]}),
            observation("oxy", "x", performer=[{"reference": "Patient/y"}]),
            {**consent("x", base="OPTOUT"), "id": "cx"},
            {**consent("y", provision=exceptions(deny())), "id": "cy"},
        ):
            url = f"/{resource['resourceType']}/{resource['id']}"
            answer = await world.put(url, resource)
            assert answer.is_success, answer.text
        world.caller.principal = DOCTOR
        yield world


async def begin(world: World, patient: str, user: str = "dr.amina", minutes: int = 30) -> None:
    now = world.clock.now.timestamp()
    given = Emergency(
        f"{user}-{patient}",
        user,
        patient,
        "default",
        "ETREAT",
        "no history",
        now,
        now + minutes * 60,
    )

    async def unit(transaction: Transaction) -> None:
        await emergencies.begin(transaction, given)

    await world.store.transaction(unit)


async def ids(world: World) -> set[str]:
    answer = (await world.get("/Observation")).json()
    return {each["resource"]["id"] for each in answer.get("entry", ())}


async def test_it_opens_one_patients_record_at_once_and_for_a_time(ward: World) -> None:
    assert await ids(ward) == set()
    await begin(ward, "x")
    # What is about y too stays closed: y has not been opened.
    assert await ids(ward) == {"ox", "rx"}
    assert (await ward.get("/Patient/x")).status_code == 200
    assert (await ward.get("/Observation/rx/_history/1")).status_code == 200
    assert (await ward.get("/Observation/oy")).status_code == 404
    await begin(ward, "y")
    assert await ids(ward) == {"ox", "rx", "oy", "ry", "oxy"}
    ward.clock.now += timedelta(minutes=31)
    assert await ids(ward) == set()


async def test_it_is_the_users_own_whatever_the_app(ward: World) -> None:
    await begin(ward, "x")
    for who, seen in (
        (principal("user/*.rs", patient=None, client_id="other"), {"ox", "rx"}),
        (principal("user/*.rs", patient=None, subject="dr.kofi"), set()),
        (principal("user/*.rs", patient=None, tenant="north"), set()),
    ):
        ward.caller.principal = who
        assert await ids(ward) == seen


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (principal("user/Patient.rs", patient=None), 403),
        (principal("patient/*.rs", patient="y"), 404),
        (principal("user/*.rs", patient=None, roles=frozenset({"admin"})), 403),
        (principal("user/Observation.rs?status=preliminary", patient=None), 404),
    ],
)
async def test_it_widens_neither_scope_nor_role_nor_compartment(
    ward: World, who: Any, status: int
) -> None:
    await begin(ward, "x")
    ward.caller.principal = who
    assert (await ward.get("/Observation/ox")).status_code == status


async def test_every_access_is_marked_as_an_emergency(ward: World) -> None:
    await ward.get("/Observation/ox")
    await begin(ward, "x")
    for url in ("/Observation/ox", "/Observation?patient=x", "/Observation", "/Patient/x"):
        assert (await ward.get(url)).status_code == 200
    await ward.get("/Observation/oy")
    await ward.get("/Observation?patient=y")
    purposes = [each.get("purpose") for each in (await ward.journal())[-7:]]
    # A search that names nobody may have shown what the emergency opened; one of y has not.
    assert purposes == [None, "BTG", "BTG", "BTG", "BTG", None, None]


async def test_the_trail_stays_with_auditors(ward: World) -> None:
    await begin(ward, "x")
    assert (await ward.get("/AuditEvent")).status_code == 403
    ward.caller.principal = AUDITOR
    assert (await ward.get("/AuditEvent")).status_code == 200
