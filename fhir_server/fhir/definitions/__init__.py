"""The facts of FHIR R4 4.0.1 as compact tables, generated from the official package."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import orjson

FOLDER = Path(__file__).parent


class _ElementFacts(TypedDict):
    types: list[str]
    min: int
    max: str


class ElementDefinition(_ElementFacts, total=False):
    """One element: `choice` for value[x]; `values` is the URL of a required value set; `targets`
    are the types a Reference may name (absent: any), `canonicals` the same for a canonical."""

    choice: bool
    values: str
    targets: list[str]
    canonicals: list[str]
    profiles: list[str]
    summary: bool


class _TypeFacts(TypedDict):
    kind: str
    elements: dict[str, ElementDefinition]


class TypeDefinition(_TypeFacts, total=False):
    """One type; `kind` is resource, complex, primitive or backbone. Inherited elements are
    in `elements` too, and a choice element is under its name without `[x]`."""

    base: str
    abstract: bool


def table(file_name: str) -> Any:
    """The parsed JSON table of this folder with the given file name."""
    return orjson.loads((FOLDER / file_name).read_bytes())


@cache
def structures() -> Mapping[str, TypeDefinition]:
    """Every R4 type by name; backbone elements by path (`Observation.component`)."""
    types: dict[str, TypeDefinition] = table("structures.json")["types"]
    return types


@cache
def value_sets() -> Mapping[str, Mapping[str, list[str]]]:
    """{value set URL: {code system: codes}} for required bindings that can be enumerated."""
    sets: dict[str, dict[str, list[str]]] = table("value_sets.json")["value_sets"]
    return sets


def terminology_resource(type_: str, url: str) -> Mapping[str, Any] | None:
    """R4's own CodeSystem or ValueSet with this URL, as far as its codes go; None if it has
    none."""
    row = _terminology()[type_].get(url)
    if row is None:
        return None
    if type_ == "CodeSystem":
        return {"url": url, **row, "concept": _concepts(row["concept"])}
    compose = {
        side: [
            {**each, "concept": _concepts(each["concept"])} if "concept" in each else each
            for each in row[side]
        ]
        for side in ("include", "exclude")
        if side in row
    }
    return {"url": url, "version": row["version"], "compose": compose}


def _concepts(rows: Iterable[Any]) -> list[Any]:
    """Concepts as R4 has them: those that are nothing but a code are written as text."""
    return [
        {"code": row}
        if isinstance(row, str)
        else {**row, "concept": _concepts(row.get("concept", ()))}
        for row in rows
    ]


@cache
def _terminology() -> Mapping[str, Mapping[str, Any]]:
    tables: dict[str, dict[str, Any]] = table("terminology.json")
    return tables


@cache
def resource_types() -> frozenset[str]:
    """The names of the 146 concrete resource types."""
    return frozenset(
        name
        for name, each in structures().items()
        if each["kind"] == "resource" and not each.get("abstract")
    )


def choice_key(name: str, type_name: str) -> str:
    """The JSON property of a choice element: `value` and `dateTime` give `valueDateTime`."""
    return name + type_name[0].upper() + type_name[1:]
