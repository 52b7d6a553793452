"""A resource → the terms that searches find it by."""

from collections.abc import Mapping
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

    __slots__ = ("encoded", "extraction", "present", "terms", "tuples")

    def __init__(self, extraction: Extraction) -> None:
        self.extraction = extraction
        self.terms: list[TermTuple] = []
        self.tuples: list[TupleOfTerms] = []
        self.present: set[str] = set()
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
            self.together(composite, value)

    def visit(self, node: Node, value: Any) -> None:
        """Look at one value: its own terms, then inside."""
        for encoder, outputs in node.leaves.items():
            entry = self.encode(encoder, value)
            for output in outputs:
                key = output.key
                self.present.add(output.code)
                self.terms.extend([(key + suffix, term) for suffix, term in entry])
                if output.keeps_bounds and any(suffix[-1:] == "<" for suffix, _ in entry):
                    pairs = tuple((key + suffix, term) for suffix, term in entry)
                    self.tuples.append(TupleOfTerms(key, pairs))
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
        self.present.add(composite.output.code)
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
                    found.extend(
                        (output.key + suffix, term)
                        for output in outputs
                        for suffix, term in entry
                        if suffix in _IN_COMPOSITES
                    )
                if child.children and isinstance(each, dict):
                    self.gather(child, each, found)
