"""R4 Search, "Including other resources in result": `_include`, `_revinclude`, `:iterate`."""

from typing import Any

import httpx
import pytest

from tests.fhir_world import World, observation, text_of


def subject(reference: str) -> dict[str, Any]:
    return {"reference": reference}


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "top", "name": "Top"},
    {
        "resourceType": "Organization",
        "id": "org",
        "name": "Clinic",
        "partOf": subject("Organization/top"),
    },
    {"resourceType": "Patient", "id": "p1", "managingOrganization": subject("Organization/org")},
    {"resourceType": "Patient", "id": "p2"},
    {"resourceType": "Group", "id": "g1", "type": "person", "actual": True},
    observation(id="o1", subject=subject("Patient/p1")),
    observation(id="o2", subject=subject("Patient/p1/_history/1")),
    observation(id="o3", subject=subject("Patient/p2")),
    observation(id="o4", subject=subject("Group/g1")),
    observation(id="o5", subject=subject("http://other.example/Patient/p1")),
    observation(id="o6", subject=subject("Patient/p1"), derivedFrom=[subject("Observation/o1")]),
]


@pytest.fixture
async def filled(world: World) -> World:
    for resource in RESOURCES:
        response = await world.put(f"/{resource['resourceType']}/{resource['id']}", resource)
        assert response.status_code == 201, response.text
    return world


def entries(response: httpx.Response) -> tuple[list[str], list[str]]:
    """The matches and the included resources, as references."""
    assert response.status_code == 200, response.text
    found: dict[str, list[str]] = {"match": [], "include": []}
    for entry in response.json().get("entry", []):
        resource = entry["resource"]
        found[entry["search"]["mode"]].append(f"{resource['resourceType']}/{resource['id']}")
    return found["match"], sorted(found["include"])


CASES = [
    ("Observation?_id=o1&_include=Observation:patient", ["Patient/p1"]),
    ("Observation?_id=o2&_include=Observation:subject", ["Patient/p1"]),
    ("Observation?_id=o1,o2,o3&_include=Observation:subject", ["Patient/p1", "Patient/p2"]),
    ("Observation?_id=o4&_include=Observation:patient", []),
    ("Observation?_id=o4&_include=Observation:subject", ["Group/g1"]),
    ("Observation?_id=o1,o4&_include=Observation:subject:Group", ["Group/g1"]),
    ("Observation?_id=o5&_include=Observation:subject", []),
    ("Observation?_id=o1,o6&_include=Observation:derived-from", []),
    ("Observation?_id=o6&_include=*", ["Observation/o1", "Patient/p1"]),
    ("Observation?_id=o6&_include=Observation:*", ["Observation/o1", "Patient/p1"]),
    (
        "Observation?_id=o1&_include=Observation:patient"
        "&_include:iterate=Patient:organization&_include:iterate=Organization:partof",
        ["Organization/org", "Organization/top", "Patient/p1"],
    ),
    (
        "Observation?_id=o1&_include=Observation:patient&_include:iterate=Patient:organization",
        ["Organization/org", "Patient/p1"],
    ),
    (
        "Patient?_id=p1&_revinclude=Observation:patient",
        ["Observation/o1", "Observation/o2", "Observation/o6"],
    ),
    ("Patient?_id=p2&_revinclude=Observation:subject", ["Observation/o3"]),
    ("Patient?_id=p2&_revinclude=Observation:subject:Group", []),
    ("Organization?_id=top&_revinclude=Organization:partof", ["Organization/org"]),
    (
        "Patient?_id=p1&_include=Patient:organization&_revinclude=Observation:patient",
        ["Observation/o1", "Observation/o2", "Observation/o6", "Organization/org"],
    ),
    ("Patient?_id=none&_revinclude=Observation:patient", []),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_includes(filled: World, query: str, expected: list[str]) -> None:
    matches, included = entries(await filled.get(f"/{query}"))
    assert included == expected
    assert not set(matches) & set(included), "nothing comes twice"


async def test_included_resources_do_not_count(filled: World) -> None:
    response = await filled.get(
        "/Observation?_sort=_id&_count=1&_total=accurate&_include=Observation:patient"
    )
    assert entries(response) == (["Observation/o1"], ["Patient/p1"])
    assert response.json()["total"] == 6


async def test_deleted_targets_are_left_out(filled: World) -> None:
    await filled.put("/Patient/p9", {"resourceType": "Patient", "id": "p9"})
    await filled.put("/Observation/o9", observation(id="o9", subject=subject("Patient/p9")))
    await filled.delete("/Patient/p9")
    assert entries(await filled.get("/Observation?_id=o9&_include=Observation:patient"))[1] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("_include=Observation", "Type:parameter"),
        ("_include=Observatoin:subject", "did you mean Observation"),
        ("_include=Observation:subjekt", "did you mean subject"),
        ("_include=Observation:code", "not a reference"),
        ("_include=Patient:organization", ":iterate"),
        ("_include=Observation:subject:Practitioner", "does not refer to Practitioner"),
        ("_include:recurse=Observation:subject", "no modifier"),
        ("_revinclude=Observation", "Type:parameter"),
        ("_include=", "no value"),
    ],
)
async def test_malformed_includes_are_refused_by_name(world: World, query: str, words: str) -> None:
    response = await world.get(f"/Observation?{query}")
    assert response.status_code == 400
    assert words in text_of(response)


async def test_advertised_includes_are_understood(world: World) -> None:
    statement = (await world.get("/metadata")).json()
    (resource,) = [each for each in statement["rest"][0]["resource"] if each["type"] == "Encounter"]
    for value in resource["searchInclude"]:
        assert (await world.get(f"/Encounter?_include={value}")).status_code == 200, value
    for value in resource["searchRevInclude"]:
        assert (await world.get(f"/Encounter?_revinclude={value}")).status_code == 200, value
