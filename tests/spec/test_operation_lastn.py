"""R4 Observation $lastn."""

from typing import Any

import pytest

from tests.fhir_world import World, text_of
from tests.operation_world import (
    caller,
    measured,
    named,
    names_in,
    parameters,
    place,
    store_all,
    world,
)

__all__ = ["place", "world"]

VITAL = [{"coding": [{"code": "vital-signs"}]}]


def coded(*codes: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": code} for code in codes]}


def vital(id: str, when: str | None, *codes: str, **changes: Any) -> dict[str, Any]:
    dated = {} if when is None else {"effectiveDateTime": when}
    return measured(id, "a", category=VITAL, code=coded(*codes), **dated, **changes)


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(
        world,
        named("Patient", "a"),
        named("Patient", "b"),
        vital("pulse1", "2024-01-01T10:00:00Z", "8867-4"),
        vital("pulse2", "2024-01-03T10:00:00Z", "8867-4"),
        vital("pulse3", "2024-01-02T10:00:00Z", "8867-4"),
        vital("weight1", "2023-05-01", "29463-7"),
        vital("weight0", None, "29463-7"),
        measured("other", "b", category=VITAL, code=coded("8867-4"), effectiveDateTime="2025"),
        measured("lab", "a", code=coded("718-7"), effectiveDateTime="2024-06-01"),
    )
    return world


async def found(world: World, query: str) -> list[str]:
    response = await world.get(f"/Observation/$lastn?{query}")
    assert response.status_code == 200, response.text
    assert response.json()["total"] == len(names_in(response.json()))
    return [name.removeprefix("Observation/") for name in names_in(response.json())]


async def test_the_newest_of_each_code(ward: World) -> None:
    assert await found(ward, "patient=a&category=vital-signs") == ["pulse2", "weight1"]


async def test_the_newest_n_of_each_code_newest_first(ward: World) -> None:
    query = "max=2&patient=a&category=vital-signs"
    assert await found(ward, query) == ["pulse2", "pulse3", "weight1", "weight0"]


async def test_other_criteria_and_spellings_of_the_subject(ward: World) -> None:
    assert await found(
        ward, "subject=Patient/a&code=http://loinc.org|8867-4&date=lt2024-01-03"
    ) == ["pulse3"]
    assert await found(ward, "patient=a&code=http://loinc.org|0000-0") == []


async def test_ties_are_all_returned(ward: World) -> None:
    await store_all(ward, vital("pulse4", "2024-01-03T11:00:00+01:00", "8867-4"))
    names = await found(ward, "patient=a&code=8867-4")
    assert sorted(names) == ["pulse2", "pulse4"]


async def test_translations_make_codes_one_whatever_comes_first(ward: World) -> None:
    await store_all(
        ward,
        vital("x1", "2024-02-01", "X"),
        vital("y1", "2024-02-02", "Y"),
        vital("both", "2024-02-03", "X", "Y"),
        vital("z1", "2024-02-01", "Y", "Z"),
        vital("z2", "2024-01-31", "Z"),
    )
    assert await found(ward, "patient=a&code=X,Y,Z") == ["both"]
    assert await found(ward, "patient=a&code=X,Y,Z&max=2") == ["both", "y1"]


async def test_text_alone_is_a_code_as_it_is_written(ward: World) -> None:
    await store_all(
        ward,
        *(
            measured(f"text{number}", "a", category=VITAL, code={"text": text},
                     effectiveDateTime=f"2020-01-0{number}")
            for number, text in enumerate(("Text", "text", "t e x t", "text"), 1)
        ),
    )  # fmt: skip
    names = await found(ward, "patient=a&category=vital-signs&date=2020")
    assert names == ["text4", "text3", "text1"]


async def test_hidden_observations_do_not_count(ward: World) -> None:
    ward.caller.principal = caller("patient/Observation.rs", patient="b")
    assert await found(ward, "patient=a&category=vital-signs") == []
    assert await found(ward, "patient=b&category=vital-signs") == ["other"]


async def test_parameters_in_a_body_and_narrowing(ward: World) -> None:
    body = parameters(max_positiveInt=1, patient_string="a", code_string="8867-4")
    response = await ward.post("/Observation/$lastn", body)
    assert names_in(response.json()) == ["Observation/pulse2"]
    url = "/Observation/$lastn?patient=a&code=8867-4&_elements=status&_include=Observation:patient"
    bundle = (await ward.get(url)).json()
    assert names_in(bundle) == ["Observation/pulse2", "Patient/a"]
    assert "effectiveDateTime" not in bundle["entry"][0]["resource"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("category=vital-signs", "patient"),
        ("patient=a", "category"),
        ("patient:missing=true&code=x", "patient"),
        ("patient=a&code=x&max=0", "max"),
        ("patient=a&code=x&max=1&max=2", "max"),
        ("patient=a&code=x&_sort=date", "_sort"),
        ("patient=a&code=x&_count=3", "_count"),
        ("patient=a&code=x&colour=red", "colour"),
    ],
)
async def test_what_is_wrong_is_named(ward: World, query: str, said: str) -> None:
    response = await ward.get(f"/Observation/$lastn?{query}")
    assert response.status_code == 400
    assert said in text_of(response)


async def test_lastn_is_a_named_query(ward: World) -> None:
    query = "patient=a&category=vital-signs&max=2"
    as_operation = await ward.get(f"/Observation/$lastn?{query}")
    for answer in (
        await ward.get(f"/Observation?_query=lastn&{query}"),
        await ward.http.post(
            "/Observation/_search",
            content=f"{query}&_query=lastn",
            headers={"content-type": "application/x-www-form-urlencoded"},
        ),
    ):
        assert answer.status_code == 200, answer.text
        assert names_in(answer.json()) == names_in(as_operation.json())
        assert answer.json()["type"] == "searchset"
    assert (await ward.journal())[-1]["interaction"] == "search-type"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/Observation?_query=lastm&patient=a", "the only named query is lastn"),
        ("/Observation?_query=lastn&_query=lastn&patient=a", "given once"),
        ("/Patient?_query=lastn", "on Observation"),
        ("/Patient/a/Observation?_query=lastn", "outside compartments"),
        ("?_type=Observation&_query=lastn", "on Observation"),
        ("/Observation?_query=lastn&patient=a&category=x&max=0", "max"),
    ],
)
async def test_other_named_queries_are_refused(ward: World, path: str, words: str) -> None:
    response = await ward.get(path)
    assert response.status_code == 400
    assert words in text_of(response)


async def test_a_named_query_needs_the_right_to_search_and_sees_what_a_search_sees(
    ward: World,
) -> None:
    query = "_query=lastn&category=vital-signs&patient="
    ward.caller.principal = caller("patient/Observation.r")
    assert (await ward.get(f"/Observation?{query}a")).status_code == 403
    ward.caller.principal = caller("patient/Observation.rs")
    assert (await ward.get(f"/Observation?{query}b")).json().get("entry", []) == []
