"""The past as one caller may see it: without the hidden versions, in full pages."""

from dataclasses import dataclass, field, replace

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import too_costly
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression
from fhir_server.security.judge import Judge
from fhir_server.security.scopes import Action
from fhir_server.storage.port import HistoryPage, Key, Past, ResourceStore, Stored

MOST_LOOKED_AT = 10_000
"""Versions that are judged for one page; beyond that it is refused as too costly."""


async def guarded_history(store: ResourceStore, judge: Judge, past: Past) -> HistoryPage:
    """As the store's, without the hidden versions. A version is hidden when it, or the resource
    as it is now, lies outside what the caller may read; in the history of types, outside what the
    caller may search (SMART: those come under `s`). Pages are full and the last has no next, so
    that their sizes tell nothing."""
    types = [past.key.type] if past.key else past.types or sorted(resource_types())
    action: Action = "r" if past.key else "s"
    views = {type: judge.access.filter(type, action) for type in types}
    if all(view == EVERYTHING for view in views.values()):
        return await store.history(past)
    seen = tuple(type for type, view in views.items() if view != NOTHING)
    if not seen:
        return HistoryPage(())
    if past.key is None:
        past = replace(past, types=seen)
    return await _page(_Sight(store, judge, views), past)


@dataclass
class _Sight:
    """What the caller sees; what was found of a resource as it is now is kept for the page."""

    store: ResourceStore
    judge: Judge
    views: dict[str, Expression]
    _current: dict[Key, bool] = field(default_factory=dict)

    async def sees(self, version: Stored) -> bool:
        """Whether the version is the caller's to see."""
        key = version.key
        view = self.views[key.type]
        if key not in self._current:
            self._current[key] = view == EVERYTHING or await self.judge.sees_current(
                self.store, key, view
            )
        return self._current[key] and await self.judge.sees(self.store, version, view)


async def _page(sight: _Sight, past: Past) -> HistoryPage:
    versions: list[Stored] = []
    places: list[str] = []
    place, looked_at = past.before, 0
    while looked_at < MOST_LOOKED_AT:
        page = await sight.store.history(replace(past, before=place))
        looked_at += len(page.versions)
        for version, after in zip(page.versions, page.places, strict=True):
            if not await sight.sees(version):
                continue
            if len(versions) == past.limit:
                return HistoryPage(tuple(versions), places[-1], tuple(places))
            versions.append(version)
            places.append(after)
        if page.next is None:
            return HistoryPage(tuple(versions), None, tuple(places))
        place = page.next
    raise too_costly("too many versions lie in this history; name a type or a later _since")
