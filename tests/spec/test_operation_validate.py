"""R4 Resource $validate."""

import pytest

from tests.fhir_world import Json, World, observation, text_of
from tests.operation_world import caller, measured, named, place, store_all, world

__all__ = ["place", "world"]

BASE = "http://hl7.org/fhir/StructureDefinition/"


def asking(resource: Json | None = None, **codes: str) -> Json:
    """Parameters with a resource, a mode and a profile."""
    given: list[Json] = [] if resource is None else [{"name": "resource", "resource": resource}]
    types = {"mode": "valueCode", "profile": "valueUri"}
    given += [{"name": name, types[name]: value} for name, value in codes.items()]
    return {"resourceType": "Parameters", "parameter": given}


async def errors(world: World, url: str, body: Json) -> list[str]:
    """What is told as an error; the answer is 200 whether or not there is any."""
    response = await world.post(url, body)
    assert response.status_code == 200, response.text
    outcome = response.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return [each["diagnostics"] for each in outcome["issue"] if each["severity"] == "error"]


async def test_a_bare_resource_and_one_in_parameters(world: World) -> None:
    assert await errors(world, "/Observation/$validate", observation()) == []
    bad = observation(status="maybe")
    for body in (bad, asking(bad)):
        (said,) = await errors(world, "/Observation/$validate", body)
        assert "status" in said
    assert await world.count("Observation") == 0


async def test_parameters_can_be_judged_too(world: World) -> None:
    good = {"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}]}
    assert await errors(world, "/Parameters/$validate", good) == []
    assert await errors(world, "/Parameters/$validate", asking(good)) == []


async def test_another_type_than_the_url_says_is_an_error(world: World) -> None:
    (said,) = await errors(world, "/Patient/$validate", observation())
    assert "Patient" in said


async def test_mode_create_is_tried(world: World) -> None:
    conditional = observation(subject={"reference": "Patient?name=x"})
    assert await errors(world, "/Observation/$validate", asking(conditional)) == []
    (said,) = await errors(world, "/Observation/$validate", asking(conditional, mode="create"))
    assert "transactions only" in said
    world.caller.principal = caller("user/Observation.rs")
    (said,) = await errors(world, "/Observation/$validate", asking(observation(), mode="create"))
    assert "create" in said


async def test_mode_update_asks_for_the_same_id_and_the_right(world: World) -> None:
    await store_all(world, named("Patient", "a"), measured("o", "a"))
    url = "/Observation/o/$validate"
    assert await errors(world, url, asking(measured("o", "a"), mode="update")) == []
    (said,) = await errors(world, f"{url}?mode=update", measured("other", "a"))
    assert "other" in said
    world.caller.principal = caller("patient/*.rs patient/Observation.u", patient="b")
    (said,) = await errors(world, url, asking(measured("o", "b"), mode="update"))
    assert "Observation/o" in said
    world.caller.principal = None
    assert (await world.get("/Observation/o")).json()["meta"]["versionId"] == "1"


async def test_mode_delete_needs_no_resource(world: World) -> None:
    await store_all(world, named("Patient", "a"))
    response = await world.get("/Patient/a/$validate?mode=delete")
    assert response.json()["issue"][0]["severity"] == "information"
    assert (await world.get("/Patient/a")).status_code == 200
    (said,) = await errors(world, "/Patient/nobody/$validate", asking(mode="delete"))
    assert "nobody" in said


async def test_base_profiles_are_known_others_refused_by_name(world: World) -> None:
    url = "/Patient/$validate"
    patient = {"resourceType": "Patient"}
    for profile in (f"{BASE}Patient", f"{BASE}DomainResource", f"{BASE}Patient|4.0.1"):
        assert await errors(world, url, asking(patient, profile=profile)) == []
    (said,) = await errors(world, url, asking(patient, profile=f"{BASE}Device"))
    assert "Device" in said
    for profile in ("http://example.org/p", f"{BASE}bmi", f"{BASE}Patient|5.0.0"):
        refused = await world.post(url, asking(patient, profile=profile))
        assert refused.status_code == 400
        assert profile in text_of(refused)


@pytest.mark.parametrize(
    ("url", "body", "said"),
    [
        ("/Patient/$validate", asking(mode="create"), "resource"),
        ("/Patient/$validate", asking({"resourceType": "Patient"}, mode="update"), "mode"),
        ("/Patient/$validate", asking({"resourceType": "Patient"}, mode="purge"), "purge"),
        ("/Patient/$validate?colour=red", {"resourceType": "Patient"}, "colour"),
    ],
)
async def test_a_question_without_sense_is_400(
    world: World, url: str, body: Json, said: str
) -> None:
    response = await world.post(url, body)
    assert response.status_code == 400
    assert said in text_of(response)


async def test_what_is_no_json_is_400(world: World) -> None:
    assert (await world.post("/Patient/$validate", b"{")).status_code == 400


async def test_it_can_be_asked_in_a_batch_and_not_in_a_transaction(world: World) -> None:
    entry = {
        "resource": {"resourceType": "Patient", "gender": "unheard-of"},
        "request": {"method": "POST", "url": "Patient/$validate"},
    }
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    (answered,) = (await world.post("", bundle)).json()["entry"]
    assert answered["response"]["status"] == "200 OK"
    assert "gender" in answered["resource"]["issue"][0]["diagnostics"]
    entry["resource"] = {"resourceType": "Patient"}
    refused = await world.post("", bundle | {"type": "transaction"})
    assert refused.status_code == 400
    assert "$validate" in text_of(refused)
