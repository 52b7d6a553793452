"""A resource → the terms that searches find it by."""

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.search import terms
from fhir_server.search.canonical import name_terms
from fhir_server.search.compiled import CompiledType, Composite, Node, compiled, passes
from fhir_server.search.contained import NOT_CONTAINERS, inside
from fhir_server.search.expression import Terms, TermTuple, TupleOfTerms
from fhir_server.search.full_text import word_terms
from fhir_server.search.kinds.asked import Encoder, Entry, Extraction
from fhir_server.search.registry import Registry
from fhir_server.search.remembered import Part, Remembered, key_of

_IN_COMPOSITES = frozenset(
    form + bound for form in ("", "|", ":unit", "~") for bound in ("", "<", ">")
)
"""Suffixes that the tests of a component without modifier look at."""

_ALWAYS_PRESENT = frozenset({"_id", "_lastUpdated"})


_NOTHING: Mapping[Encoder, Entry] = {}


class Extractor:
    """Makes the terms of resources. Parameters of a type are compiled at its first resource."""

    def __init__(self, registry: Registry, base_url: str) -> None:
        self._registry = registry
        self._own_url = base_url.rstrip("/") + "/"
        self._known = Remembered()

    def __call__(self, resource: Mapping[str, Any]) -> Terms:
        """All terms, tuples and sort keys of a resource that has its id and meta already."""
        type_ = resource["resourceType"]
        plan = compiled(self._registry, type_)
        sink = _Sink(Extraction(resource, self._own_url))
        # Elsewhere the terms of a value depend on nothing but the value.
        is_local = type_ != "Bundle" and "contained" not in resource
        parts = self._walk(plan, sink, self._known if is_local else None)
        sink.compose(plan.root, resource)
        for properties, output in plan.booleans:
            is_set = any(resource.get(name, False) is not False for name in properties)
            sink.terms.append((output.key, terms.joined("true" if is_set else "false", "")))
            sink.terms.append(output.present)
        sink.terms += word_terms(resource)
        sink.terms += name_terms(resource)
        if "contained" in resource and type_ not in NOT_CONTAINERS:
            found, tuples = inside(resource, self, sink.terms)
            sink.terms += found
            sink.tuples += tuples
        parts.append(_part(plan, sink.terms, sink.tuples))
        return _together(parts, terms.has_key(type_))

    def _walk(self, plan: CompiledType, sink: "_Sink", known: Remembered | None) -> list[Part]:
        """Look at the values of the resource's own properties, but not again at those that were
        seen lately: what these give is returned, the rest stays in the sink."""
        children, parts = plan.root.children, []
        for name, inner in sink.extraction.resource.items():
            node = children.get(name)
            if node is None:
                continue
            for value in inner if isinstance(inner, list) else (inner,):
                part = _part_of_value(plan, node, value, (sink, known))
                if part is not None:
                    parts.append(part)
        return parts


def _part_of_value(
    plan: CompiledType, node: Node, value: Any, to: "tuple[_Sink, Remembered | None]"
) -> Part | None:
    """What the value gives, if it was seen before; None once it is in the sink."""
    sink, known = to
    if known is None or type(value) is not dict:
        if value is not None:
            sink.visit(node, value)
        return None
    key = key_of(node, value)
    part = known.get(key)
    if part is not None:
        if part.entries:
            sink.recall(value, part.entries)
        return part
    first, first_tuple = len(sink.terms), len(sink.tuples)
    sink.visit(node, value)
    if known.is_new(key):
        return None
    entries = sink.entries_of(node, value) if plan.root.composites else {}
    part = _part(plan, sink.terms[first:], sink.tuples[first_tuple:], entries)
    del sink.terms[first:], sink.tuples[first_tuple:]
    known.put(key, part)
    return part


def _part(
    plan: CompiledType,
    found: Iterable[TermTuple],
    tuples: Iterable[TupleOfTerms],
    entries: Mapping[Encoder, Entry] = _NOTHING,
) -> Part:
    different = dict.fromkeys(found)
    return Part(different, tuple(tuples), *_bounds(plan, different), entries)


def _together(parts: Iterable[Part], presence: str) -> Terms:
    """The parts of one resource as its terms; `presence` is the key of what is there."""
    found: dict[TermTuple, None] = {}
    tuples: dict[TupleOfTerms, None] = {}
    lowest: dict[str, str] = {}
    highest: dict[str, str] = {}
    for part in parts:
        found.update(part.terms)
        if part.tuples:
            tuples.update(dict.fromkeys(part.tuples))
        for parameter, value in part.lowest.items():
            if value < lowest.setdefault(parameter, value):
                lowest[parameter] = value
        for parameter, value in part.highest.items():
            if value > highest.setdefault(parameter, value):
                highest[parameter] = value
    for code in _ALWAYS_PRESENT:
        found.pop((presence, code), None)
    sort = {key: (low, highest[key]) for key, low in lowest.items()}
    return Terms(tuple(found), tuple(tuples), sort)


def _bounds(
    plan: CompiledType, found: Iterable[TermTuple]
) -> tuple[dict[str, str], dict[str, str]]:
    """The lowest and the highest term of each parameter that can be sorted by."""
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
    return lowest, highest


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

    def entries_of(self, node: Node, value: dict[str, Any]) -> dict[Encoder, Entry]:
        """The terms that an object gave as a whole, for `recall`."""
        return {encoder: self.encoded[id(value), encoder] for encoder in node.leaves}

    def recall(self, value: Any, entries: Mapping[Encoder, Entry]) -> None:
        """Take in what another object with the same content gave."""
        for encoder, entry in entries.items():
            self.encoded[id(value), encoder] = entry

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
        self.compose(node, value)

    def compose(self, node: Node, value: Mapping[str, Any]) -> None:
        """Look at the composites that an object is the element of."""
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
