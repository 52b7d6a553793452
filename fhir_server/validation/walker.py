"""The full account: walks a resource beside its definition and reports every problem.

The walker is the authority. The schemas (schema.py) only accept early what it would accept too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import Issue
from fhir_server.validation import narrative
from fhir_server.validation.bindings import allowed_codes, allows_concept, sample
from fhir_server.validation.invariants import INVARIANTS
from fhir_server.validation.primitives import PRIMITIVES
from fhir_server.validation.references import check_reference
from fhir_server.validation.report import Report, ReportFull, kind, show
from fhir_server.validation.shape import Property, Shape, shape_of

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_URIS = frozenset(("canonical", "uri", "url"))
_NOT_CONTAINED = {"versionId": "dom-4", "lastUpdated": "dom-4", "security": "dom-5"}


def walk(resource: Any) -> tuple[Issue, ...]:
    """Every issue of the resource; after MAX_ISSUES a note that there are more."""
    walker = _Walker()
    try:
        walker.container(resource, "")
    except ReportFull:
        return walker.report.issues(is_complete=False)
    return walker.report.issues(is_complete=True)


@dataclass
class _Inside:
    """What lies in a container (`#id` and place), and what in it points there."""

    contained: list[tuple[str, str]] = field(default_factory=list)
    references: list[tuple[str, str]] = field(default_factory=list)
    uris: set[str] = field(default_factory=set)


class _Walker:
    def __init__(self) -> None:
        self.report = Report()
        self._inside = _Inside()

    # --- resources ---

    def container(self, value: Any, place: str) -> None:
        """A resource that stands for itself, alone or in a Bundle."""
        outer, self._inside = self._inside, _Inside()
        self._resource(value, place)
        self._check_local_references()
        self._inside = outer

    def _resource(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            text = f"a resource (a JSON object) was expected, not {kind(value)}"
            self.report.error("structure", place, text)
            return
        name = value.get("resourceType")
        if isinstance(name, str) and name in resource_types():
            self._object(value, shape_of(name), place=place or name)
        elif name is None:
            self.report.error("structure", place, "resourceType is missing; it names the resource")
        else:
            near = self.report.near(name, resource_types()) if isinstance(name, str) else ""
            text = f"{show(name)} is not a resource type of R4{near}"
            self.report.error("structure", place, text)

    def _contained(self, value: Any, place: str) -> None:
        self._resource(value, place)
        if not isinstance(value, dict):
            return
        if "contained" in value:
            text = "a contained resource can't contain others (dom-2)"
            self.report.error("invariant", f"{place}.contained", text)
        if "id" not in value:
            self.report.error("required", f"{place}.id", "a contained resource needs an id")
        elif isinstance(value["id"], str):
            self._inside.contained.append((value["id"], place))
        meta = value.get("meta")
        for name in _NOT_CONTAINED.keys() & (meta if isinstance(meta, dict) else {}):
            text = f"a contained resource has no {name} ({_NOT_CONTAINED[name]})"
            self.report.error("invariant", f"{place}.meta.{name}", text)

    def _check_local_references(self) -> None:
        ids = [id for id, _ in self._inside.contained]
        for id, place in self._inside.references:
            if id and id not in ids:
                text = f"no contained resource has the id {show(id)} (ref-1)"
                self.report.error("invariant", place, text)
        reached = {id for id, _ in self._inside.references} | self._inside.uris
        for index, (id, place) in enumerate(self._inside.contained):
            if id in ids[:index]:
                text = f"two contained resources have the id {show(id)}"
                self.report.error("invariant", f"{place}.id", text)
            elif id not in reached and "" not in reached:
                text = f"nothing refers to the contained resource {show(id)} (dom-3)"
                self.report.error("invariant", place, text)

    # --- resources, datatypes and backbone elements ---

    def _object(self, value: Any, shape: Shape, *, place: str) -> None:
        if not isinstance(value, dict):
            text = f"an object was expected ({shape.type}), not {kind(value)}"
            self.report.error("structure", place, text)
            return
        if not value:
            self.report.error("invariant", place, "an object must not be empty (ele-1)")
            return
        errors = self.report.errors
        for key, each in value.items():
            entry = shape.properties.get(key)
            if each is None:
                text = f"{key} is null; an element without a value is left out"
                self.report.error("structure", f"{place}.{key.removeprefix('_')}", text)
            elif entry is not None:
                sibling = value.get("_" + key) if entry.has_sibling else None
                self._property(entry, each, sibling=sibling, place=f"{place}.{entry.name}")
            elif not (key == "resourceType" and shape.is_resource):
                self._sibling(key, value, shape=shape, place=place)
        self._check_required(value, shape, place=place)
        if self.report.errors == errors:
            for invariant in INVARIANTS.get(shape.type, ()):
                if not invariant.holds(value):
                    text = f"{invariant.text} ({invariant.key})"
                    self.report.error("invariant", place, text)

    def _sibling(self, key: str, parent: Mapping[str, Any], *, shape: Shape, place: str) -> None:
        """A key that is no element: `_x` beside a primitive x, or unknown."""
        entry = shape.properties.get(key[1:]) if key.startswith("_") else None
        if entry is None or not entry.has_sibling:
            self._unknown(key, shape, place=place)
        elif key[1:] not in parent:
            self._property(entry, None, sibling=parent[key], place=f"{place}.{entry.name}")

    def _unknown(self, key: str, shape: Shape, *, place: str) -> None:
        where = f"{place}.{key}" if _IDENTIFIER.fullmatch(key) else f"{place}.`{key[:64]}`"
        if key in shape.choices:
            hint = f"; it is written with its type, as in {shape.choices[key][0]}"
        else:
            hint = self.report.near(key, shape.properties)
        text = f"{shape.type} has no element {show(key)}{hint}"
        self.report.error("structure", where, text)

    def _check_required(self, value: Mapping[str, Any], shape: Shape, *, place: str) -> None:
        for name, keys in shape.required.items():
            if not any(key in value or "_" + key in value for key in keys):
                text = f"{name} is required in {shape.type}"
                self.report.error("required", f"{place}.{name}", text)
        for name, keys in shape.choices.items():
            given = [key for key in keys if key in value or "_" + key in value]
            if len(given) > 1:
                text = f"only one of {', '.join(given)} can be given"
                self.report.error("structure", f"{place}.{name}", text)
        if not shape.is_resource and value.keys() == {"id"}:
            self.report.error("invariant", place, "an element needs more than an id (ele-1)")
        if shape.type == "Extension":
            has_value = any(key in value for key in shape.keys_of("value"))
            if has_value == ("extension" in value):
                text = "an extension has either a value or extensions inside it (ext-1)"
                self.report.error("invariant", place, text)

    # --- elements ---

    def _property(self, entry: Property, value: Any, *, sibling: Any, place: str) -> None:
        if entry.is_primitive:
            check = self._primitives if entry.is_array else self._primitive
            check(entry, value, sibling=sibling, place=place)
        elif not entry.is_array:
            self._complex(entry, value, place=place)
        elif not isinstance(value, list):
            text = f"{entry.key} is an array in JSON, not {kind(value)}"
            self.report.error("structure", place, text)
        else:
            self._check_count(entry, len(value), place=place)
            for index, each in enumerate(value):
                self._complex(entry, each, place=f"{place}[{index}]")

    def _check_count(self, entry: Property, count: int, *, place: str) -> None:
        most = entry.definition["max"]
        if count == 0:
            self.report.error("structure", place, "an array must not be empty")
        elif most != "*" and count > int(most):
            self.report.error("structure", place, f"at most {most} are allowed, not {count}")

    def _primitives(self, entry: Property, values: Any, *, sibling: Any, place: str) -> None:
        """A repeating primitive: two arrays side by side, filled up with nulls."""
        for each, key in ((values, entry.key), (sibling, "_" + entry.key)):
            if each is not None and not isinstance(each, list):
                text = f"{key} is an array in JSON, not {kind(each)}"
                self.report.error("structure", place, text)
                return
        if values is None and sibling is None:
            self.report.error("structure", place, f"{entry.key} is an array in JSON, not null")
            return
        if values is not None and sibling is not None and len(values) != len(sibling):
            text = f"{entry.key} and _{entry.key} must be equally long: "
            text += f"{len(values)} and {len(sibling)} entries were given"
            self.report.error("structure", place, text)
            return
        values = values if values is not None else [None] * len(sibling)
        siblings = sibling if sibling is not None else [None] * len(values)
        self._check_count(entry, len(values), place=place)
        for index, (value, beside) in enumerate(zip(values, siblings, strict=True)):
            self._primitive(entry, value, sibling=beside, place=f"{place}[{index}]")

    def _primitive(self, entry: Property, value: Any, *, sibling: Any, place: str) -> None:
        """A primitive's value, and the object beside it that holds id and extensions."""
        if sibling is not None:
            self._object(sibling, shape_of("Element"), place=place)
        if value is None:
            if sibling is None:
                self.report.error("structure", place, "null is not a value; leave the element out")
            return
        primitive = PRIMITIVES[entry.type]
        if isinstance(value, list) and not entry.is_array:
            text = f"{entry.key} is a single value, not an array"
            self.report.error("structure", place, text)
        elif not primitive.accepts(value):
            text = f"{show(value)} is not {primitive.expected}"
            self.report.error("value", place, text)
        else:
            self._check_meaning(entry, value, place=place)

    def _check_meaning(self, entry: Property, value: Any, *, place: str) -> None:
        if entry.type == "xhtml":
            found = narrative.examine(value)
            for text in found.problems:
                self.report.error("invariant", place, f"{text} (txt-1)")
            if found.is_empty:
                self.report.warning("invariant", place, "the narrative shows nothing (txt-2)")
        elif entry.type in _URIS and value.startswith("#"):
            self._inside.uris.add(value[1:])
        codes = allowed_codes(entry.definition.get("values", ""))
        if codes is not None and value not in codes:
            near = self.report.near(value, codes) or f"; allowed are {sample(codes)}"
            text = f"{show(value)} is not a code of {entry.definition['values']}{near}"
            self.report.error("code-invalid", place, text)

    def _complex(self, entry: Property, value: Any, *, place: str) -> None:
        if entry.name == "contained":
            self._contained(value, place)
        elif entry.type == "Resource":
            self.container(value, place)
        elif isinstance(value, list) and not entry.is_array:
            text = f"{entry.key} is a single object, not an array"
            self.report.error("structure", place, text)
        else:
            errors = self.report.errors
            self._object(value, shape_of(entry.type), place=place)
            if self.report.errors == errors:
                self._check_use(entry, value, place=place)

    def _check_use(self, entry: Property, value: Mapping[str, Any], *, place: str) -> None:
        """What this element asks of its datatype."""
        facts = entry.definition
        if entry.type == "Reference":
            text = value.get("reference", "")
            if text.startswith("#"):
                self._inside.references.append((text[1:], f"{place}.reference"))
            for issue in check_reference(value, facts.get("targets"), place=place):
                self.report.put(issue)
        elif "values" in facts and not allows_concept(facts["values"], value):
            text = f"one coding must be from {facts['values']}"
            self.report.error("code-invalid", place, text)
        elif "SimpleQuantity" in facts.get("profiles", ()) and "comparator" in value:
            self.report.error("invariant", place, "a comparator is not allowed here (sqty-1)")
