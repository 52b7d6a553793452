"""Retention counts what it would end, and leaves what others stand on (GDPR article 5(1)(e))."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.commands.patient_keeping import counted, lines
from fhir_server.fhir.codec import encode
from fhir_server.rights.ending import Ending, end
from fhir_server.rights.retention import Due, due, read_policy
from fhir_server.security.restrictions import Restriction, restrict
from fhir_server.storage.port import Draft, Key, Stored
from fhir_server.storage.sqlite.store import SqliteStore
from tests.fhir_world import extract
from tests.rights_ward import BO, appointment, drafted, fill, patient, provenance
from tests.stores import START, put

POLICY = read_policy("Observation = 1\nPatient = 1\nDocumentReference = 1\nProcedure = 1")
LATER = START + timedelta(days=41)
CARD = {
    "resourceType": "DocumentReference",
    "id": "card",
    "status": "current",
    "content": [{"attachment": {"title": "Model card"}}],
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "medsage.sqlite")
    await fill(opened)
    await put(opened, drafted(CARD, 1))
    yield opened
    await opened.close()


async def found(store: SqliteStore) -> Due:
    return await due(store, extract(), POLICY, LATER)


async def test_what_is_due_is_counted_by_type_and_age(store: SqliteStore) -> None:
    told: list[tuple[str, int, int | None]] = []
    seen = await due(store, extract(), POLICY, LATER, lambda *each: told.append(each))
    assert seen.counts() == {"Observation": 3, "Patient": 1, "Provenance": 1}
    assert seen.ages == {("Observation", 365): 3, ("Patient", 365): 1}
    assert told[-1][0] == "looked at"
    assert lines(seen) == [
        "Observation: 3 (3 overdue by less than 365 days)",
        "Patient: 1 (1 overdue by less than 365 days)",
        "Provenance: 1",
        "DocumentReference: 1 kept, others stand on it",
        "Patient: 2 kept, others stand on it",
    ]
    assert counted(seen)["overdue"]["Observation"] == {"less than 365 days": 3}
    assert (await due(store, extract(), POLICY, START)).counts() == {}


async def test_a_patient_who_is_named_by_what_stays_and_what_is_about_nobody_stay(
    store: SqliteStore,
) -> None:
    seen = await found(store)
    assert Key("Patient", "annex") in seen.keys
    # Both have an Appointment, which the policy does not end; the card is about nobody.
    assert seen.needed == {"Patient": 2, "DocumentReference": 1}


REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "signed",
    "status": "final",
    "code": {"text": "History"},
    "subject": {"reference": BO},
    "result": [{"reference": "Observation/other"}],
    "presentedForm": [{"url": "https://fhir.example/fhir/Binary/letter"}],
}


async def test_how_much_of_what_is_due_is_named_by_what_stays_is_told(store: SqliteStore) -> None:
    await put(store, drafted(REPORT, 1), drafted(provenance("of-other", "Observation/o"), 1))
    policy = read_policy("Observation = 1\nBinary = 1")
    seen = await due(store, extract(), policy, LATER)
    assert seen.counts()["Observation"] == 3
    assert counted(seen)["still_named"] == {"Binary": 1, "Observation": 1}
    assert "Observation: 1 of these still named by what stays" in lines(seen)
    wider = read_policy("Observation = 1\nBinary = 1\nDiagnosticReport = 1")
    assert (await due(store, extract(), wider, LATER)).still_named == {}
    ended = await end(store, extract(), Ending(policy, lambda: LATER, lambda *_: b"{}"))
    assert ended.counts()["Observation"] == 3
    assert ended.still_named == {"Binary": 1, "Observation": 1}


async def test_what_a_patient_who_is_kept_names_is_still_named(store: SqliteStore) -> None:
    picture = {"photo": [{"url": "Binary/letter"}]}
    await put(store, drafted(patient("ann", "Quartey-Boateng") | picture, 2))
    seen = await due(store, extract(), read_policy("Patient = 1\nBinary = 1"), LATER)
    assert seen.still_named == {"Binary": 1}


class Late:
    """The store, in which Bo's record is restricted just before the first unit."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._is_first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transaction(self, unit: Any) -> Any:
        """The unit, after the restriction."""
        if self._is_first:
            made = Restriction("bo", "legal-claims", "2026-11-24T08:00:00Z")
            await self._store.transaction(lambda each: restrict(each, made))
            self._is_first = False
        return await self._store.transaction(unit)


async def test_what_is_restricted_outlasts_its_age_even_when_that_comes_meanwhile(
    store: SqliteStore,
) -> None:
    assert (await found(store)).held == {}
    ending = Ending(POLICY, lambda: LATER, lambda key, version: b"{}")
    late: Any = Late(store)
    await end(late, extract(), ending)
    gone = {}
    for id in ("o", "other", "moved"):
        current = await store.get(Key("Observation", id))
        gone[id] = current is not None and current.is_deleted
    assert gone == {"o": True, "other": False, "moved": False}
    assert (await found(store)).held == {"Observation": 2, "Patient": 1}


async def test_a_patient_whom_what_stays_names_with_an_escape_stays(store: SqliteStore) -> None:
    key = Key("Appointment", "escaped")
    resource = appointment("escaped", "Patient/annex")
    body = encode(resource).replace(b"Patient/", b"Patient\\/")
    await put(store, Draft(Stored(key, 1, START, body, "PUT"), extract()(resource)))
    assert Key("Patient", "annex") not in (await found(store)).keys
