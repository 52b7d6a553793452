"""A search, as written, over a collection of resources in hand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import product
from typing import Any

from bench.oracle.elements import Resource, Value, component_values, row, rows, values
from bench.oracle.filters import passes
from bench.oracle.quantities import moments, numbers
from bench.oracle.ranges import Range
from bench.oracle.tests_of_values import (
    NO_CODES,
    OWN_VERSION,
    TESTS,
    Codes,
    Setting,
    Test,
    codes,
    literal,
    reference_of_type,
)
from bench.oracle.texts import folded, parts, plain, strings
from bench.oracle.words import says
from fhir_server.fhir.definitions import resource_types

Pairs = Iterable[tuple[str, str]]
RESULT_PARAMETERS = frozenset({"_sort", "_count", "_total"})
ALWAYS_THERE = ("_id", "_lastUpdated")
POSITIVE = {"not": "", "not-in": "in"}
"""Modifiers that mean "has none that", and that of which."""


@dataclass
class Library:
    """The resources by `Type/id`, and the moment of the search."""

    resources: Mapping[str, Resource]
    now: datetime
    base: str
    codes: Codes = NO_CODES
    _found: dict[tuple[str, str], list[Value]] = field(default_factory=dict)

    def answer(self, type_: str, pairs: Pairs) -> list[str]:
        """The ids that match, in the order that `_sort` asks for."""
        asked = list(pairs)
        matches = [
            name
            for name in self._of_type(type_)
            if all(
                self.matches(name, *pair)
                for pair in asked
                if pair[0].partition(":")[0] not in RESULT_PARAMETERS
            )
        ]
        keys = [key for name, text in asked if name == "_sort" for key in text.split(",")]
        return [name.partition("/")[2] for name in self._sorted(sorted(matches), keys)]

    def _of_type(self, type_: str) -> list[str]:
        return [name for name in self.resources if name.startswith(type_ + "/")]

    def values(self, name: str, code: str) -> list[Value]:
        """The values of a parameter in a resource."""
        found = self._found.get((name, code))
        if found is None:
            found = values(self.resources[name], row(name.partition("/")[0], code))
            self._found[name, code] = found
        return found

    def matches(self, name: str, parameter: str, text: str) -> bool:
        """Whether the resource meets one criterion."""
        type_ = name.partition("/")[0]
        if parameter.startswith("_has:"):
            _, source, code, rest = parameter.split(":", 3)
            return any(
                name in self._links(other, code) and self.matches(other, rest, text)
                for other in self._of_type(source)
            )
        head, dot, rest = parameter.partition(".")
        code, _, modifier = head.partition(":")
        if code == "_list":
            lists = (f"List/{id_}" for id_ in text.split(","))
            return any(
                name in self._links(each, "item") for each in lists if each in self.resources
            )
        if code == "_text":
            return any(says(plain(each), self.resources[name]) for each in parts(text, ","))
        if code == "_filter":
            return self._passes(name, text)
        if dot:
            return any(
                (not modifier or target.startswith(modifier + "/"))
                and self.matches(target, rest, text)
                for target in self._links(name, code)
            )
        definition = row(type_, code)
        if modifier == "missing":
            return self._is_missing(name, definition) is (text == "true")
        if definition["type"] == "composite":
            return self._composite(name, definition, text)
        test = self._test(definition, POSITIVE.get(modifier, modifier))
        found = any(
            test(self._setting(definition), value, each)
            for value in self.values(name, code)
            for each in parts(text, ",")
        )
        return found is not (modifier in POSITIVE)

    def _passes(self, name: str, text: str) -> bool:
        """Whether the resource passes a filter."""
        type_ = name.partition("/")[0]
        return passes(
            text,
            lambda code: str(row(type_, code)["type"]),
            lambda parameter, value: self.matches(name, parameter, value),
            lambda code: [each for value in self.values(name, code) for each in strings(value)],
        )

    def _setting(self, definition: Mapping[str, Any]) -> Setting:
        return Setting(definition, self.now, self.base.rstrip("/") + "/", self.codes, self.wholes)

    def _test(self, definition: Mapping[str, Any], modifier: str) -> Test:
        kind = definition["type"]
        if kind == "reference" and modifier in resource_types():
            return reference_of_type(modifier)
        return TESTS[kind, modifier]

    def wholes(self, name: str) -> set[str]:
        """The resource, and all that it is part of."""
        found: set[str] = set()
        waiting = {name}
        while waiting:
            found |= waiting
            parents = (self.resources.get(each, {}).get("partOf", {}) for each in waiting)
            waiting = {each["reference"] for each in parents if "reference" in each} - found
        return found

    def _links(self, name: str, code: str) -> set[str]:
        """The resources that this one refers to by the parameter, `Type/id`."""
        base = self.base.rstrip("/") + "/"
        found: set[str] = set()
        for value in self.values(name, code):
            text = literal(value, base)
            if text and value.datatype == "canonical":
                found |= self._called(text)
            elif text:
                found.add(text.partition(OWN_VERSION)[0])
        return found & self.resources.keys()

    def _called(self, canonical: str) -> set[str]:
        """The resources that a canonical names; without a version it means any of them."""
        url, _, version = canonical.partition("|")
        return {
            name
            for name, each in self.resources.items()
            if each.get("url") == url and (not version or each.get("version") == version)
        }

    def _is_missing(self, name: str, definition: Mapping[str, Any]) -> bool:
        if definition["code"] in ALWAYS_THERE:
            return False
        if definition["type"] != "composite":
            return not self.values(name, definition["code"])
        kinds = [rows()[part["url"]]["type"] for part in definition["component"]]
        return not any(
            all(
                any(_is_askable(kind, value) for value in found)
                for kind, found in zip(kinds, element, strict=True)
            )
            for element in component_values(self.resources[name], definition)
        )

    def _composite(self, name: str, definition: Mapping[str, Any], text: str) -> bool:
        """Some element whose components all match one of the alternatives."""
        components = [rows()[part["url"]] for part in definition["component"]]
        return any(
            all(
                any(TESTS[each["type"], ""](self._setting(each), value, wanted) for value in found)
                for each, found, wanted in zip(components, element, alternative, strict=True)
            )
            for element in component_values(self.resources[name], definition)
            for alternative in _alternatives(text, len(components))
        )

    def _sorted(self, names: list[str], keys: list[str]) -> list[str]:
        """Ascending by the lowest value, descending by the highest, without a value last."""
        for key in reversed(keys):
            code, is_descending = key.removeprefix("-"), key.startswith("-")
            bounds = {name: self._bound(name, code, is_descending) for name in names}
            present = [name for name in names if bounds[name] is not None]
            present.sort(key=lambda name: bounds[name], reverse=is_descending)
            names = [*present, *(name for name in names if bounds[name] is None)]
        return names

    def _bound(self, name: str, code: str, is_highest: bool) -> Any:
        kind = row(name.partition("/")[0], code)["type"]
        base = self.base.rstrip("/") + "/"
        found = [
            order
            for value in self.values(name, code)
            for order in _orders(kind, value, base, is_highest)
        ]
        return (max if is_highest else min)(found, default=None)


def _is_askable(kind: str, value: Value) -> bool:
    """Whether a component has anything that a search can name (docs/spec-readings.md,
    ":missing")."""
    match kind:
        case "token":
            return any(system or code for system, code in codes(value))
        case "string":
            return bool(strings(value))
        case "date":
            return moments(value) is not None
        case "number" | "quantity":
            return numbers(value) is not None
        case _:
            return value.content is not None


def _alternatives(text: str, count: int) -> list[tuple[str, ...]]:
    """`a$1,b$2` is two; in `a,b$1` each of the first goes with each of the second."""
    lists = parts(text, "$")
    if len(lists) == count:
        return list(product(*(parts(each, ",") for each in lists)))
    return [tuple(parts(each, "$")) for each in parts(text, ",")]


def _orders(kind: str, value: Value, base: str, is_highest: bool) -> list[Any]:
    """What a value is sorted by: R4 leaves it to the type; docs/spec-readings.md, "Sorting"."""
    match kind:
        case "string":
            return [folded(each) for each in strings(value)]
        case "token":
            is_text = value.datatype in ("string", "markdown")
            forms = [
                (system, form)
                for system, code in codes(value)
                if code
                for form in ({code, folded(code)} if is_text else {code})
            ]
            return [(code, system or "") for system, code in forms]
        case "uri":
            return [value.content]
        case "reference":
            found = literal(value, base)
            if found is None or found.startswith("#"):
                return []
            if value.datatype == "canonical":
                return [found.partition("|")[::2]]
            return [(found, ""), (found.partition(OWN_VERSION)[0], "")]
        case "date" | "number" | "quantity":
            measured = moments(value) if kind == "date" else numbers(value)
            if measured is None:
                return []
            return [_end(value, measured, is_highest)]
        case _:
            raise ValueError(kind)


def _end(value: Value, measured: Range, is_highest: bool) -> tuple[int, Fraction, bool]:
    """The upper or lower end. A range that takes its upper end in comes after the number
    itself, as does one that begins just above it."""
    end = measured.high if is_highest else measured.low
    if end is None:
        return (1 if is_highest else -1, Fraction(0), False)
    is_point = measured.low == measured.high and value.datatype != "Range"
    is_beyond = not measured.is_high_open if is_highest else measured.is_low_open
    return (0, end, is_beyond and not is_point)
