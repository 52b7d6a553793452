"""Writes terminology.json, R4's own value sets and code systems, from the official package.

    python -m fhir_server.fhir.definitions.generate_terminology hl7.fhir.r4.core-4.0.1.tar.xz

Facts only: codes, hierarchy, and what a value set is composed of. A concept that is nothing but a
code is written as text; `terminology_resource` gives it back as R4 has it.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from fhir_server.fhir.definitions.generate import FOLDER, read_package

Definition = Mapping[str, Any]

PROPERTIES = frozenset({"notSelectable", "abstract", "child", "parent", "status", "inactive"})
"""Those that decide what is below what, and what may be used."""


def code_system(definition: Definition) -> dict[str, Any]:
    """What is kept of a CodeSystem."""
    names = ("version", "content", "hierarchyMeaning")
    kept = {name: definition[name] for name in names if name in definition}
    return kept | {"concept": _concepts(definition.get("concept", ()))}


def _concepts(given: Iterable[Definition]) -> list[Any]:
    return [_concept(each) for each in given]


def _concept(each: Definition) -> Any:
    kept: dict[str, Any] = {}
    properties = [one for one in each.get("property", ()) if one["code"] in PROPERTIES]
    if properties:
        kept["property"] = properties
    if each.get("concept"):
        kept["concept"] = _concepts(each["concept"])
    return {"code": each["code"], **kept} if kept else each["code"]


def value_set(definition: Definition) -> dict[str, Any]:
    """What is kept of a ValueSet: its compose, with listed concepts as codes, and its version."""
    compose = definition["compose"]
    return {"version": definition["version"]} | {
        side: [_component(each) for each in compose[side]]
        for side in ("include", "exclude")
        if side in compose
    }


def _component(each: Definition) -> dict[str, Any]:
    kept = {name: each[name] for name in ("system", "valueSet", "filter") if name in each}
    if "concept" in each:
        kept["concept"] = [one["code"] for one in each["concept"]]
    return kept


def main(archive: str) -> None:
    """Write the table from the official package in `archive`."""
    found: dict[str, dict[str, Any]] = {"CodeSystem": {}, "ValueSet": {}}
    for each in sorted(read_package(Path(archive)), key=lambda one: str(one["url"])):
        match each["resourceType"]:
            case "CodeSystem":
                found["CodeSystem"][each["url"]] = code_system(each)
            case "ValueSet" if "compose" in each:
                found["ValueSet"][each["url"]] = value_set(each)
    lines = []
    for type_, rows in found.items():
        inside = ",\n".join(
            f"{orjson.dumps(url).decode()}:{orjson.dumps(row).decode()}"
            for url, row in rows.items()
        )
        lines.append(f'"{type_}":{{\n{inside}\n}}')
    (FOLDER / "terminology.json").write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
