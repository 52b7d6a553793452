"""One page of several types' searches, in one order (R4 Search, "Search Context")."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_server.search import several
from fhir_server.search.expression import Query
from fhir_server.search.several import After
from fhir_server.storage.port import Page, ResourceStore, Stored


@dataclass(frozen=True, slots=True)
class _Found:
    place: After
    stored: Stored


async def find(store: ResourceStore, queries: Mapping[str, Query], after: After | None) -> Page:
    """The page after the place `after` of what the queries, by type in order, find together.
    All have the same page size and like sort keys."""
    queries_left = _left(queries, after)
    if not queries_left:
        return Page(())
    limit = queries_left[0].limit
    is_sorted = bool(queries_left[0].sort)
    found: list[_Found] = []
    for query in queries_left:
        # Without sort keys the types follow one another; one match too many tells of a next page.
        room = limit + 1 if is_sorted else limit + 1 - len(found)
        if room <= 0:
            break
        page = await store.find(replace(query, limit=room))
        found.extend(
            _Found(several.place(query, place), stored)
            for place, stored in zip(page.places, page.matches, strict=True)
        )
    if is_sorted:
        order = several.order(queries_left[0].sort)
        found.sort(key=lambda each: order(each.place))  # type: ignore[arg-type,return-value]
    matches = found[:limit]
    more = matches[-1].place if len(found) > limit else None
    return Page(tuple(each.stored for each in matches), more)


def _left(queries: Mapping[str, Query], after: After | None) -> list[Query]:
    if after is None:
        return list(queries.values())
    continued = (several.continued(query, after) for query in queries.values())
    return [query for query in continued if query is not None]
