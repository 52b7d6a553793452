"""What the embedded store asks SQLite: within the limits of its parser, whatever the search."""

from pathlib import Path

import pytest

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasTerm,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
)
from fhir_server.storage.port import Key, ResourceStore, Terms
from fhir_server.storage.sqlite.store import SqliteStore
from tests.stores import Draft, put, version

DEPTH = 5
MANY = 40_000


@pytest.fixture
async def store(tmp_path: Path) -> ResourceStore:
    return SqliteStore.open(tmp_path / "store.sqlite")


def link(id_: str, target: str | None) -> Draft:
    """An Observation that belongs to ward `w` and may have a member."""
    terms = [("Observation._id", id_), ("Observation.ward", "w")]
    if target is not None:
        terms.append(("Observation.has-member", f"Observation/{target}"))
    return Draft(version(f"Observation/{id_}"), Terms(tuple(terms)))


def guarded(test: Expression) -> Expression:
    """As the guard narrows what a link may reach: one of many wards, and not hidden."""
    wards = AnyOf((HasTerm("Observation.ward", "w"), HasTerm("Observation.ward", "v")))
    return AllOf((wards, Not(HasTerm("Observation.hidden", "true")), test))


async def found(store: ResourceStore, where: Expression) -> list[str]:
    query = Query("Observation", where)
    page = await store.find(query)
    assert await store.count(query) == len(page.matches)
    return [each.key.id for each in page.matches]


def chain(end: Expression, depth: int = DEPTH) -> Expression:
    for _ in range(depth):
        end = LinksTo("Observation.has-member", "Observation", guarded(end))
    return end


def reverse_chain(end: Expression, depth: int = DEPTH) -> Expression:
    for _ in range(depth):
        end = LinkedFrom("Observation", "Observation.has-member", guarded(end))
    return end


@pytest.fixture
async def row(store: ResourceStore) -> ResourceStore:
    """o0 → o1 → … → o6, and one that ends early."""
    await put(store, *(link(f"o{at}", f"o{at + 1}" if at < 6 else None) for at in range(7)))
    await put(store, link("short", "o6"))
    return store


@pytest.mark.parametrize("end", [HasTerm("Observation._id", "o5"), AllOf()], ids=["one", "any"])
async def test_a_chain_of_five_guarded_links_finds_where_it_starts(
    row: ResourceStore, end: Expression
) -> None:
    expected = ["o0"] if isinstance(end, HasTerm) else ["o0", "o1"]

    assert await found(row, chain(end)) == expected


@pytest.mark.parametrize("end", [HasTerm("Observation._id", "o1"), AllOf()], ids=["one", "any"])
async def test_a_reverse_chain_of_five_guarded_links_finds_where_it_ends(
    row: ResourceStore, end: Expression
) -> None:
    expected = ["o6"] if isinstance(end, HasTerm) else ["o5", "o6"]

    assert await found(row, reverse_chain(end)) == expected


async def test_what_no_chain_reaches_can_be_asked_for_too(row: ResourceStore) -> None:
    assert await found(row, Not(chain(AllOf()))) == ["o2", "o3", "o4", "o5", "o6", "short"]


async def test_links_in_alternatives_in_links_stay_within_the_parser(row: ResourceStore) -> None:
    end: Expression = Not(HasTerm("Observation._id", "o9"))
    for _ in range(DEPTH):
        there = LinksTo("Observation.has-member", "Observation", AnyOf((AllOf((end,)),)))
        end = AnyOf((Not(Not(there)), guarded(there)))

    assert await found(row, end) == ["o0", "o1"]


async def test_thousands_of_values_of_one_parameter_are_one_question(row: ResourceStore) -> None:
    wanted = ["o3", "o5", *(f'absent-{number}"\\é' for number in range(MANY))]
    values = AnyOf(tuple(HasTerm("Observation._id", value) for value in wanted))

    assert await found(row, values) == ["o3", "o5"]
    assert await found(row, AllOf((HasTerm("Observation.ward", "w"), values))) == ["o3", "o5"]
    assert await found(row, chain(values, 1)) == ["o2", "o4"]


async def test_a_long_list_of_values_finds_each_of_them_as_it_is(store: ResourceStore) -> None:
    odd = ['quote"', "back\\slash", "ä", "\U0001f600", "a\x1fb", "\uffff", "tab\t"]
    await put(
        store,
        *(
            Draft(version(f"Observation/{at}"), Terms((("Observation.code", value),)))
            for at, value in enumerate(odd)
        ),
    )
    many = [f"absent-{number}" for number in range(1000)]

    everything = AnyOf(tuple(HasTerm("Observation.code", value) for value in [*odd, *many]))

    assert await found(store, everything) == [str(at) for at in range(len(odd))]


async def test_hundreds_of_tests_of_any_kind_stand_side_by_side(row: ResourceStore) -> None:
    links = AnyOf(tuple(chain(HasTerm("Observation._id", f"o{at}"), 1) for at in range(300)))
    ranges = AllOf(tuple(Not(HasTerm("Observation.ward", f"x{at}")) for at in range(300)))

    assert await found(row, AllOf((links, ranges))) == ["o0", "o1", "o2", "o3", "o4", "o5", "short"]


async def test_the_key_of_a_match_is_its_own(row: ResourceStore) -> None:
    page = await row.find(Query("Observation", HasTerm("Observation._id", "o2")))

    assert [each.key for each in page.matches] == [Key("Observation", "o2")]
