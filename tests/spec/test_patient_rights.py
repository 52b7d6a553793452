"""`medsage patient`: the record handed over, or erased from the store's files (GDPR articles 15, 17
and 20)."""

import asyncio
import base64
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.commands.operating import account
from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.codec import instant
from fhir_server.fhir.recalls import OPERATORS
from fhir_server.rest.jobs import JOB, PIECE
from fhir_server.rights.ending import Ending, end
from fhir_server.rights.erasure import Ordered, erase
from fhir_server.rights.retention import read_policy
from fhir_server.search.expression import Query
from fhir_server.storage.port import Key, Past, Record, ResourceStore, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id
from tests.audit_world import BASE, DOCTOR
from tests.fhir_world import extract
from tests.rights_ward import BO, FORMER, LETTER, SECRET, drafted, fill, patient
from tests.stores import START, put

Json = dict[str, Any]
SEARCH = "Patient?family=quartey-boateng&_count=7"


async def ward(folder: Path) -> None:
    store = SqliteStore.open(folder / "medsage.sqlite")
    await fill(store)
    trail = AuditTrail(DOCTOR, lambda: START, new_id, BASE)
    entry = trail.entry(interaction="search-type", outcome="success", status=200, query=SEARCH)
    await store.note(entry)
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with Ann's record, Bo's, and what they share."""
    asyncio.run(ward(tmp_path))
    return tmp_path


def medsage(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        app, ["patient", *words], env={"MEDSAGE_DATA": str(folder), "MEDSAGE_LOG_LEVEL": "error"}
    )
    return result.exit_code, result.output


def erased(folder: Path, *options: str) -> Json:
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request", "--json", *options)
    assert code == 0, said
    found: Json = json.loads(said)
    return found


def held(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("medsage.sqlite*"))


async def stored(folder: Path) -> dict[str, list[bool]]:
    store: ResourceStore = SqliteStore.open(folder / "medsage.sqlite")
    versions = (await store.history(Past(limit=1000))).versions
    await store.close()
    found: dict[str, list[bool]] = {}
    for each in versions:
        found.setdefault(str(each.key), []).append(each.is_deleted)
    return found


def test_nothing_of_the_patient_is_left_in_the_files(folder: Path) -> None:
    before = held(folder)
    words = [SECRET, FORMER, "Quartey-Boateng", "quartey-boateng", "Deleted long ago"]
    assert all(word.encode() in before for word in words)
    assert base64.b64encode(LETTER) in before
    found = erased(folder)
    after = held(folder)
    assert not [word for word in words if word.encode() in after]
    assert base64.b64encode(LETTER) not in after
    assert base64.b64encode(SEARCH.encode()) not in after
    left = base64.b64encode(b"Patient?family=(erased)&_count=7")
    assert left in after
    assert (found["left_over"], found["in_audit_records"]) == (0, 0)
    assert found["searches_taken_out"] == 1
    assert found["looked_for"] >= len(words) - 1


async def order_an_analysis(folder: Path) -> None:
    """As the server does: the write says its moment, the audit trail says it too and names the Task
    by its id."""
    store = SqliteStore.open(folder / "medsage.sqlite")
    key = Key("Task", "0d7b4c6e-order-of-ann")
    task = {
        "resourceType": "Task",
        "id": key.id,
        "meta": {"lastUpdated": instant(START)},
        "identifier": [{"value": key.id}],
        "status": "requested",
        "authoredOn": instant(START + timedelta(milliseconds=1)),
        "intent": "order",
        "for": {"reference": "Patient/ann"},
    }
    await put(store, drafted(task, 1))
    for milliseconds in range(2):
        moment = START + timedelta(milliseconds=milliseconds)
        trail = AuditTrail(DOCTOR, lambda moment=moment: moment, new_id, BASE)
        entry = trail.entry(interaction="create", outcome="success", status=201, key=key, version=1)
        await store.note(entry)
    await store.close()


def test_what_the_audit_trail_says_of_each_write_is_no_trace_of_the_patient(folder: Path) -> None:
    asyncio.run(order_an_analysis(folder))
    found = erased(folder)
    assert found["erased"] == 6
    assert (found["left_over"], found["in_audit_records"]) == (0, 0)


def test_only_deletions_remain_of_what_was_theirs_alone(folder: Path) -> None:
    found = erased(folder)
    assert found["erased"] == 5
    assert found["former_versions_of"] == 1
    now = asyncio.run(stored(folder))
    for name in ("Patient/ann", "Observation/o", "Observation/gone", "Binary/letter"):
        assert now[name] == [True], name
    assert now["Provenance/of-o"] == [True]
    assert now["Observation/moved"] == [False]


def test_what_is_of_others_stays_and_is_named(folder: Path) -> None:
    found = erased(folder)
    assert found["shared_with_others"] == ["Appointment/both"]
    now = asyncio.run(stored(folder))
    for name in (
        "Patient/annex",
        BO,
        "Observation/other",
        "Appointment/both",
        "Provenance/of-both",
    ):
        assert now[name] == [False], name


def test_the_audit_trail_tells_who_erased_what_and_why_not_its_content(folder: Path) -> None:
    erased(folder)

    async def read() -> list[Json]:
        store = SqliteStore.open(folder / "medsage.sqlite")
        page = await store.find(Query("AuditEvent", limit=100))
        entries = [json.loads(each.body) for each in page.matches]
        record = await store.record("erasure", "ann")
        await store.close()
        assert record is not None
        assert record.value["reason"] == "patient-request"
        return entries

    events = asyncio.run(read())
    by_us = {"system": OPERATORS, "value": account()}
    events = [each for each in events if by_us == each["agent"][-1]["who"].get("identifier")]
    assert {each["subtype"][0]["code"] for each in events} == {"erase", "redact"}
    entities = [entity for each in events for entity in each["entity"]]
    named = {entity["what"]["reference"] for entity in entities}
    assert named >= {"Patient/ann", "Observation/o", "Binary/letter"}


def test_a_dry_run_names_all_and_erases_nothing(folder: Path) -> None:
    before = asyncio.run(stored(folder))
    found = erased(folder, "--dry-run")
    assert found["erased"] == 5
    assert asyncio.run(stored(folder)) == before


def test_other_records_of_the_same_person_are_named(folder: Path, tmp_path: Path) -> None:
    async def merged() -> None:
        store = SqliteStore.open(folder / "medsage.sqlite")
        for number, (id, other) in enumerate((("ann", "annex"), ("bo", "ann"))):
            link = [{"other": {"reference": f"Patient/{other}"}, "type": "seealso"}]
            await put(store, drafted(patient(id, f"Quartey-{number}") | {"link": link}, 2))
        await store.close()

    asyncio.run(merged())
    said = medsage(folder, "export", "ann", "--to", str(tmp_path / "ann.zip"))[1]
    assert "not in this: Patient/annex, Patient/bo" in said
    assert erased(folder, "--dry-run")["linked_patients"] == ["Patient/annex", "Patient/bo"]


def test_what_names_what_goes_and_not_the_patient_is_named(folder: Path) -> None:
    async def asked_about() -> None:
        store = SqliteStore.open(folder / "medsage.sqlite")
        focus = {"focus": {"reference": "https://fhir.example/fhir/Observation/o/_history/1"}}
        task = {"resourceType": "Task", "id": "look", "status": "requested", "intent": "order"}
        await put(store, drafted({**task, **focus, "description": SECRET}, 1))
        await store.close()

    asyncio.run(asked_about())
    assert erased(folder, "--dry-run")["naming_what_goes"] == ["Task/look"]
    assert erased(folder)["naming_what_goes"] == ["Task/look"]


def test_a_second_erasure_finds_nothing(folder: Path) -> None:
    erased(folder)
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request")
    assert code == 1
    assert "nothing is held about Patient/ann" in said


def test_an_erasure_that_was_cut_off_is_ended_by_another(folder: Path) -> None:
    async def answer(transaction: Transaction) -> None:
        text = f'{{"subject":{{"reference":"Patient/ann"}},"note":[{{"text":"{SECRET}"}}]}}'
        await transaction.put_record(Record(JOB, "j", {"out": 1}))
        await transaction.put_record(Record(PIECE, "j/out/0000", {"text": text}))

    async def cut_off() -> None:
        store = SqliteStore.open(folder / "medsage.sqlite")
        await store.transaction(answer)
        key = Key("Patient", "ann")
        ordered = Ordered(key, "legal-order", lambda key, version: b"{}", lambda: START)
        await erase(store, extract(), ordered)
        await store.close()

    asyncio.run(cut_off())
    assert SECRET.encode() in held(folder)
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request")
    assert (code, "nothing is held" in said) == (1, True)
    assert SECRET.encode() not in held(folder)


def test_an_unknown_reason_is_refused(folder: Path) -> None:
    code, said = medsage(folder, "erase", "ann", "--reason", "because")
    assert code == 2
    assert "patient-request" in said


def test_a_legal_hold_forbids_it_until_released(folder: Path) -> None:
    assert medsage(folder, "hold", "ann", "--reason", "court order")[0] == 0
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request")
    assert code == 1
    assert "legal hold on Patient/ann: court order" in said
    assert SECRET.encode() in held(folder)
    assert medsage(folder, "release", "ann")[0] == 0
    assert medsage(folder, "release", "ann")[0] == 1
    assert erased(folder)["left_over"] == 0


def test_a_hold_on_nobody_is_refused(folder: Path) -> None:
    code, said = medsage(folder, "hold", "anna", "--reason", "court order")
    assert (code, said) == (1, "medsage: nothing is held about Patient/anna\n")


def test_a_restriction_is_put_on_listed_audited_and_lifted(folder: Path) -> None:
    code, said = medsage(folder, "restrict", "ann", "--reason", "pending")
    assert (code, "accuracy-contested" in said) == (2, True)
    allowed = ("--allow", "user:dr.amina", "--allow", "Practitioner/p")
    code, said = medsage(folder, "restrict", "ann", "--reason", "legal-claims", *allowed)
    assert (code, said) == (
        0,
        "Patient/ann is restricted: kept, and used by user dr.amina, Practitioner/p\n",
    )
    listed = medsage(folder, "restrictions")[1]
    assert listed.startswith("Patient/ann: legal-claims, since 2")
    assert listed.endswith(", used by user dr.amina, Practitioner/p\n")
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request", "--dry-run")
    assert (code, "processing is restricted of Patient/ann" in said) == (1, True)
    assert medsage(folder, "unrestrict", "ann")[0] == 0
    assert medsage(folder, "unrestrict", "ann")[0] == 1
    assert medsage(folder, "restrict", "nobody", "--reason", "unlawful")[0] == 1
    told = asyncio.run(audited(folder))
    assert [each["interaction"] for each in told] == ["search-type", "restrict", "unrestrict"]
    assert told[1]["detail"].startswith("legal-claims: ")
    assert told[1]["detail"].endswith("; used by user dr.amina, Practitioner/p")


async def audited(folder: Path) -> list[Json]:
    store = SqliteStore.open(folder / "medsage.sqlite")
    entries = [json.loads(each.entry) for each in await store.journal(1000)]
    await store.close()
    return entries


def test_what_is_left_over_fails_the_erasure(folder: Path) -> None:
    (folder / "medsage.sqlite-copy").write_text(f"somebody kept this: {SECRET}")
    code, said = medsage(folder, "erase", "ann", "--reason", "patient-request", "--json")
    assert code == 1
    assert json.loads(said)["left_over"] == 1


def test_the_whole_record_is_handed_over(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "record.zip"
    code, said = medsage(folder, "export", "Patient/ann", "--to", str(target))
    assert code == 0, said
    with zipfile.ZipFile(target) as archive:
        bundle = json.loads(archive.read("record.json"))
        page = archive.read("record.html").decode()
        assert archive.read("files/Binary-letter-1.txt") == LETTER
        assert json.loads(archive.read("access.json"))["type"] == "collection"
        changes = json.loads(archive.read("changes.json"))
        changed = archive.read("changes.html").decode()
    names = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle["entry"]}
    assert names == {"Patient/ann", "Observation/o", "Binary/letter", "Provenance/of-o"}
    assert "grandmother&#x27;s remedy" in page
    assert FORMER not in page
    corrected = next(each for each in changes if each["changes"])
    place = {"path": "Observation.note[0].text", "before": FORMER, "after": SECRET}
    assert (corrected["resource"], corrected["how"]) == ("Observation/o", "changed")
    assert corrected["changes"] == [place]
    assert FORMER in changed
    assert "by unknown" in changed
    code, said = medsage(folder, "export", "ann", "--to", str(target))
    assert code == 1


def test_nobody_is_no_record(folder: Path, tmp_path: Path) -> None:
    code, said = medsage(folder, "export", "nobody", "--to", str(tmp_path / "x.zip"))
    assert code == 1
    assert "there is no Patient/nobody" in said
    assert not (tmp_path / "x.zip").exists()


def policy(folder: Path, text: str) -> str:
    path = folder / "retention.toml"
    path.write_text(text)
    return str(path)


def test_what_has_reached_its_age_is_erased(folder: Path) -> None:
    ages = policy(folder, "Observation = 36500\nAppointment = 36500\n")
    code, said = medsage(folder, "retain", "--policy", ages, "--dry-run")
    assert (code, said) == (0, "nothing is due\n")
    later = asyncio.run(retained(folder, days=2))
    # The Provenance of what went goes with it; that of an Appointment that stays does not.
    assert later == {"Observation": 3, "Provenance": 1}
    now = asyncio.run(stored(folder))
    assert now["Observation/o"] == [True]
    assert now["Appointment/both"] == now["Patient/ann"] == [False]


def test_a_legal_hold_outlasts_the_age(folder: Path) -> None:
    medsage(folder, "hold", "ann", "--reason", "court order")
    # What is Bo's now and was once told of Ann stays too.
    assert asyncio.run(retained(folder, days=2))["Observation"] == 1
    assert asyncio.run(stored(folder))["Observation/o"] == [False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Observations = 3", "Observations is not a resource type of R4"),
        ("AuditEvent = 3", "AuditEvent can't be erased by age: the chain of the audit trail"),
        ("Device = 3", "Device can't be erased by age: the registry of model versions stands on"),
        ("Provenance = 3", "Provenance can't be erased by age: it says who made what remains"),
        ("Consent = 3", "Consent can't be erased by age: what it denies would be shown again"),
        ("SearchParameter = 3", "SearchParameter can't be erased by age: searches stand on it"),
        ("ValueSet = 3", "ValueSet can't be erased by age: others stand on it"),
        ("Observation = 0", "a whole number of days above 0"),
        ("Observation = '3'", "a whole number of days above 0"),
        ("", "it names no type"),
        ("Observation 3", "not TOML"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(tmp_path: Path, text: str, said: str) -> None:
    code, output = medsage(tmp_path, "retain", "--policy", policy(tmp_path, text))
    assert code == 2
    assert said in output


async def retained(folder: Path, days: int) -> dict[str, int]:
    """What a run of retention erases so many days after the ward was written."""
    store = SqliteStore.open(folder / "medsage.sqlite")
    ages = read_policy("Observation = 1")
    now = START + timedelta(days=days)
    ending = Ending(ages, lambda: now, lambda key, version: b"{}")
    found = await end(store, extract(), ending)
    await store.close()
    return found.counts()
