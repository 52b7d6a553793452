"""R4 Search, "Summary": what of a resource each `_summary` sends."""

from typing import Any

import pytest

from tests.fhir_world import Json, World, text_of, validator

TAG = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">Peter</div>'
OWN_TAG = {"system": "http://x.y/tags", "code": "mine"}
PATIENT: Json = {
    "resourceType": "Patient",
    "meta": {"tag": [OWN_TAG]},
    "text": {"status": "generated", "div": DIV},
    "contained": [
        {"resourceType": "Organization", "id": "named", "name": "N", "alias": ["left out"]},
        {"resourceType": "Practitioner", "id": "other", "gender": "male"},
    ],
    "extension": [{"url": "http://x.y/z", "valueBoolean": True}],
    "modifierExtension": [{"url": "http://x.y/never", "valueBoolean": True}],
    "active": True,
    "name": [{"id": "n", "family": "Chalmers", "extension": [{"url": "u", "valueCode": "a"}]}],
    "maritalStatus": {"text": "M"},
    "photo": [{"contentType": "image/png", "data": "aGk="}],
    "contact": [{"name": {"text": "W"}}],
    "generalPractitioner": [{"reference": "#other"}],
    "managingOrganization": {"reference": "#named"},
    "link": [{"other": {"reference": "Patient/x"}, "type": "seealso"}],
}
OBSERVATION: Json = {
    "resourceType": "Observation",
    "text": {"status": "generated", "div": DIV},
    "status": "final",
    "code": {"text": "c"},
    "note": [{"text": "n"}],
    "component": [
        {
            "code": {"text": "d"},
            "valueQuantity": {"value": 2},
            "interpretation": [{"text": "left out"}],
        }
    ],
}


async def stored(world: World, body: Json) -> str:
    return f"/{body['resourceType']}/{await world.create(body)}"


async def asked(world: World, url: str, summary: str) -> Json:
    response = await world.get(f"{url}?_summary={summary}")
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


async def test_true_sends_what_the_definitions_mark(world: World) -> None:
    found = await asked(world, await stored(world, PATIENT), "true")
    assert found.keys() == {
        *("resourceType", "id", "meta", "modifierExtension", "active", "name", "link"),
        *("managingOrganization", "contained"),
    }
    assert found["name"] == [{"family": "Chalmers"}]
    assert found["meta"]["tag"] == [OWN_TAG, TAG]


async def test_true_keeps_what_is_referred_to_and_shortens_it(world: World) -> None:
    found = await asked(world, await stored(world, PATIENT), "true")
    assert found["contained"] == [{"resourceType": "Organization", "id": "named", "name": "N"}]


async def test_true_goes_into_what_it_keeps(world: World) -> None:
    found = await asked(world, await stored(world, OBSERVATION), "true")
    assert found.keys() == {"resourceType", "id", "meta", "status", "code", "component"}
    assert found["component"] == [{"code": {"text": "d"}, "valueQuantity": {"value": 2}}]


async def test_text_sends_the_narrative_and_what_is_mandatory(world: World) -> None:
    found = await asked(world, await stored(world, OBSERVATION), "text")
    assert found.keys() == {"resourceType", "id", "meta", "text", "status", "code"}
    assert found["text"]["div"] == DIV


async def test_data_sends_all_but_the_narrative(world: World) -> None:
    found = await asked(world, await stored(world, PATIENT), "data")
    assert found.keys() == (PATIENT.keys() | {"id"}) - {"text"}
    assert found["contained"] == PATIENT["contained"]


async def test_false_sends_all_without_a_mark(world: World) -> None:
    found = await asked(world, await stored(world, PATIENT), "false")
    assert found.keys() == PATIENT.keys() | {"id"}
    assert found["meta"]["tag"] == [OWN_TAG]


async def test_what_is_sent_is_a_valid_resource(world: World) -> None:
    for body in (PATIENT, OBSERVATION):
        url = await stored(world, body)
        for summary in ("true", "text", "data"):
            found = await asked(world, url, summary)
            problems = [each for each in validator().issues(found) if each.severity == "error"]
            assert problems == []


async def test_a_version_and_the_other_form_are_shortened_too(world: World) -> None:
    url = await stored(world, OBSERVATION)
    version = await asked(world, f"{url}/_history/1", "text")
    assert "component" not in version
    xml = (await world.get(f"{url}?_summary=text&_format=xml")).text
    assert "<component>" not in xml
    assert 'value="SUBSETTED"' in xml


async def test_the_versions_in_a_history_are_shortened(world: World) -> None:
    url = await stored(world, OBSERVATION)
    await world.put(url, OBSERVATION | {"id": url.rpartition("/")[2], "note": [{"text": "m"}]})
    await world.delete(url)
    for parameter in ("_summary=text", "_elements=text"):
        found = (await world.get(f"{url}/_history?{parameter}")).json()
        deleted, *versions = found["entry"]
        assert "resource" not in deleted
        assert [each["resource"].keys() for each in versions] == [
            {"resourceType", "id", "meta", "text", "status", "code"}
        ] * 2


async def test_the_capability_statement_is_shortened_too(world: World) -> None:
    whole = (await world.get("/metadata")).json()
    found = await asked(world, "/metadata", "true")
    assert found["meta"]["tag"] == [TAG]
    assert "searchParam" in whole["rest"][0]["resource"][0]
    assert "searchParam" not in found["rest"][0]["resource"][0]
    assert len((await world.get("/metadata?_elements=format")).content) < 1000


@pytest.mark.parametrize("digits", [b"1.500", b"0.0000001", b"1.0e5"])
async def test_decimals_keep_their_digits(world: World, digits: bytes) -> None:
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"c"},"valueQuantity":'
    made = await world.post("/Observation", body + b'{"value":%s}}' % digits)
    for parameter in ("_summary=true", "_summary=data", "_elements=value"):
        response = await world.get(f"/Observation/{made.json()['id']}?{parameter}")
        assert b'{"value":%s}' % digits in response.content


async def test_a_missing_value_is_kept_by_its_reason(world: World) -> None:
    reason = {"extension": [{"url": "http://x.y/absent", "valueCode": "unknown"}]}
    patient = {"resourceType": "Patient", "_birthDate": reason, "gender": "male", "_gender": reason}
    found = await asked(world, await stored(world, patient), "true")
    assert found["_birthDate"] == reason
    assert "_gender" not in found


async def test_a_search_shortens_matches_and_what_they_include(world: World) -> None:
    patient = await stored(world, PATIENT)
    subject = {"subject": {"reference": patient[1:]}}
    await stored(world, OBSERVATION | subject)
    url = "/Observation?_include=Observation:subject"
    found = (await world.get(f"{url}&_summary=true")).json()
    assert [each["search"]["mode"] for each in found["entry"]] == ["match", "include"]
    for each in found["entry"]:
        assert TAG in each["resource"]["meta"]["tag"]
        assert "text" not in each["resource"]
    assert "_summary=true" in found["link"][0]["url"]


async def test_count_sends_no_resource_at_all(world: World) -> None:
    await stored(world, PATIENT)
    found = (await world.get("/Patient?_summary=count")).json()
    assert found["total"] == 1
    assert "entry" not in found


async def test_text_and_includes_exclude_each_other(world: World) -> None:
    response = await world.get("/Observation?_include=Observation:subject&_summary=text")
    assert response.status_code == 400
    assert "_include" in text_of(response)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("_summary=short", "true, text, data, count and false"),
        ("_summary=", "_summary"),
        ("_summary=true&_summary=data", "more than once"),
        ("_summary=true&_elements=name", "exclude each other"),
        ("_summary=count", "searches only"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, query: str, said: str) -> None:
    url = await stored(world, PATIENT)
    response = await world.get(f"{url}?{query}")
    assert response.status_code == 400
    assert said in text_of(response)


async def test_a_part_does_not_replace_the_whole(world: World) -> None:
    url = await stored(world, PATIENT)
    part: Any = await asked(world, url, "true")
    response = await world.put(url, part)
    assert response.status_code == 422
    assert "SUBSETTED" in text_of(response)
    assert (await world.get(url)).json()["maritalStatus"] == {"text": "M"}
