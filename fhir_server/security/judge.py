"""Whether a caller may touch one version of a resource; shared by guarded store and unit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fhir_server.fhir.codec import parse
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, Query, all_of
from fhir_server.security.access import Access
from fhir_server.security.visibility import guarded, passes
from fhir_server.storage.port import Key, Page, Stored, Terms

Extract = Callable[[dict[str, Any]], Terms]


class Reader(Protocol):
    """The unguarded reads that a judgement needs; a store and a transaction have them."""

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        """As `ResourceStore.get`."""

    async def find(self, query: Query) -> Page:
        """As `ResourceStore.find`."""


@dataclass(frozen=True)
class Judge:
    """Judges for one caller, by terms extracted anew; where nothing is narrowed none are."""

    access: Access
    extract: Extract

    def narrowed(self, query: Query) -> Query:
        """The query as it may be asked: the filter in front and in every hop."""
        where = guarded(query.where, lambda type_: self.access.filter(type_, "s"))
        return replace(query, where=all_of([self.access.filter(query.type, "s"), where]))

    async def readable(self, reader: Reader, key: Key, version: int | None) -> Stored | None:
        """The version if the caller may read it; None as if it did not exist."""
        view = self.access.filter(key.type, "r")
        if view == NOTHING:
            return None
        stored = await reader.get(key, version)
        if stored is None or view == EVERYTHING:
            return stored
        if version is not None and not await self.sees_current(reader, key, view):
            return None
        return stored if await self.sees(reader, stored, view) else None

    async def sees_current(self, reader: Reader, key: Key, view: Expression) -> bool:
        """Whether the resource as it is now belongs to the view: with it goes its history."""
        if view in (EVERYTHING, NOTHING):
            return view == EVERYTHING
        current = await reader.get(key)
        return current is not None and await self.sees(reader, current, view)

    async def sees(self, reader: Reader, stored: Stored, view: Expression) -> bool:
        """Whether this version belongs to the view; a deleted one as what it was before."""
        if view in (EVERYTHING, NOTHING):
            return view == EVERYTHING
        if stored.is_deleted:
            before = await reader.get(stored.key, stored.version - 1)
            return (
                before is not None
                and not before.is_deleted
                and await self.sees(reader, before, view)
            )
        return await passes(view, self.extract(parse(stored.body)), reader.find)
