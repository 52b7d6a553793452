"""The operations in the CapabilityStatement, their definitions, and how they are called."""

from typing import Any

import pytest

from fhir_server.operations.care_dates import CARE_DATES, care_dates
from fhir_server.operations.definitions import definitions
from fhir_server.operations.query import QUERIES
from fhir_server.operations.registry import OPERATIONS
from fhir_server.publication import Publisher, publish
from tests.fhir_world import BASE, World, extract, registry, text_of, validator


async def operations(world: World) -> dict[str, set[str]]:
    """Name and definition by type; those of the server under the empty string."""
    rest = (await world.get("/metadata")).json()["rest"][0]
    found: dict[str, Any] = {"": rest} | {each["type"]: each for each in rest["resource"]}
    return {
        type: {f"{each['name']} {each['definition']}" for each in holder.get("operation", [])}
        for type, holder in found.items()
    }


async def test_the_statement_lists_each_with_its_definition(world: World) -> None:
    core = "http://hl7.org/fhir/OperationDefinition/"
    found = await operations(world)
    assert f"meta {core}Resource-meta" in found[""]
    assert "dry-run https://medsage.example/fhir/OperationDefinition/dry-run" in found[""]
    assert f"everything {core}Patient-everything" in found["Patient"]
    assert f"everything {core}Encounter-everything" in found["Encounter"]
    assert f"lastn {core}Observation-lastn" in found["Observation"]
    own = "https://medsage.example/fhir/OperationDefinition"
    assert f"lastn {own}/query-lastn" in found["Observation"]
    assert f"document {core}Composition-document" in found["Composition"]
    assert not any(each.startswith(("everything", "lastn")) for each in found["Device"])
    assert f"validate {core}Resource-validate" in found["Device"]


async def test_our_own_definitions_are_valid_and_on_the_server(world: World) -> None:
    made = definitions()
    assert {each["code"] for each in made} >= {"dry-run", "undo"}
    for each in made:
        assert validator().issues(each) == ()
    publisher = Publisher(world.store, extract(), world.clock, lambda: "an-id", BASE)
    await publish(publisher, made)
    own = {each.definition for each in (*OPERATIONS, *QUERIES) if "medsage" in each.definition}
    found = (await world.get("/OperationDefinition")).json()["entry"]
    assert {each["resource"]["url"] for each in found} == own


def test_every_care_date_is_a_date_parameter_of_its_type() -> None:
    for type in CARE_DATES:
        for code in care_dates(registry(), type):
            parameter = registry().parameter(type, code)
            assert parameter is not None, (type, code)
            assert parameter.kind == "date", (type, code)


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/Patient/$lastn", 404),
        ("GET", "/$everything", 404),
        ("GET", "/Nothing/$meta", 404),
        ("GET", "/Patient/a/b/$meta", 404),
        ("PUT", "/Patient/a/$meta", 405),
        ("DELETE", "/Patient/$everything", 405),
        ("GET", "/$dry-run", 405),
        ("GET", "/$undo?transaction=x", 405),
        ("GET", "/Patient/a_b/$meta", 400),
    ],
)
async def test_what_is_not_there_is_refused(
    world: World, method: str, url: str, status: int
) -> None:
    response = await world.http.request(method, url)
    assert response.status_code == status, response.text
    assert (await world.journal())[-1]["outcome"] == "refused"


async def test_every_wrong_parameter_is_named_at_once(world: World) -> None:
    response = await world.get("/Patient/$everything?_count=x&start=y&colour=red")
    assert response.status_code == 400
    for name in ("_count", "start", "colour"):
        assert name in text_of(response)


async def test_a_parameter_of_another_type_is_refused(world: World) -> None:
    for value in (
        {"valueString": "5"},
        {"part": []},
        {"resource": {"resourceType": "Patient"}},
        {},
    ):
        body = {"resourceType": "Parameters", "parameter": [{"name": "_count", **value}]}
        response = await world.post("/Patient/$everything", body)
        assert response.status_code == 400, value
        assert "_count" in text_of(response) or "parameter[0]" in response.text


async def test_names_that_are_no_text_are_refused(world: World) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": {"id": "x"}}]}
    for url in ("/Observation/$validate", "/Parameters/$validate"):
        response = await world.post(url, body)
        assert response.status_code == (400 if "Obs" in url else 200)
        assert "name" in text_of(response)


async def test_the_openapi_document_names_them() -> None:
    from deploy.openapi import fhir_paths

    paths = fhir_paths()
    post = paths["/fhir/{type}/{id}/${operation}"]["post"]
    schemas = {each["name"]: each["schema"] for each in post["parameters"]}
    assert "everything" in schemas["operation"]["enum"]
