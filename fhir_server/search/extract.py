"""A resource → the terms that searches find it by."""

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.search import terms
from fhir_server.search.compiled import CompiledType, Composite, Node, compiled, passes
from fhir_server.search.expression import Terms, TermTuple, TupleOfTerms
from fhir_server.search.kinds.asked import Encoder, Entry, Extraction
from fhir_server.search.registry import Registry

_IN_COMPOSITES = frozenset(
    form + bound for form in ("", "|", ":unit", "~") for bound in ("", "<", ">")
)
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
            sink.terms.append(output.present)
        found = dict.fromkeys(sink.terms)
        own = terms.has_key(type_)
        for code in _ALWAYS_PRESENT:
            found.pop((own, code), None)
        return Terms(
            terms=tuple(found),
            tuples=tuple(dict.fromkeys(sink.tuples)) if sink.tuples else (),
            sort=_sort_keys(plan, found),
        )


def _sort_keys(plan: CompiledType, found: Iterable[TermTuple]) -> dict[str, tuple[str, str]]:
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

    __slots__ = ("encoded", "extraction", "terms", "tuples")

    def __init__(self, extraction: Extraction) -> None:
        self.extraction = extraction
        self.terms: list[TermTuple] = []
        self.tuples: list[TupleOfTerms] = []
        self.encoded: dict[tuple[int, Encoder], Entry] = {}

    def encode(self, encoder: Encoder, value: Any) -> Entry:
        """The terms of a value; what composites ask for again is not made again."""
        place = (id(value), encoder)
        entry = self.encoded.get(place)
        if entry is None:
            entry = self.encoded[place] = encoder(value, self.extraction)
        return entry

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
            if not value.keys().isdisjoint(composite.needed):
                self.together(composite, value)

    def visit(self, node: Node, value: Any) -> None:
        """Look at one value: its own terms, then inside."""
        for encoder, outputs in node.leaves.items():
            # What is no object is cheap to encode and no part of a composite worth keeping.
            is_object = isinstance(value, dict)
            entry = self.encode(encoder, value) if is_object else encoder(value, self.extraction)
            for output in outputs:
                keys = output.keys
                found = [(keys[suffix], term) for suffix, term in entry]
                found.append(output.present)
                self.terms.extend(found)
                if output.keeps_bounds and entry and entry[0][0] == "<":
                    self.tuples.append(TupleOfTerms(output.key, tuple(found[:-1])))
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
            count = len(found)
            self.gather(here, value, found)
            if from_root.children:
                self.gather(from_root, self.extraction.resource, found)
            if len(found) == count:
                return
        self.terms.append(composite.output.present)
        self.tuples.append(TupleOfTerms(composite.output.key, tuple(dict.fromkeys(found))))

    def gather(self, node: Node, value: Mapping[str, Any], found: list[TermTuple]) -> None:
        """The terms of a component below an object."""
        for name, child in node.children.items():
            inner = value.get(name)
            if inner is None:
                continue
            for each in inner if isinstance(inner, list) else (inner,):
                for encoder, outputs in child.leaves.items():
                    entry = self.encode(encoder, each)
                    for output in outputs:
                        keys = output.keys
                        found += [
                            (keys[suffix], term)
                            for suffix, term in entry
                            if suffix in _IN_COMPOSITES
                        ]
                if child.children and isinstance(each, dict):
                    self.gather(child, each, found)
