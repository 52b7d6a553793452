"""The law: a guarded search answers as if the hidden resources did not exist.

Random wards, scopes and searches; what is hidden is decided by plain Python on the JSON, which
knows no terms and no expressions. Planted leaks show that the test would notice.
"""

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.search.expression import Expression, Query
from fhir_server.security import judge
from fhir_server.security.visibility import guarded
from fhir_server.storage.port import Key
from tests.guard_world import Resource, found, guard, opened, query

RECORDS = ("Encounter", "Observation", "Media", "Task", "DocumentReference")
SEARCHES_PER_WARD = 60
PATIENTS = ("x", "y", "z")
SCOPES = (
    "patient/*.rs",
    "patient/*.r patient/Observation.s patient/Encounter.s",
    "patient/Observation.rs patient/Patient.rs",
    "patient/*.rs user/Patient.rs",
    "patient/Observation.rs?status=final patient/Patient.rs patient/Encounter.rs",
    "user/Observation.rs patient/Patient.rs patient/Binary.rs patient/Provenance.rs",
    "user/*.rs?_tag=shared",
    "user/Encounter.rs",
)


def ward(chance: random.Random) -> list[Resource]:
    """A few patients with records that refer to each other across patients."""
    made: list[Resource] = [
        {
            "resourceType": "Patient",
            "id": id_,
            "name": [{"family": chance.choice(["Mensah", "Okafor"])}],
            "generalPractitioner": [{"reference": "Practitioner/amina"}],
        }
        for id_ in PATIENTS
    ]
    if chance.random() < 0.3:
        made[1]["link"] = [{"other": {"reference": "Patient/x"}, "type": "seealso"}]
    made.append({"resourceType": "Practitioner", "id": "amina", "name": [{"family": "Diallo"}]})
    made += [record(chance, number) for number in range(chance.randint(4, 14))]
    for each in made:
        if chance.random() < 0.5:
            each["meta"] = {"tag": [{"code": "shared"}]}
    return made


def record(chance: random.Random, number: int) -> Resource:
    type_ = chance.choice([*RECORDS, "Observation", "Encounter", "Binary", "Provenance", "Device"])
    resource: Resource = {"resourceType": type_, "id": f"r{number}"}
    patient = {"reference": f"Patient/{chance.choice(PATIENTS)}"}
    earlier = {"reference": f"{chance.choice(RECORDS)}/r{chance.randrange(14)}"}
    match type_:
        case "Observation":
            resource["status"] = chance.choice(["final", "preliminary"])
            resource["subject"] = patient
            resource["encounter"] = {"reference": f"Encounter/r{chance.randrange(14)}"}
            resource["effectiveDateTime"] = f"2026-0{chance.randint(1, 9)}-01"
            if chance.random() < 0.3:
                resource["performer"] = [{"reference": f"Patient/{chance.choice(PATIENTS)}"}]
        case "Task":
            resource["for"] = patient
            resource["focus"] = earlier
        case "Binary":
            if chance.random() < 0.9:
                resource["securityContext"] = chance.choice([patient, earlier])
        case "Provenance":
            resource["target"] = [earlier, chance.choice([patient, earlier])]
        case "Device":
            if chance.random() < 0.6:
                resource["patient"] = patient
        case "DocumentReference":
            resource["subject"] = chance.choice([patient, {"reference": "Device/r1"}])
        case _:
            resource["subject"] = patient
    return resource


def search(chance: random.Random) -> str:
    """A search with hops, as text."""
    id_, person = f"r{chance.randrange(14)}", chance.choice(PATIENTS)
    templates = [
        "Patient", "Observation", "Encounter", "Binary", "Provenance", "Device", "Task",
        "DocumentReference", "Media", "Practitioner",
        f"Patient?_id={person}",
        f"Observation?subject=Patient/{person}",
        "Observation?subject:Patient.name=mensah",
        f"Observation?encounter:Encounter.subject=Patient/{person}",
        f"Observation?encounter:Encounter._id={id_}",
        "Observation?encounter:Encounter.subject:Patient.name=okafor",
        "Observation?subject:Patient.general-practitioner:Practitioner.name=diallo",
        "Patient?_has:Observation:subject:status=final",
        "Patient?_has:Encounter:subject:_has:Observation:encounter:status=final",
        f"Encounter?_has:Observation:encounter:_id={id_}",
        f"Encounter?_has:Observation:encounter:subject=Patient/{person}",
        "Practitioner?_has:Patient:general-practitioner:name=mensah",
        "Practitioner?_has:Patient:general-practitioner:_has:Observation:subject:status=final",
        "Observation?_sort=-date", "Observation?_sort=date,_id&status=final",
        "Observation?status:not=final",
        f"Task?focus=Observation/{id_}",
        "Task?focus:Observation.subject:Patient.name=mensah",
        f"Provenance?target=Observation/{id_}",
        "Provenance?target:Observation.status=final",
        f"Patient?link:Patient._id={person}",
    ]  # fmt: skip
    return chance.choice(templates)


def names(resource: Resource, *fields: str) -> list[str]:
    """The references in these fields, by plain look-up."""
    values = [resource.get(field) for field in fields]
    listed = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return [each["reference"] for each in listed if each]


def belongs(resource: Resource, scopes: str, everything: dict[str, Resource]) -> bool:
    """Whether a patient scope of patient x reaches the resource: the rules in words."""
    own = "Patient/x"
    match resource["resourceType"]:
        case "Patient":
            links = [each["other"]["reference"] for each in resource.get("link", ())]
            return resource["id"] == "x" or own in links
        case "Observation":
            return own in names(resource, "subject", "performer")
        case "Practitioner":
            return True
        case "Task":
            return own in names(resource, "for")
        case "Device":
            return names(resource, "patient") in ([], [own])
        case "DocumentReference":
            return names(resource, "subject")[0].startswith(("Device/", "Patient/x"))
        case "Binary" | "Provenance":
            targets = names(resource, "securityContext", "target")
            return own in targets or any(
                is_reached(everything[each], "r", scopes, everything)
                for each in targets
                if each in everything and not each.startswith("Patient/")
            )
        case _:
            return own in names(resource, "subject")


def is_reached(
    resource: Resource, action: str, scopes: str, everything: dict[str, Resource]
) -> bool:
    """Whether some scope lets the caller do this with the resource."""
    for scope in scopes.split():
        level, _, rest = scope.partition("/")
        wanted, _, condition = rest.partition("?")
        type_, _, actions = wanted.partition(".")
        if type_ not in ("*", resource["resourceType"]) or action not in actions:
            continue
        if condition == "status=final" and resource.get("status") != "final":
            continue
        if condition == "_tag=shared" and not resource.get("meta"):
            continue
        if level == "user" or belongs(resource, scopes, everything):
            return True
    return False


async def differences(seed: int, folder: Path) -> list[str]:
    """Searches of one random ward that answer differently from a store without the hidden."""
    chance = random.Random(seed)
    resources = ward(chance)
    scopes = chance.choice(SCOPES)
    everything = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    visible = [each for each in resources if is_reached(each, "s", scopes, everything)]
    full = await opened(folder / "full.db", resources)
    lacking = await opened(folder / "lacking.db", visible)
    view = guard(full, scopes)
    wrong: list[str] = []
    try:
        for _ in range(SEARCHES_PER_WARD):
            text, limit = search(chance), chance.choice([1, 2, 50])
            asked = query(text, limit)
            expected = await found(lacking, asked)
            if await found(view, asked) != expected or await view.count(asked) != len(expected):
                wrong.append(f"seed {seed}: {scopes}: {text}")
        wrong += await _reads_that_differ(view, everything, scopes)
    finally:
        await full.close()
        await lacking.close()
    return wrong


async def _reads_that_differ(view: Any, everything: dict[str, Resource], scopes: str) -> list[str]:
    wrong = []
    for name, resource in everything.items():
        key = Key(resource["resourceType"], resource["id"])
        for version in (None, 1):
            is_read = await view.get(key, version) is not None
            if is_read != is_reached(resource, "r", scopes, everything):
                wrong.append(f"read {name} version {version}: {scopes}")
    return wrong


def run(seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(differences(seed, Path(folder)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_guarded_search_answers_as_if_the_hidden_did_not_exist(seed: int) -> None:
    assert run(seed) == []


def _unguarded_hops(expression: Expression, view: object) -> Expression:
    return expression


def _unguarded_reverse_hops(expression: Expression, view: Any) -> Expression:
    from fhir_server.search.expression import EVERYTHING

    is_reverse = "LinkedFrom" in repr(expression)
    return guarded(expression, (lambda _: EVERYTHING) if is_reverse else view)


@pytest.mark.parametrize("leak", [_unguarded_hops, _unguarded_reverse_hops])
def test_a_leak_planted_in_a_hop_is_caught(leak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "guarded", leak)
    assert any(run(seed) for seed in range(12))


def test_a_leak_planted_in_the_filter_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfiltered(self: judge.Judge, asked: Query) -> Query:
        return asked

    monkeypatch.setattr(judge.Judge, "narrowed", unfiltered)
    assert any(run(seed) for seed in range(3))


def test_the_wards_do_hide_something_and_the_searches_do_find_something() -> None:
    chance = random.Random(1)
    resources = ward(chance)
    everything = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    hidden = [each for each in resources if not is_reached(each, "s", SCOPES[0], everything)]
    assert 0 < len(hidden) < len(resources)
