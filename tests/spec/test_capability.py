"""The CapabilityStatement tells the truth: what it advertises is called, and what it leaves out
is refused."""

import re
from typing import Any

import httpx
import pytest

from fhir_server.rest.capability import ServerFacts, capability_statement
from fhir_server.rest.routes import ROUTES
from fhir_server.search.registry import Registry
from tests.bundles import batch, entry, transaction
from tests.fhir_world import BASE, PATIENT, START, Json, World, observation, validator

EXAMPLES: dict[str, Json] = {
    "Patient": PATIENT,
    "Observation": observation(subject={"reference": "Patient/p"}),
    "Binary": {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="},
    "AuditEvent": {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110100"},
        "recorded": "2026-11-24T08:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "test"}},
    },
}
FURTHER = {"_list": "some-list", "_filter": "_id%20eq%20some-id"}
VALUES = {
    "token": "x",
    "string": "x",
    "reference": "Patient/p",
    "date": "2026-11-24",
    "number": "1",
    "quantity": "1",
    "uri": "http://x.example/y",
    "special": "1.5|2.5|3|km",
}


SEARCHED = ("Patient", "Observation", "Encounter", "RiskAssessment", "Location")
"""Types that have every kind of parameter between them."""


def statement(**facts: Any) -> Json:
    return capability_statement(Registry(), ServerFacts(BASE, "0.1.0", START, True, **facts))


@pytest.fixture(scope="module")
def rest() -> Json:
    found: Json = statement()["rest"][0]
    return found


def _resource(rest: Json, type: str) -> Json:
    found: Json = next(each for each in rest["resource"] if each["type"] == type)
    return found


async def test_it_is_a_valid_resource_and_the_one_that_is_served(world: World) -> None:
    served = (await world.get("/metadata")).json()
    assert served == statement()
    assert validator().issues(served) == ()


@pytest.mark.parametrize("mode", ["full", "normative", "terminology"])
async def test_every_mode_of_r4_gets_the_whole_statement(world: World, mode: str) -> None:
    """R4: "Servers MAY ignore the mode parameter and return a CapabilityStatement resource"."""
    response = await world.get(f"/metadata?mode={mode}")
    assert response.status_code == 200
    assert response.json() == statement()


@pytest.mark.parametrize("query", ["mode=Full", "mode=", "mode=full&mode=normative", "kind=full"])
async def test_a_mode_that_r4_does_not_have_is_refused(world: World, query: str) -> None:
    response = await world.get(f"/metadata?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in response.json()["issue"][0]["diagnostics"]


def test_every_route_is_in_it_and_nothing_else(rest: Json) -> None:
    patient = {each["code"] for each in _resource(rest, "Patient")["interaction"]}
    system = {each["code"] for each in rest["interaction"]}
    built = {route.interaction for route in ROUTES} - {
        *("capabilities", "operation", "async-status", "async-cancel")
    }
    assert patient | system == built
    assert {"batch", "transaction", "search-system"} <= system


def test_there_is_one_entry_for_each_of_the_146_types(rest: Json) -> None:
    types = [each["type"] for each in rest["resource"]]
    assert len(types) == len(set(types)) == 146
    assert "DomainResource" not in types


def test_what_is_not_built_is_said_not_to_be(rest: Json) -> None:
    patient = _resource(rest, "Patient")
    assert patient["versioning"] == "versioned-update"
    assert patient["conditionalCreate"] is True
    assert patient["conditionalRead"] == "full-support"
    assert patient["conditionalUpdate"] is True
    assert patient["conditionalDelete"] == "single"
    event = _resource(rest, "AuditEvent")
    assert not {"patch", "delete"} & {each["code"] for each in event["interaction"]}
    assert event["conditionalUpdate"] is False
    assert event["conditionalDelete"] == "not-supported"


def test_a_server_that_deletes_several_at_once_says_so() -> None:
    several = statement(deletes_at_once=2)["rest"][0]
    assert _resource(several, "Patient")["conditionalDelete"] == "multiple"
    assert _resource(several, "AuditEvent")["conditionalDelete"] == "not-supported"


async def test_each_advertised_form_of_a_patch_is_taken_and_no_other(world: World) -> None:
    id = await world.create(PATIENT)
    bodies = {
        "application/json-patch+json": b"[]",
        "application/fhir+json": b'{"resourceType":"Parameters"}',
        "application/fhir+xml": b'<Parameters xmlns="http://hl7.org/fhir"/>',
    }
    assert statement()["patchFormat"] == list(bodies)
    for kind, body in bodies.items():
        answer = await world.patch(f"/Patient/{id}", body, Content_Type=kind)
        assert answer.status_code == 200, answer.text
    refused = await world.patch(f"/Patient/{id}", b"{}", Content_Type="text/plain")
    assert refused.status_code == 415
    assert refused.headers["accept-patch"] == ", ".join(bodies)


def test_the_authorization_server_is_named_where_tokens_are_asked_for() -> None:
    urls = {"authorize": "http://x.example/auth/authorize", "token": "http://x.example/auth/token"}
    security = statement(oauth_urls=urls)["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    uris = security["extension"][0]["extension"]
    assert {each["url"]: each["valueUri"] for each in uris} == urls
    assert "service" not in statement()["rest"][0]["security"]


@pytest.mark.parametrize("type", EXAMPLES)
async def test_each_advertised_interaction_works(world: World, rest: Json, type: str) -> None:
    advertised = {each["code"] for each in _resource(rest, type)["interaction"]}
    made = await world.post(f"/{type}", EXAMPLES[type])
    id = made.json()["id"]
    body = EXAMPLES[type] | {"id": "chosen"}
    answers: dict[str, httpx.Response] = {
        "create": made,
        "update": await world.put(f"/{type}/chosen", body),
        "patch": await world.patch(f"/{type}/{id}", []),
        "read": await world.get(f"/{type}/{id}"),
        "vread": await world.get(f"/{type}/{id}/_history/1"),
        "history-instance": await world.get(f"/{type}/{id}/_history"),
        "history-type": await world.get(f"/{type}/_history"),
        "search-type": await world.get(f"/{type}?_id={id}"),
        "delete": await world.delete(f"/{type}/{id}"),
    }
    worked = {name for name, answer in answers.items() if answer.is_success}
    assert worked == advertised
    assert answers["search-type"].json()["total"] == 1


async def test_the_advertised_system_interactions_work(world: World, rest: Json) -> None:
    asked = {"batch": batch, "transaction": transaction}
    assert (await world.get("?_type=Patient")).status_code == 200
    assert (await world.get("/_history")).status_code == 200
    for each in (each for each in rest["interaction"] if each["code"] in asked):
        response = await world.post("", asked[each["code"]](entry("POST", "Patient", PATIENT)))
        assert response.status_code == 200
        assert response.json()["type"] == f"{each['code']}-response"


@pytest.mark.parametrize("type", SEARCHED)
async def test_each_advertised_search_parameter_and_include_is_answered(
    world: World, rest: Json, type: str
) -> None:
    resource = _resource(rest, type)
    queries = [f"{each['name']}={_value(each)}" for each in resource["searchParam"]]
    queries += [f"_include={each}" for each in resource.get("searchInclude", ())]
    queries += [f"_revinclude={each}" for each in resource.get("searchRevInclude", ())[:20]]
    answers = await world.post("", batch(*(entry("GET", f"{type}?{query}") for query in queries)))
    refused = {
        query: each["response"]["outcome"]
        for query, each in zip(queries, answers.json()["entry"], strict=True)
        if each["response"]["status"] != "200 OK"
    }
    assert refused == {}
    kinds = {each["type"] for each in resource["searchParam"]}
    assert {"token", "reference"} <= kinds


async def test_each_parameter_that_is_advertised_for_all_types_is_answered(
    world: World, rest: Json
) -> None:
    asked = [f"?{each['name']}={_value(each)}" for each in rest["searchParam"]]
    answers = [await world.get(query) for query in asked]
    refused = {
        query: each.text for query, each in zip(asked, answers, strict=True) if each.is_error
    }
    assert refused == {}


async def test_a_search_parameter_that_is_not_advertised_is_refused(
    world: World, rest: Json
) -> None:
    advertised = {each["name"] for each in _resource(rest, "Patient")["searchParam"]}
    for name in ("_query", "_contained", "_score", "colour"):
        assert name not in advertised
        response = await world.get(f"/Patient?{name}=x")
        assert response.status_code == 400
        assert re.search(name, response.text)


def _value(parameter: Json) -> str:
    if parameter["name"] in FURTHER:
        return FURTHER[parameter["name"]]
    if parameter["type"] != "composite":
        return VALUES[parameter["type"]]
    definition = next(
        each
        for type in ("Observation", "Patient", "Encounter", "RiskAssessment")
        for each in Registry().searchable(type)
        if each.url == parameter["definition"]
    )
    return "$".join(VALUES[each.parameter.fhir_type] for each in definition.components)
