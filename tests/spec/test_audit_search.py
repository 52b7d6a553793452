"""The audit trail through the front door: what was done is found by the R4 search parameters."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit.export import export
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.signing import new_private_jwk, signer
from fhir_server.audit.verify import verify
from fhir_server.security.principal import Principal
from tests.fhir_world import World, extract, fhir_world

SIGNER = signer(new_private_jwk())


def principal(subject: str, role: str, scopes: str, person: str) -> Principal:
    return Principal(
        subject=subject,
        client_id="medsage-app",
        name=person,
        roles=frozenset({role}),
        fhir_user=f"Practitioner/{subject}",
        scopes=scopes,
        patient="kofi",
        encounter=None,
        session=None,
    )


DOCTOR = principal("dr-amina", "doctor", "user/*.cruds", "Dr Amina Diallo")
AUDITOR = principal("auditor", "auditor", "user/AuditEvent.rs", "Efua Boateng")
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "temperature"},
    "subject": {"reference": "Patient/kofi"},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A ward where a doctor created, read, searched, was refused, and deleted."""
    async with fhir_world(tmp_path) as opened:
        opened.caller.principal = DOCTOR
        await opened.put("/Patient/kofi", {"resourceType": "Patient", "id": "kofi"})
        await opened.put("/Patient/ama", {"resourceType": "Patient", "id": "ama"})
        id_ = await opened.create(OBSERVATION)
        await opened.get(f"/Observation/{id_}")
        await opened.get(f"/Observation/{id_}/_history/1")
        await opened.get("/Observation?subject=Patient/kofi")
        await opened.get("/Observation?subject=Patient/ama")
        await opened.get("/AuditEvent")
        await opened.delete(f"/Observation/{id_}")
        await seal(opened)
        opened.caller.principal = AUDITOR
        yield opened


async def seal(world: World) -> None:
    sealer = Sealer(world.store, extract(), SIGNER, world.clock)
    while await sealer.seal_once():
        pass


async def found(world: World, query: str) -> list[dict[str, Any]]:
    answer = await world.get(f"/AuditEvent?{query}&_count=100")
    assert answer.status_code == 200, answer.text
    return [each["resource"] for each in answer.json().get("entry", ())]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("patient=kofi", 6),
        ("patient=Patient/ama", 2),
        ("patient=kofi&action=R", 2),
        ("patient=kofi&action=C", 1),
        ("patient=kofi&action=D", 1),
        ("patient=kofi&action=E", 1),
        ("action=C,D", 2),
        ("agent=Practitioner/dr-amina", 9),
        ("agent=Practitioner/dr-kofi", 0),
        ("agent-name=Dr Amina", 9),
        ("altid=dr-amina", 9),
        ("agent-role=doctor", 9),
        ("outcome=4", 1),
        ("patient=kofi&date=ge2026-11-24&date=lt2026-11-25", 6),
        ("patient=kofi&date=lt2026-11-24", 0),
        ("patient=kofi&date=2026-11-24&agent=Practitioner/dr-amina&action=U", 1),
        ("entity=Patient/ama", 2),
        ("subtype=search-type", 3),
        ("address=192.0.2.7", 9),
        ("entity:identifier=request-1", 9),
    ],
)
async def test_an_auditor_finds_what_was_done(world: World, query: str, count: int) -> None:
    assert len(await found(world, query)) == count


async def test_every_request_left_one_event_and_the_chain_is_whole(world: World) -> None:
    events = await found(world, "_sort=date")
    assert len(events) == 9
    lines = [line async for line in export(world.store, SIGNER, world.clock)]
    report = verify(lines, SIGNER.public_jwk)
    assert (report.findings, report.events) == ((), 9)


async def test_looking_at_the_trail_leaves_a_trail(world: World) -> None:
    await found(world, "patient=kofi")
    await seal(world)
    (event,) = await found(world, "agent=Practitioner/auditor")
    assert event["subtype"][0]["code"] == "search-type"


async def test_the_trail_is_for_auditors_alone(world: World) -> None:
    for caller in (DOCTOR, principal("admin", "admin", "user/*.cruds", "Yaw Asante")):
        world.caller.principal = caller
        assert (await world.get("/AuditEvent?patient=kofi")).status_code == 403


async def test_edits_in_the_store_itself_are_found(world: World, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "fhir.sqlite") as tampering:
        edited = "replace(CAST(body AS TEXT), 'Dr Amina Diallo', 'Dr Kofi Mensah')"
        changed = tampering.execute(
            f"UPDATE history SET body = CAST({edited} AS BLOB)"
            " WHERE type = 'AuditEvent' AND CAST(body AS TEXT) LIKE '%\"create\"%'"
        )
        assert changed.rowcount == 1
    lines = [line async for line in export(world.store, SIGNER, world.clock)]
    assert [each.kind for each in verify(lines, SIGNER.public_jwk).findings] == ["edit"]
