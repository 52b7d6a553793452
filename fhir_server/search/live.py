"""What searching means at the moment, where custom parameters come and go: one immutable registry
and its extractor, put in place together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.search.compiled import compiled
from fhir_server.search.expression import Terms
from fhir_server.search.registry import Progress, Registry, Row

Extract = Callable[[dict[str, Any]], Terms]


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """A registry and the extractor by it, known by identity. `in_hand` has the same parameters
    and takes none as unready: what is judged in hand needs no index."""

    registry: Registry
    extract: Extract
    in_hand: Registry


class LiveSearch:
    """Holds what is known now; `extractor` makes the extractor of a registry."""

    def __init__(
        self, extractor: Callable[[Registry], Extract], registry: Registry | None = None
    ) -> None:
        self._extractor = extractor
        first = registry or Registry()
        self.known = Known(first, extractor(first), first)

    @property
    def now(self) -> Registry:
        """The registry of now. A request keeps the one that it began with."""
        return self.known.registry

    @property
    def progress(self) -> Progress:
        """How far the indexing has come, as refusals tell it."""
        return self.now.progress

    def extract(self, resource: dict[str, Any]) -> Terms:
        """The terms of a resource, by the registry of now."""
        return self.known.extract(resource)

    def replace(self, custom: Mapping[str, Row], pending: frozenset[str]) -> None:
        """Put a registry with these custom definitions in place, unless it is there already."""
        before = self.now
        if before.custom == custom and before.pending == pending:
            return
        in_hand = before.with_custom(custom.values())
        registry = before.with_custom(custom.values(), pending) if pending else in_hand
        self.known = Known(registry, self._extractor(registry), in_hand)
        # What was compiled for registries that are gone takes memory only.
        compiled.cache_clear()
