"""Long lists at our own server, a page of the search at a time: nothing is cut in silence, and a
reader whose time is up says where another one goes on."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from smart_app.fhir_client import (
    UNREADABLE,
    FhirClient,
    FhirFailure,
    Resource,
    first_page,
    matches_of,
    next_page,
)
from smart_app.visit import Visit

Query = Mapping[str, str] | Sequence[tuple[str, str]]
AT_MOST = timedelta(seconds=8)
"""So long one page of the app reads a list."""


@dataclass(frozen=True)
class Part:
    """The matches of one page of a search; `following` is where the next one begins (empty at the
    end of the list), `total` how many there are where the server said so."""

    matches: tuple[Resource, ...]
    following: str
    total: int | None


async def in_time(visit: Visit, type_: str, query: Query, start: str = "") -> AsyncIterator[Part]:
    """The parts of a list from `start` (a `following`) on, until it ends or the time is up."""
    until = visit.parts.clock() + AT_MOST
    while True:
        part = await _part(visit.fhir, type_, query, start)
        yield part
        if not part.following or visit.parts.clock() >= until:
            return
        start = part.following


async def every(visit: Visit, type_: str, query: Query) -> list[Resource]:
    """All matches, however many: for lists that the query keeps short."""
    part = await _part(visit.fhir, type_, query, "")
    found = [*part.matches]
    while part.following:
        part = await _part(visit.fhir, type_, query, part.following)
        found += part.matches
    return found


async def _part(fhir: FhirClient, type_: str, query: Query, start: str) -> Part:
    asked = [*(query.items() if isinstance(query, Mapping) else query)]
    asked += [("_cursor", start)] if start else []
    page = await first_page(fhir, type_, asked)
    link = next_page(page)
    following = parse_qs(urlsplit(link).query).get("_cursor", [""])[0] if link else ""
    if link and not following:
        raise FhirFailure(UNREADABLE, (("the list does not say where it goes on", ""),))
    return Part(tuple(matches_of(page)), following, page.get("total"))
