"""What `medsage patient` tells of the use of a record, and of what is left where nobody looks."""

import asyncio
import json
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.audit.journal import AuditTrail
from fhir_server.security.tenants import tenant_label
from fhir_server.storage.master_keys import read_master_keys
from fhir_server.storage.port import Draft, Key
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id, utc_now
from tests.audit_world import BASE, DOCTOR
from tests.rights_ward import drafted, fill, observation, patient
from tests.stores import START, put

Json = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with Ann's record, Bo's, and what they share."""

    async def ward() -> None:
        store = SqliteStore.open(tmp_path / "medsage.sqlite")
        await fill(store)
        await store.close()

    asyncio.run(ward())
    return tmp_path


def medsage(folder: Path, *words: str, **settings: str) -> str:
    env = {"MEDSAGE_DATA": str(folder), "MEDSAGE_LOG_LEVEL": "error", **settings}
    result = CliRunner().invoke(app, ["patient", *words], env=env)
    assert result.exit_code == 0, result.output
    return result.output


async def done(folder: Path, *reads: tuple[str, str | None]) -> None:
    """Reads that the journal holds and nobody has sealed: a resource, and the patient told."""
    store = SqliteStore.open(folder / "medsage.sqlite")
    trail = AuditTrail(DOCTOR, lambda: START, new_id, BASE)
    for reference, whose in reads:
        key = Key(*reference.split("/"))
        await store.note(
            trail.entry(interaction="read", outcome="success", status=200, key=key, patient=whose)
        )
    await store.close()


def test_who_used_a_record_is_told_whole_and_nothing_of_others(
    folder: Path, tmp_path: Path
) -> None:
    reads = (("Observation/o", "ann"), ("Binary/letter", None), ("Observation/other", "bo"))
    asyncio.run(done(folder, *reads))
    medsage(folder, "export", "ann", "--to", str(tmp_path / "record.zip"))
    with zipfile.ZipFile(tmp_path / "record.zip") as archive:
        events = [e["resource"] for e in json.loads(archive.read("access.json"))["entry"]]
    told = [each["entity"][0]["what"]["reference"] for each in events]
    assert sorted(told) == ["Binary/letter", "Observation/o"]


def test_what_the_operator_did_is_told_to_the_auditors_of_the_patients_tenant(
    folder: Path, tmp_path: Path
) -> None:
    label = tenant_label("north")
    ann = {**patient("ann", "Quartey-Boateng"), "meta": {"security": [label]}}
    asyncio.run(written(folder, drafted(ann, 2)))
    medsage(folder, "restrict", "ann", "--reason", "legal-claims")
    medsage(folder, "export", "ann", "--to", str(tmp_path / "record.zip"))
    with zipfile.ZipFile(tmp_path / "record.zip") as archive:
        (event,) = [e["resource"] for e in json.loads(archive.read("access.json"))["entry"]]
    assert label in event["meta"]["security"]


def test_on_an_encrypted_store_the_proof_says_what_its_files_can_show(tmp_path: Path) -> None:
    master, data = tmp_path / "master", tmp_path / "data"
    CliRunner().invoke(app, ["encryption", "new-master", str(master)])
    data.mkdir()

    async def ward() -> None:
        store = SqliteStore.open(data / "medsage.sqlite", masters=read_master_keys(master))
        await fill(store)
        await store.close()

    asyncio.run(ward())
    words = ("erase", "ann", "--reason", "patient-request")
    said = medsage(data, *words, MEDSAGE_ENCRYPTION_KEY_FILE=str(master))
    assert "(encrypted: there a search sees the index alone) and all that the store answers" in said
    assert "0 left over" in said


def test_content_that_nothing_has_and_what_was_written_after_an_erasure_is_listed(
    folder: Path,
) -> None:
    def content(id: str) -> Json:
        return {"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "eA=="}

    media = {"resourceType": "Media", "id": "m", "content": {"url": "Binary/had"}}
    made = (drafted(each, 1) for each in (content("orphan"), content("had"), media))
    asyncio.run(written(folder, *made))
    assert medsage(folder, "leftovers") == "content that nothing has: Binary/orphan\n"
    medsage(folder, "erase", "ann", "--reason", "patient-request")
    # What the erasure left, as two people's, was written before.
    assert json.loads(medsage(folder, "leftovers", "--json"))["written_since_erasure"] == {}
    later = drafted_later(observation("again", "Patient/ann", "Seen once more"))
    asyncio.run(written(folder, later))
    told = json.loads(medsage(folder, "leftovers", "--json"))
    assert told["written_since_erasure"] == {"Patient/ann": ["Observation/again"]}


def test_bundles_that_hold_copies_of_a_record_are_named(folder: Path, tmp_path: Path) -> None:
    def bundle(id: str, *inside: Json) -> Draft:
        entries = [{"fullUrl": "urn:uuid:1", "resource": each} for each in inside]
        made = {"resourceType": "Bundle", "id": id, "type": "collection", "entry": entries}
        return drafted(made, 1)

    ann = {**patient("ann", "Quartey-Boateng"), "identifier": [{"system": "urn:s", "value": "7"}]}
    elsewhere = {**ann, "id": "else"}
    nested = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": elsewhere}]}
    bundles = (
        bundle("by-id", observation("o", "urn:uuid:2", "Copied")),
        bundle("by-identifier", nested),
        bundle("of-bo", patient("bo", "Asante-Kwakye")),
    )
    asyncio.run(written(folder, drafted(ann, 2), *bundles))
    named = "Bundle/by-id, Bundle/by-identifier"
    said = medsage(folder, "export", "ann", "--to", str(tmp_path / "record.zip"))
    assert f"not in it, Bundles with copies of it: {named}\n" in said
    for options in (("--dry-run",), ()):
        said = medsage(folder, "erase", "ann", "--reason", "patient-request", *options)
        kept = "kept, Bundles with copies of what goes; a person must decide"
        assert f"{kept}: {named}\n" in said


def drafted_later(resource: Json) -> Draft:
    made = drafted(resource, 1)
    return replace(made, stored=replace(made.stored, updated=utc_now() + timedelta(days=1)))


async def written(folder: Path, *drafts: Draft) -> None:
    store = SqliteStore.open(folder / "medsage.sqlite")
    await put(store, *drafts)
    await store.close()
