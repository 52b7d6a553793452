"""Sort orders and keyset paging, on both stores."""

import itertools
import random

import pytest

from fhir_server.search.expression import HasTerm, Query, SortKey, Terms
from fhir_server.storage.port import Draft, ResourceStore
from tests.stores import draft, put, version

DATE = SortKey("Observation.date")
DATE_DOWN = SortKey("Observation.date", is_descending=True)
STATUS = SortKey("Observation.status")
STATUS_DOWN = SortKey("Observation.status", is_descending=True)
UPDATED_DOWN = SortKey("Observation._lastUpdated", is_descending=True)

VALUES: dict[str, dict[str, str]] = {
    "a": {"date": "3", "status": "x"},
    "b": {"date": "1"},
    "c": {"status": "y"},
    "d": {"date": "3", "status": "\U0001f600"},
    "e": {},
    "f": {"date": "2", "status": "x"},
    "g": {"date": "", "status": "ￜ"},
    "h": {"date": "3"},
}


@pytest.fixture
async def ward(store: ResourceStore) -> ResourceStore:
    """Observations with and without the values to sort by."""
    names = list(VALUES)
    random.Random(7).shuffle(names)
    await put(
        store,
        *(draft(f"Observation/{name}", 1, ("code", "x"), **VALUES[name]) for name in names),
    )
    await put(store, draft("Patient/z", 1, date="0"))
    return store


async def pages(store: ResourceStore, sort: tuple[SortKey, ...], size: int) -> str:
    """All ids in order, read page by page."""
    found: list[str] = []
    after = None
    for _ in range(len(VALUES) + 1):
        page = await store.find(
            Query("Observation", HasTerm("Observation.code", "x"), sort, size, after)
        )
        assert len(page.matches) <= size
        found += [each.key.id for each in page.matches]
        after = page.next
        if after is None:
            return "".join(found)
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("size", [1, 2, 3, 8, 50])
@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ((), "abcdefgh"),
        ((DATE,), "gbfadhce"),
        ((DATE_DOWN,), "adhfbgce"),
        ((STATUS,), "afcgdbeh"),
        ((STATUS_DOWN,), "dgcafbeh"),
        ((DATE, STATUS), "gbfadhce"),
        ((DATE_DOWN, STATUS_DOWN), "dahfbgce"),
        ((STATUS, DATE_DOWN), "afcgdhbe"),
        ((STATUS_DOWN, DATE), "dgcfabhe"),
    ],
)
async def test_pages_join_to_the_whole_order(
    ward: ResourceStore, sort: tuple[SortKey, ...], ids: str, size: int
) -> None:
    assert await pages(ward, sort, size) == ids


@pytest.mark.parametrize("code", ["date", "status"])
async def test_ascending_takes_the_lowest_and_descending_the_highest(
    store: ResourceStore, code: str
) -> None:
    for id_, low, high in (("a", "1", "9"), ("b", "2", "3")):
        sort = {f"Observation.{code}": (low, high)}
        await put(store, Draft(version(f"Observation/{id_}"), Terms((), (), sort)))
    for is_descending in (False, True):
        query = Query("Observation", sort=(SortKey(f"Observation.{code}", is_descending),))
        assert [each.key.id for each in (await store.find(query)).matches] == ["a", "b"]


async def test_ties_of_a_descending_order_go_by_ascending_id(store: ResourceStore) -> None:
    await put(store, *(draft(f"Observation/{id_}", 1, _lastUpdated="5") for id_ in "bac"))
    query = Query("Observation", sort=(UPDATED_DOWN,), limit=2)
    page = await store.find(query)
    assert [each.key.id for each in page.matches] == ["a", "b"]
    assert page.next == ("5", "b")


async def test_a_page_goes_on_after_what_was_deleted_or_added_meanwhile(
    ward: ResourceStore,
) -> None:
    query = Query("Observation", sort=(DATE,), limit=3)
    page = await ward.find(query)
    assert [each.key.id for each in page.matches] == ["g", "b", "f"]
    await put(ward, Draft(version("Observation/f", 2, method="DELETE")))
    await put(ward, draft("Observation/aa", 1, date="1"), draft("Observation/zz", 1, date="2"))
    rest = await ward.find(Query("Observation", sort=(DATE,), limit=50, after=page.next))
    assert "".join(each.key.id for each in rest.matches) == "zzadhce"


async def test_a_full_last_page_has_no_next(ward: ResourceStore) -> None:
    for sort in itertools.chain([()], itertools.combinations((DATE, STATUS_DOWN), 1)):
        page = await ward.find(Query("Observation", sort=sort, limit=len(VALUES)))
        assert len(page.matches) == len(VALUES)
        assert page.next is None


async def test_no_page_at_all_has_no_matches(ward: ResourceStore) -> None:
    page = await ward.find(Query("Observation", limit=0))
    assert page.matches == ()
    assert await ward.count(Query("Observation", limit=0)) == len(VALUES)


async def test_a_name_that_is_no_parameter_is_refused(ward: ResourceStore) -> None:
    with pytest.raises(ValueError, match="not a sortable parameter"):
        await ward.find(Query("Observation", sort=(SortKey("Observation.a'b"),)))
