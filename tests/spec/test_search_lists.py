"""R4 Search, "_list": what a List names, in one type, in several, and in all."""

import httpx
import pytest

from tests.fhir_world import PATIENT, World


@pytest.fixture
async def listed(world: World) -> World:
    """The List `l1` names a Patient and a Device; another Patient and another List are beside."""
    for type, id in (("Patient", "p1"), ("Patient", "p2"), ("Device", "d1")):
        body = PATIENT if type == "Patient" else {"resourceType": type}
        await world.put(f"/{type}/{id}", body | {"id": id})
    for id, names in (("l1", ("Patient/p1", "Device/d1")), ("l2", ("Patient/p2",))):
        entries = [{"item": {"reference": name}} for name in names]
        common = {"resourceType": "List", "status": "current", "mode": "working"}
        made = await world.put(f"/List/{id}", common | {"id": id, "entry": entries})
        assert made.status_code == 201, made.text
    return world


def found(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    resources = [each["resource"] for each in response.json().get("entry", ())]
    return [f"{each['resourceType']}/{each['id']}" for each in resources]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("/Patient?_list=l1", ["Patient/p1"]),
        ("/Patient?_list=List/l1,l2", ["Patient/p1", "Patient/p2"]),
        ("?_type=Device,Patient&_list=l1", ["Device/d1", "Patient/p1"]),
        ("?_list=l1", ["Device/d1", "Patient/p1"]),
        ("?_list=l1&_id=d1", ["Device/d1"]),
        ("?_list=unknown", []),
    ],
)
async def test_a_list_finds_what_it_names(listed: World, query: str, expected: list[str]) -> None:
    assert sorted(found(await listed.get(query))) == expected
