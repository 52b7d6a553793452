"""What searching means at the moment, where custom parameters come and go: one immutable registry
and its extractor, put in place together."""

from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.search.compiled import compiled
from fhir_server.search.expression import Terms
from fhir_server.search.registry import Progress, Registry, Row

Extract = Callable[[dict[str, Any]], Terms]


class LiveSearch:
    """Holds the registry of now; `extractor` makes the extractor of a registry."""

    def __init__(self, extractor: Callable[[Registry], Extract]) -> None:
        self.progress = Progress()
        self._extractor = extractor
        registry = Registry(progress=self.progress)
        self._held = (registry, extractor(registry))

    @property
    def now(self) -> Registry:
        """The registry of now. A request keeps the one that it began with."""
        return self._held[0]

    def extract(self, resource: dict[str, Any]) -> Terms:
        """The terms of a resource, by the registry of now."""
        return self._held[1](resource)

    def replace(self, custom: Mapping[str, Row], pending: frozenset[str]) -> None:
        """Put a registry with these custom definitions in place, unless it is there already."""
        before = self.now
        known = {url: row for url, row in before.rows().items() if before.is_custom(url)}
        if known == custom and before.pending == pending:
            return
        registry = before.with_custom(custom.values(), pending)
        self._held = (registry, self._extractor(registry))
        # What was compiled for registries that are gone takes memory only.
        compiled.cache_clear()
