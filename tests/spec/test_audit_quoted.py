"""Searches quoted in the audit trail: sealed by a commitment, taken out at an erasure, and the
chain as provable as before."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit.export import export
from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.quoted import queries
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.signing import new_private_jwk, signer
from fhir_server.audit.verify import verify
from fhir_server.fhir.codec import parse
from fhir_server.rights.erasure import Ordered
from fhir_server.rights.extent import extent_of
from fhir_server.rights.quotes import Names, Trail, names_of, take_out
from fhir_server.search.expression import Query
from fhir_server.storage.port import Key
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id
from tests.audit_world import BASE, DOCTOR
from tests.fhir_world import extract
from tests.rights_ward import drafted, fill, patient
from tests.stores import Clock, put

ANN = Key("Patient", "ann")
SIGNER = signer(new_private_jwk())
CLOCK = Clock()
AUDIT = AuditTrail(DOCTOR, CLOCK, new_id, BASE)
FULL = "Patient?family=Quartey-Boateng&birthdate=1990-05-01&_count=5"
PART = "Observation?subject:Patient.name%3Aexact=quartey"
OTHER = "Patient?name=Mensah"
Json = dict[str, Any]


def noted(key: Key, version: int | None) -> bytes:
    return AUDIT.entry(interaction="redact", outcome="success", status=200, key=key)


ORDERED = Ordered(ANN, "patient-request", noted, CLOCK)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "medsage.sqlite")
    await fill(opened)
    for query in (FULL, PART, OTHER):
        entry = AUDIT.entry(interaction="search-type", outcome="success", status=200, query=query)
        await opened.note(entry)
    yield opened
    await opened.close()


def trail(store: SqliteStore) -> Trail:
    return Trail(store, extract(), CLOCK, Sealer(store, extract(), SIGNER, CLOCK))


async def lines(store: SqliteStore) -> list[bytes]:
    return [line async for line in export(store, SIGNER, CLOCK)]


async def events(store: SqliteStore) -> list[Json]:
    page = await store.find(Query("AuditEvent", limit=100))
    return [parse(each.body) for each in page.matches]


async def quoted(store: SqliteStore) -> set[str]:
    return {query for event in await events(store) for query in queries(event)}


async def test_what_named_the_patient_is_taken_out_and_the_chain_holds(store: SqliteStore) -> None:
    names = await names_of(store, await extent_of(store, extract(), ANN))
    assert await take_out(trail(store), names, ORDERED) == 2
    assert await quoted(store) == {
        "Patient?family=(erased)&birthdate=(erased)&_count=5",
        "Observation?subject:Patient.name%3Aexact=(erased)",
        OTHER,
    }
    report = verify(await lines(store))
    assert (report.findings, report.redacted) == ((), 2)
    told = [each for each in await events(store) if each["subtype"][0]["code"] == "redact"]
    assert len(told) == 2
    assert await take_out(trail(store), names, ORDERED) == 0


async def test_nothing_of_the_search_is_left_in_the_file(
    store: SqliteStore, tmp_path: Path
) -> None:
    sealed = trail(store)
    await sealed.seal_all()
    names = await names_of(store, await extent_of(store, extract(), ANN))
    await take_out(sealed, names, ORDERED)
    await store.sealing.sweep()
    held = b"".join(path.read_bytes() for path in tmp_path.glob("medsage.sqlite*"))
    for query in (FULL, PART):
        assert base64.b64encode(query.encode()) not in held
        assert query.encode() not in held


async def test_what_is_taken_out_in_silence_or_altered_is_found(store: SqliteStore) -> None:
    await trail(store).seal_all()
    whole = await lines(store)
    assert verify(whole).findings == ()
    place = next(n for n, line in enumerate(whole) if b'"query"' in line)
    event = json.loads(whole[place])
    entity = event["entity"][0]
    assert base64.b64decode(entity["query"]).decode() == FULL

    def altered(**changes: Any) -> list[str]:
        changed = {**event, "entity": [{**entity, **changes}, *event["entity"][1:]]}
        found = verify([*whole[:place], json.dumps(changed).encode(), *whole[place + 1 :]])
        return [each.text for each in found.findings]

    text = base64.b64encode(b"Patient?name=somebody").decode()
    assert "is not what was sealed" in altered(query=text)[0]
    unsalted = [each for each in entity["detail"] if each["type"] != "query-salt"]
    assert "no sealed record says so" in altered(query=text, detail=unsalted)[0]
    assert "is not what was sealed" in altered(detail=[])[0]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("Patient?name=quart", "Patient?name=(erased)"),
        ("Patient?identifier=urn:x%7CQ-77", "Patient?identifier=(erased)"),
        ("Patient?name=Mensah,Quartey", "Patient?name=(erased)"),
        ("Patient?name=quartey-boateng?", "Patient?name=(erased)"),
        ("Patient?email=ann+1@post.example", "Patient?email=(erased)"),
        ("Patient?name=Quartey-Boateng & Sons&_count=5", "Patient?name=(erased)&_count=5"),
        ("Patient?name=quart&_count=5?", "Patient?name=(erased)&_count=5?"),
        (
            "Observation?patient:identifier=urn:x|Q-77",
            "Observation?patient:identifier=(erased)",
        ),
        ("Patient?_has:Observation:patient:code=quartey", None),
        ("Patient?family=Quarshie", None),
        ("Patient?birthdate=1990-05-01", None),
        ("Observation?patient=Patient/ann&code=quartey", None),
    ],
)
def test_only_values_that_name_the_patient_go(query: str, left: str | None) -> None:
    names = Names(frozenset({"quartey-boateng", "q-77", "ann+1@post.example"}))
    assert names.redact(query) == (left or query)


def test_a_day_that_is_theirs_alone_goes_beside_a_name_that_others_bear() -> None:
    names = Names(frozenset({"q-77"}), frozenset({"1990-05-01"}))
    left = "Patient?family=Mensah&birthdate=(erased)&gender=female"
    assert names.redact("Patient?family=Mensah&birthdate=eq1990-05-01&gender=female") == left
    for query in ("Patient?family=Mensah&birthdate=1990-05-02", "Patient?birthdate=1990"):
        assert names.redact(query) == query


async def test_the_day_that_another_was_born_on_stays(store: SqliteStore) -> None:
    born = {"ann": ("1990-05-01", "2026-01-02T10:00:00Z"), "bo": ("1990-05-01", None)}
    for id, (day, end) in born.items():
        made = patient(id, "Mensah-Ofori") | {"birthDate": day}
        await put(store, drafted(made | ({"deceasedDateTime": end} if end else {}), 2))
    names = await names_of(store, await extent_of(store, extract(), ANN))
    assert names.days == {"2026-01-02"}
