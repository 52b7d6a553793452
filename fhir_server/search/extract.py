"""A resource → the terms that searches find it by."""

from collections.abc import Mapping
from typing import Any

from fhir_server.search import terms
from fhir_server.search.compiled import CompiledType, Composite, Node, compiled, passes
from fhir_server.search.expression import Terms, TermTuple, TupleOfTerms
from fhir_server.search.kinds.asked import Extraction
from fhir_server.search.registry import Registry

_IN_COMPOSITES = frozenset({"", "<", ">", "|", "|<", "|>", ":unit", ":unit<", ":unit>"}) | {
    "~",
    "~<",
    "~>",
}
"""Suffixes that the tests of a component without modifier look at."""

_ALWAYS_PRESENT = frozenset({"_id", "_lastUpdated"})


class Extractor:
    """Makes the terms of resources. Parameters of a type are compiled at its first resource."""

    def __init__(self, registry: Registry, base_url: str) -> None:
        self._registry = registry
        self._own_url = base_url.rstrip("/") + "/"

    def __call__(self, resource: Mapping[str, Any]) -> Terms:
        """All terms, tuples and sort keys of a resource that has its id and meta already."""
        type_ = resource["resourceType"]
        plan = compiled(self._registry, type_)
        sink = _Sink(Extraction(resource, self._own_url))
        sink.descend(plan.root, resource)
        for properties, output in plan.booleans:
            is_set = any(resource.get(name, False) is not False for name in properties)
            sink.terms.append((output.key, terms.joined("true" if is_set else "false", "")))
            sink.present.add(output.code)
        own = terms.has_key(type_)
        sink.terms.extend((own, code) for code in sink.present - _ALWAYS_PRESENT)
        return Terms(
            terms=tuple(dict.fromkeys(sink.terms)),
            tuples=tuple(dict.fromkeys(sink.tuples)),
            sort=_sort_keys(plan, sink.terms),
        )


def _sort_keys(plan: CompiledType, found: list[TermTuple]) -> dict[str, tuple[str, str]]:
    lowest: dict[str, str] = {}
    highest: dict[str, str] = {}
    sorts = plan.sorts
    for key, value in found:
        parameter = sorts.get(key)
        if parameter is None:
            continue
        if len(value) > terms.SORT_LENGTH:
            value = value[: terms.SORT_LENGTH]
        if key[-1] != ">":
            known = lowest.get(parameter)
            if known is None or value < known:
                lowest[parameter] = value
        if key[-1] != "<":
            known = highest.get(parameter)
            if known is None or value > known:
                highest[parameter] = value
    return {key: (low, highest[key]) for key, low in lowest.items()}


class _Sink:
    """Collects what one walk finds."""

    __slots__ = ("extraction", "present", "terms", "tuples")

    def __init__(self, extraction: Extraction) -> None:
        self.extraction = extraction
        self.terms: list[TermTuple] = []
        self.tuples: list[TupleOfTerms] = []
        self.present: set[str] = set()

    def descend(self, node: Node, value: Mapping[str, Any]) -> None:
        """Look at the properties of an object, and at the composites that it is the element
        of."""
        children = node.children
        for name, inner in value.items():
            child = children.get(name)
            if child is None:
                continue
            if isinstance(inner, list):
                for each in inner:
                    if each is not None:
                        self.visit(child, each)
            elif inner is not None:
                self.visit(child, inner)
        for composite in node.composites:
            self.together(composite, value)

    def visit(self, node: Node, value: Any) -> None:
        """Look at one value: its own terms, then inside."""
        for encoder, outputs in node.leaves.items():
            entry = encoder(value, self.extraction)
            for output in outputs:
                key = output.key
                self.present.add(output.code)
                found = [(key + suffix, term) for suffix, term in entry]
                self.terms.extend(found)
                if output.keeps_bounds and any(name[-1] == "<" for name, _ in found):
                    self.tuples.append(TupleOfTerms(key, tuple(found)))
        if (node.children or node.composites) and isinstance(value, dict):
            self.descend(node, value)
        for step, inner in node.filtered.items():
            if passes(step, value, self.extraction):
                self.visit(inner, value)

    def together(self, composite: Composite, value: Mapping[str, Any]) -> None:
        """One tuple, when every component has a value."""
        found: list[TermTuple] = []
        # The last component is the value, more often missing than the code before it.
        for here, from_root in reversed(composite.components):
            part = _Sink(self.extraction)
            part.descend(here, value)
            part.descend(from_root, self.extraction.resource)
            kept = [term for term in part.terms if _suffix(term[0]) in _IN_COMPOSITES]
            if not kept:
                return
            found.extend(kept)
        self.present.add(composite.output.code)
        self.tuples.append(TupleOfTerms(composite.output.key, tuple(dict.fromkeys(found))))


def _suffix(key: str) -> str:
    """What follows `Type.code` in a key."""
    for index, each in enumerate(key):
        if each in "|:<>~=+":
            return key[index:]
    return ""
