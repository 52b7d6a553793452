"""$explain, an operation of this server: how a search would be answered."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.operations import explain
from fhir_server.search import advice
from tests.fhir_world import Json, World, fhir_world, issues, observation, text_of
from tests.operation_world import (
    caller,
    measured,
    named,
    parameters,
    place,
    post,
    store_all,
    transaction,
    world,
)
from tests.stores import Place, sqlite_place

__all__ = ["place", "world"]

TOKEN_INDEXES = {"sqlite": "term", "mongodb": "terms_1"}
DATE_INDEXES = {
    "sqlite": "resource_by_date_high",
    "mongodb": "type_1_sort.date.high_-1__id_1",
}
LOINC = "http://loinc.org"


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code}]}


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(
        world,
        named("Patient", "a", name=[{"family": "Chalmers"}]),
        named("Patient", "b"),
        *(
            measured(
                f"o{each}",
                "a" if each < 20 else "b",
                code=coded("8867-4" if each < 3 else "718-7"),
                effectiveDateTime=f"2024-01-{each + 1:02}",
            )
            for each in range(25)
        ),
    )
    return world


async def explained(world: World, query: str, **headers: str) -> Json:
    response = await world.get(f"/Observation/$explain?{query}", **headers)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    assert body["resourceType"] == "Parameters"
    return body


def values(parts: Json, name: str) -> list[Any]:
    """What all parts of a name hold, however deep."""
    found: list[Any] = []
    for each in parts.get("parameter", parts.get("part", [])):
        if each["name"] == name:
            found += [each[key] for key in each if key.startswith("value")]
        found += values(each, name)
    return found


def only(parts: Json, name: str) -> Any:
    (found,) = values(parts, name)
    return found


async def test_a_token_search_starts_from_the_index_of_terms(ward: World, place: Place) -> None:
    found = await explained(ward, f"code={LOINC}|8867-4&_sort=status")
    assert only(found, "refused") is False
    assert only(found, "start") == "terms"
    assert TOKEN_INDEXES[place.kind] in values(found, "index")
    assert values(found, "kind") == ["HasTerm"]
    assert values(found, "parameter") == ["Observation.code"]
    assert values(found, "asks") == [f"is 8867-4|{LOINC}"]
    assert (only(found, "candidates"), only(found, "orMore")) == (3, False)
    assert only(found, "cost") == "low"
    assert values(found, "advice") == []


async def test_nothing_is_found_and_no_value_of_a_patient_told(ward: World) -> None:
    found = await explained(ward, "subject:Patient.name=chal&_total=accurate")
    assert "Chalmers" not in str(found)
    assert "2024-01" not in str(found)
    # The chain, and the same inside of contained resources.
    assert values(found, "kind")[:4] == ["AnyOf", "LinksTo", "HasRange", "AllOf"]
    assert values(found, "kind")[-1] == "HasRange"
    assert values(found, "asks")[2] == values(found, "asks")[-1] == "begins with chal"
    assert values(found, "candidates")[0] == 1
    assert values(found, "total") == ["one more query that counts all matches"]


async def test_sorted_by_date_walks_the_index_of_dates(ward: World, place: Place) -> None:
    found = await explained(ward, "_sort=-date")
    assert only(found, "start") == "order"
    assert DATE_INDEXES[place.kind] in values(found, "index")
    assert values(found, "key") == ["-date"]
    assert only(found, "hasIndex") is True
    assert only(found, "cost") == "low"


async def test_an_order_without_an_index_says_so(ward: World) -> None:
    found = await explained(ward, "_sort=status")
    assert only(found, "start") == "all"
    assert only(found, "hasIndex") is False
    assert only(found, "cost") == "high"
    told = " ".join(values(found, "advice"))
    assert "_sort by _lastUpdated or date alone has an index" in told
    assert "patient" in told


async def test_what_scans_is_named(ward: World) -> None:
    found = await explained(ward, "value-string:contains=abc&_sort=status")
    assert "HasText" in values(found, "kind")
    assert any("value-string looks at every value" in each for each in values(found, "advice"))
    assert any("no criterion is one that an index lists" in each
               for each in values(found, "advice"))  # fmt: skip


async def test_what_a_lenient_search_ignores_is_told_and_not_in_the_expression(
    ward: World,
) -> None:
    found = await explained(ward, "colour=red&code=8867-4", prefer="handling=lenient")
    assert values(found, "name") == ["code"]
    assert values(found, "value") == ["8867-4"]
    assert "colour" in only(found, "ignored")
    assert values(found, "asks") == ["begins with 8867-4|"]


@pytest.mark.parametrize(
    ("query", "text", "code"),
    [
        ("colour=red", "colour", "invalid"),
        ("date=yesterday", "yesterday", "invalid"),
        ("_cursor=nonsense", "cursor", "invalid"),
        (f"code={','.join('x' * 1001)}", "more than 1000 values", "too-costly"),
        ("&".join(["status=final"] * 501), "more than 500 criteria", "too-costly"),
    ],
)
async def test_a_search_that_would_be_refused_says_why(
    ward: World, query: str, text: str, code: str
) -> None:
    found = await explained(ward, query)
    assert only(found, "refused") is True
    (outcome,) = (each["resource"] for each in found["parameter"] if each["name"] == "outcome")
    assert outcome["issue"][0]["code"] == code
    assert text in outcome["issue"][0]["diagnostics"]
    assert (await ward.get(f"/Observation?{query}")).status_code == 400


@pytest.mark.parametrize("query", ["date=gt9999-12-31T23:59:59Z", "date=ap9999-12-31"])
async def test_the_end_of_the_calendar_is_told_as_such(ward: World, query: str) -> None:
    assert any(
        "9999-12-31T23:59:59" in each for each in values(await explained(ward, query), "asks")
    )


@pytest.mark.parametrize("scopes", ["user/Binary.rs", "user/Binary.rs user/Observation.rs"])
async def test_a_search_inside_resources_is_refused_whatever_may_contain_some(
    ward: World, scopes: str
) -> None:
    ward.caller.principal = caller(scopes)
    response = await ward.get("/Binary/$explain?_contained=true")
    assert response.status_code == 400, response.text
    assert "_contained" in text_of(response)


async def test_a_search_that_took_too_long_is_told_what_makes_it_cheaper(tmp_path: Path) -> None:
    # The embedded store alone: that both refuse is tests/contract/test_store_budget.py.
    async with (
        sqlite_place(tmp_path) as place,
        fhir_world(tmp_path, store=await place.store(0.001)) as world,
    ):
        words = " ".join(f"w{each}" for each in range(40))
        patients = (named("Patient", f"p{each}", name=[{"family": words}]) for each in range(40))
        await store_all(world, *patients)
        query = f"name:contains={','.join(f'no{each}' for each in range(300))}"
        refused = await world.get(f"/Patient?{query}&_sort=gender&_total=accurate")
        assert refused.status_code == 400
        assert issues(refused)[0]["code"] == "too-costly"
        text = text_of(refused)
        assert "takes longer than 0.001 seconds" in text
        assert "what narrows a search on Patient: identifier" in text
        assert "Patient.name looks at every value" in text
        assert "_sort by _lastUpdated or date" in text
        assert "_total=none" in text
        assert (await world.get("/Patient/p7")).status_code == 200


async def test_too_many_candidates_are_named_to_who_may_count_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (advice, explain):
        monkeypatch.setattr(module, "MANY", 2)
    await store_all(world, *(measured(f"o{each}", "a", status="final") for each in range(3)))
    found = await explained(world, "status=final&_sort=status")
    assert "Observation.status alone has 3 candidates or more" in values(found, "advice")
    world.caller.principal = caller("patient/*.rs", patient="a")
    found = await explained(world, "status=final&_sort=status")
    assert not any("candidates or more" in each for each in values(found, "advice"))


async def test_as_many_criteria_as_there_may_be_are_answered(ward: World) -> None:
    response = await ward.get(f"/Observation?{'&'.join(['status=final'] * 500)}&_total=accurate")
    assert response.status_code == 200, response.text
    assert response.json()["total"] == 25


async def test_includes_are_told_as_further_queries(ward: World) -> None:
    query = "code=8867-4&_include=Observation:subject&_revinclude:iterate=Provenance:target"
    found = values(await explained(ward, query), "include")
    assert found[0].startswith("_include Observation:subject: what the page refers to")
    assert found[1].startswith("_revinclude Provenance:target: one query for each type")
    assert found[1].endswith("and again for what it finds")


async def test_a_restricted_caller_sees_what_it_means_and_no_counts(ward: World) -> None:
    ward.caller.principal = caller("patient/*.rs", patient="a")
    queries = [f"code={LOINC}|8867-4", f"code={LOINC}|718-7", "code=none", "_sort=status"]
    for query in queries:
        found = await explained(ward, query)
        for name in ("candidates", "start", "source", "plan", "index"):
            assert values(found, name) == [], (query, name)
        assert only(found, "note").startswith("the plan and the candidates are shown")
        assert values(found, "kind")
    assert await explained(ward, queries[0]) == await explained(ward, queries[0])
    other = str(await explained(ward, queries[1])).replace("718-7", "8867-4")
    assert other == str(await explained(ward, queries[0]))


async def test_a_chain_into_what_is_restricted_shows_no_counts(ward: World) -> None:
    ward.caller.principal = caller("user/Observation.rs user/Patient.rs?gender=female")
    found = await explained(ward, "subject:Patient.name=chal")
    assert values(found, "candidates") == []
    found = await explained(ward, f"code={LOINC}|8867-4")
    assert values(found, "candidates") == [3]


async def test_it_needs_the_right_to_search_the_type(ward: World) -> None:
    ward.caller.principal = caller("user/Observation.r user/Patient.rs")
    response = await ward.get("/Observation/$explain?code=x")
    assert response.status_code == 403
    assert "Observation.s" in response.text


async def test_it_takes_a_parameters_resource(ward: World) -> None:
    response = await ward.post("/Observation/$explain", parameters(code_string="8867-4"))
    assert response.status_code == 200, response.text
    assert values(response.json(), "candidates") == [3]


async def test_it_is_not_for_transactions(ward: World) -> None:
    entry = {"request": {"method": "GET", "url": "Observation/$explain?code=x"}}
    response = await ward.post("", transaction(entry, post(observation())))
    assert response.status_code == 400
    assert "$explain inside a transaction" in response.text


async def test_each_type_has_it_and_its_answer_is_recorded(ward: World) -> None:
    statement = (await ward.get("/metadata")).json()["rest"][0]
    found = {each["type"]: each.get("operation", []) for each in statement["resource"]}
    assert all(any(each["name"] == "explain" for each in found[type]) for type in found)
    await explained(ward, "code=x")
    assert (await ward.journal())[-1]["outcome"] != "refused"
