"""How a store would answer a query, on either store: from what it starts, by which indexes, and
how many candidates some tests have."""

import pytest

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    Shares,
    SortKey,
    Together,
    Within,
)
from fhir_server.storage import port
from fhir_server.storage.port import Explanation, ResourceStore
from fhir_server.storage.sqlite import explain as sqlite_explain
from tests.stores import Place, draft, put

RARE = HasTerm("Observation.code", "rare")
COMMON = HasTerm("Observation.code", "common")
INDEXES = {
    "terms": {"sqlite": "term", "mongodb": "terms_1"},
    "date": {"sqlite": "resource_by_date_low", "mongodb": "type_1_sort.date.low_1__id_1"},
}


@pytest.fixture
async def ward(store: ResourceStore) -> ResourceStore:
    await put(
        store,
        draft("Patient/a", 1, ("name", "anna")),
        *(
            draft(f"Observation/{each}", 1, *_terms(each), date=f"{each:04}", status="final")
            for each in range(60)
        ),
    )
    return store


def _terms(number: int) -> list[tuple[str, str]]:
    code = "rare" if number < 2 else "common"
    return [("code", code), ("subject", "Patient/a"), ("date<", f"{number:04}")]


async def explained(
    store: ResourceStore, where: Expression, *sort: SortKey
) -> tuple[Explanation, set[str]]:
    found = await store.explain(Query("Observation", where, sort, limit=5))
    return found, {index for step in found.steps for index in step.indexes}


async def test_few_candidates_are_where_a_sorted_search_starts(
    ward: ResourceStore, place: Place
) -> None:
    found, indexes = await explained(ward, RARE, SortKey("Observation.status"))
    assert found.start == "terms"
    assert INDEXES["terms"][place.kind] in indexes
    assert found.candidates == ((RARE, 2),)
    assert found.source in (RARE, None)


async def test_candidates_are_counted_for_each_test_in_chains_too(ward: ResourceStore) -> None:
    named = HasRange("Patient.name", "a", "b")
    chain = LinksTo("Observation.subject", "Patient", named)
    both = AllOf((COMMON, Not(RARE), chain, AnyOf((HasTerm("Observation.code", "none"), COMMON))))
    found, _ = await explained(ward, both)
    assert dict(found.candidates) == {
        COMMON: 58,
        RARE: 2,
        named: 1,
        HasTerm("Observation.code", "none"): 0,
    }


async def test_candidates_are_counted_up_to_a_limit(
    ward: ResourceStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhir_server.storage.mongo import explain as mongo_explain

    for module in (port, sqlite_explain, mongo_explain):
        monkeypatch.setattr(module, "COUNTED_TO", 7)
    found, _ = await explained(ward, AllOf((COMMON, RARE)))
    assert dict(found.candidates) == {COMMON: 7, RARE: 2}


async def test_an_order_with_an_index_is_walked(ward: ResourceStore, place: Place) -> None:
    found, indexes = await explained(ward, AllOf(), SortKey("Observation.date"))
    assert (found.start, found.source) == ("order", None)
    assert INDEXES["date"][place.kind] in indexes
    other, _ = await explained(ward, AllOf(), SortKey("Observation.date", is_descending=True))
    assert other.start == "order"


async def test_an_order_without_an_index_looks_at_all(ward: ResourceStore) -> None:
    found, _ = await explained(ward, AllOf(), SortKey("Observation.status"))
    assert found.start == "all"
    assert any("ORDER BY" in line or "SORT" in line for line in found.steps[0].plan)
    several, _ = await explained(
        ward, AllOf(), SortKey("Observation.status"), SortKey("Observation.date")
    )
    assert several.start == "all"


async def test_the_plan_shows_no_value_of_the_search(ward: ResourceStore) -> None:
    secret = HasTerm("Observation.code", "secret-code")
    found, _ = await explained(ward, AllOf((secret, HasRange("Observation.code", "secret", None))))
    assert "secret" not in repr(found.steps)


CELLS = (("a", "b"),)


@pytest.mark.parametrize(
    "where",
    [
        HasText("Observation.code", "are"),
        HasAnyTerm("Observation.code", frozenset({"rare", "other"})),
        Within("Observation.near", CELLS, 1.0, 2.0, 3.0),
        Together("Observation.pair", (RARE,)),
        LinksTo("Observation.subject", "Patient", HasText("Patient.name", "n")),
        LinkedFrom("Observation", "Observation.has-member", RARE),
        Shares("Observation.code", "Observation", "Observation.code", RARE),
        Not(LinksTo("Observation.subject", "Patient", AllOf())),
        AnyOf((RARE, AllOf((COMMON, Not(RARE))))),
        AnyOf(),
    ],
)
async def test_every_expression_can_be_explained(ward: ResourceStore, where: Expression) -> None:
    found, _ = await explained(ward, where)
    assert found.start is not None
    assert all(step.plan for step in found.steps)
    second = Query("Observation", where, limit=5, after=("7",))
    assert (await ward.explain(second)).steps


async def test_an_empty_store_explains_too(store: ResourceStore) -> None:
    found, _ = await explained(store, RARE)
    assert found.candidates == ((RARE, 0),)
