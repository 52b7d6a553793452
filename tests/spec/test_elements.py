"""R4 Search, "Elements": only the elements that are listed, and those without which the resource
would be none."""

import pytest

from tests.fhir_world import Json, World, observation, text_of

ALWAYS = {"resourceType", "id", "meta"}
PATIENT: Json = {
    "resourceType": "Patient",
    "implicitRules": "http://x.y/rules",
    "text": {"status": "empty", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "contained": [
        {"resourceType": "Organization", "id": "a", "partOf": {"reference": "#b"}, "name": "A"},
        {"resourceType": "Organization", "id": "b", "name": "B"},
        {"resourceType": "Practitioner", "id": "c"},
    ],
    "modifierExtension": [{"url": "http://x.y/never", "valueBoolean": True}],
    "active": True,
    "name": [{"family": "Chalmers", "given": ["Peter"]}],
    "_birthDate": {"extension": [{"url": "http://x.y/z", "valueCode": "unknown"}]},
    "generalPractitioner": [{"reference": "#c"}],
    "managingOrganization": {"reference": "#a"},
}
KEPT = ALWAYS | {"implicitRules", "modifierExtension"}


async def elements(world: World, url: str, names: str, **headers: str) -> set[str]:
    response = await world.get(f"{url}?_elements={names}", **headers)
    assert response.status_code == 200, response.text
    assert response.json()["meta"]["tag"][-1]["code"] == "SUBSETTED"
    return set(response.json())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("name", {"name"}),
        ("name,active", {"name", "active"}),
        ("name, active", {"name", "active"}),
        ("Patient.name", {"name"}),
        ("birthDate", {"_birthDate"}),
        ("text", {"text"}),
        ("gender", set()),
        ("id", set()),
    ],
)
async def test_only_what_is_listed_is_sent(world: World, names: str, expected: set[str]) -> None:
    url = f"/Patient/{await world.create(PATIENT)}"
    assert await elements(world, url, names) == KEPT | expected


async def test_several_lists_are_one(world: World) -> None:
    url = f"/Patient/{await world.create(PATIENT)}"
    assert await elements(world, url, "name&_elements=active") == KEPT | {"name", "active"}


async def test_what_is_mandatory_is_sent_always(world: World) -> None:
    url = f"/Observation/{await world.create(observation(issued='2026-11-24T08:00:00Z'))}"
    assert await elements(world, url, "subject") == ALWAYS | {"status", "code"}


async def test_a_choice_goes_by_its_name_or_by_one_type(world: World) -> None:
    url = f"/Observation/{await world.create(observation(valueString='x'))}"
    for names in ("value", "value[x]", "valueString", "Observation.value"):
        assert "valueString" in await elements(world, url, names)
    assert "valueString" not in await elements(world, url, "valueQuantity")


async def test_what_the_rest_refers_to_stays_with_it(world: World) -> None:
    url = f"/Patient/{await world.create(PATIENT)}"
    response = await world.get(f"{url}?_elements=managingOrganization")
    assert [each["id"] for each in response.json()["contained"]] == ["a", "b"]
    assert "contained" not in (await world.get(f"{url}?_elements=name")).json()
    whole = await world.get(f"{url}?_elements=contained")
    assert whole.json()["contained"] == PATIENT["contained"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("name,hair", "hair"),
        ("name.family", "name.family"),
        ("Observation.status", "Observation.status"),
        ("name,,active", "commas"),
        ("", "_elements"),
    ],
)
async def test_what_is_no_root_element_is_refused(world: World, names: str, said: str) -> None:
    id = await world.create(PATIENT)
    for url in (f"/Patient/{id}", "/Patient"):
        response = await world.get(f"{url}?_elements={names}")
        assert response.status_code == 400
        assert said in text_of(response)


async def test_a_lenient_search_lists_what_it_ignored(world: World) -> None:
    await world.create(PATIENT)
    response = await world.get("/Patient?_elements=name,hair", Prefer="handling=lenient")
    match, outcome = response.json()["entry"]
    assert set(match["resource"]) == KEPT | {"name"}
    assert "hair" in outcome["resource"]["issue"][0]["diagnostics"]
    assert "hair" not in response.json()["link"][0]["url"]


async def test_the_list_is_for_matches_and_not_for_what_they_include(world: World) -> None:
    id = await world.create(PATIENT)
    await world.create(observation(subject={"reference": f"Patient/{id}"}))
    url = "/Observation?_include=Observation:subject&_elements=subject"
    match, included = (await world.get(url)).json()["entry"]
    assert set(match["resource"]) == ALWAYS | {"status", "code", "subject"}
    assert "tag" not in included["resource"]["meta"]
    assert set(included["resource"]) == PATIENT.keys() | {"id", "meta"}


async def test_over_several_types_a_name_may_belong_to_one(world: World) -> None:
    await world.create(PATIENT)
    await world.create(observation(valueString="x"))
    url = "/?_type=Patient,Observation&_elements=Patient.name,value"
    found = (await world.get(url)).json()
    by_type = {each["resource"]["resourceType"]: set(each["resource"]) for each in found["entry"]}
    assert by_type["Patient"] == KEPT | {"name"}
    assert by_type["Observation"] == ALWAYS | {"status", "code", "valueString"}


async def test_a_read_inside_a_batch_is_narrowed_as_any(world: World) -> None:
    id = await world.create(PATIENT)
    get = {"request": {"method": "GET", "url": f"Patient/{id}?_elements=name"}}
    response = await world.post("", {"resourceType": "Bundle", "type": "batch", "entry": [get]})
    assert set(response.json()["entry"][0]["resource"]) == KEPT | {"name"}
