"""What the tests of operations share: a server on either store, and one patient's ward."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.security.principal import Principal
from tests.fhir_world import Json, World, fhir_world, observation
from tests.stores import Place, place

__all__ = ["place", "world"]


@pytest.fixture
async def world(place: Place, tmp_path: Path) -> AsyncIterator[World]:
    """A FHIR server with open access, on an empty store of each kind in turn."""
    async with fhir_world(tmp_path, store=await place.store()) as running:
        yield running


def caller(scopes: str, *, patient: str | None = None, role: str = "doctor") -> Principal:
    """Who calls with these scopes; a patient's app where `patient` is given."""
    return Principal(
        subject="someone",
        client_id="client",
        name="Someone",
        roles=frozenset({role}),
        fhir_user=None,
        scopes=scopes,
        patient=patient,
        encounter=None,
        session=None,
    )


def transaction(*entries: Json) -> Json:
    """A transaction Bundle of these entries."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def put(resource: Json) -> Json:
    """An entry that updates, or creates under the resource's own id."""
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def post(resource: Json, full_url: str | None = None, **request: str) -> Json:
    """An entry that creates."""
    asked = {"method": "POST", "url": resource["resourceType"]} | request
    entry = {"resource": resource, "request": asked}
    return entry if full_url is None else entry | {"fullUrl": full_url}


def named(type: str, id: str, /, **elements: object) -> Json:
    """A resource of the type with this id."""
    return {"resourceType": type, "id": id, **elements}


def measured(id: str, patient: str, /, **elements: object) -> Json:
    """An Observation of a patient."""
    return observation(id=id, subject={"reference": f"Patient/{patient}"}, **elements)


def parameters(**given: Json | str | bool | int) -> Json:
    """A Parameters resource; names end in the type: `max_positiveInt`."""
    found = []
    for name, value in given.items():
        label, _, type = name.rpartition("_")
        if type == "resource":
            found.append({"name": label, "resource": value})
        else:
            found.append({"name": label, f"value{type[0].upper()}{type[1:]}": value})
    return {"resourceType": "Parameters", "parameter": found}


async def store_all(world: World, *resources: Json) -> None:
    """Store the resources under their ids."""
    response = await world.post("", transaction(*map(put, resources)))
    assert response.status_code == 200, response.text


def names_in(bundle: Json, mode: str | None = None) -> list[str]:
    """`Type/id` of every entry, or of those with the search mode."""
    return [
        f"{each['resource']['resourceType']}/{each['resource']['id']}"
        for each in bundle.get("entry", [])
        if mode is None or each["search"]["mode"] == mode
    ]


def next_of(bundle: Json) -> str | None:
    """The link to the next page."""
    links = {each["relation"]: each["url"] for each in bundle["link"]}
    return links.get("next")
