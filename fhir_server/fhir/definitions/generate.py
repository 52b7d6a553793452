"""Writes structures.json and value_sets.json from the official R4 package.

    python -m fhir_server.fhir.definitions.generate hl7.fhir.r4.core-4.0.1.tar.xz

Only facts are kept: paths, cardinalities, types, target types, required bindings and codes.
"""

import json
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parent
VERSION = "4.0.1"
PROFILES = "http://hl7.org/fhir/StructureDefinition/"
KINDS = {"resource": "resource", "complex-type": "complex", "primitive-type": "primitive"}
SYSTEM_STRING = "http://hl7.org/fhirpath/System.String"
# The eight elements of R4's Meta: packages that call themselves R4 but add their own have more.
META = {"id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag"}

Definition = Mapping[str, Any]


def read_package(archive: Path) -> list[dict[str, Any]]:
    """Every resource of the package's StructureDefinition, ValueSet and CodeSystem files."""
    wanted = ("StructureDefinition-", "ValueSet-", "CodeSystem-")
    found = []
    with tarfile.open(archive) as package:
        for member in package:
            name = member.name.rpartition("/")[2]
            if name.startswith(wanted) and name.endswith(".json"):
                content = package.extractfile(member)
                assert content is not None
                found.append(orjson.loads(content.read()))
    return found


def structures(definitions: Iterable[Definition]) -> dict[str, Any]:
    """Every type and backbone element of the specification, by name, in file order."""
    types: dict[str, Any] = {}
    for definition in sorted(definitions, key=lambda each: str(each["name"])):
        kind = KINDS.get(definition["kind"])
        if kind is None or definition.get("derivation") == "constraint":
            continue
        types.update(_types_of(definition, kind))
    if set(types["Meta"]["elements"]) != META:
        raise SystemExit("This package is not pristine R4 4.0.1: Meta has other elements")
    return types


def _types_of(definition: Definition, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    elements = definition["snapshot"]["element"]
    own: dict[str, dict[str, Any]] = {}
    parents = {each["path"].rpartition(".")[0] for each in elements}
    for each in elements:
        path = each["path"]
        parent, _, name = path.rpartition(".")
        if path in parents:
            own[path] = _head(definition, kind) if not parent else _backbone(each)
        if parent and not (kind == "primitive" and name == "value"):
            own[parent]["elements"][name.removesuffix("[x]")] = _element(
                each, kind, path in parents
            )
    yield from own.items()


def _head(definition: Definition, kind: str) -> dict[str, Any]:
    head: dict[str, Any] = {"kind": kind}
    if "baseDefinition" in definition:
        head["base"] = definition["baseDefinition"].removeprefix(PROFILES)
    if definition["abstract"]:
        head["abstract"] = True
    return head | {"elements": {}}


def _backbone(element: Definition) -> dict[str, Any]:
    return {"kind": "backbone", "base": element["type"][0]["code"], "elements": {}}


def _element(element: Definition, kind: str, is_backbone: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    path = element["path"]
    if path.endswith("[x]"):
        entry["choice"] = True
    if is_backbone:
        entry["types"] = [path]
    elif "contentReference" in element:
        entry["types"] = [element["contentReference"].removeprefix("#")]
    else:
        entry["types"] = [_type_name(each["code"], path, kind) for each in element["type"]]
        entry |= _profiles(element["type"])
    entry |= {"min": element["min"], "max": element["max"]}
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        entry["values"] = binding["valueSet"].partition("|")[0]
    if element.get("isSummary"):
        entry["summary"] = True
    return entry


def _type_name(code: str, path: str, kind: str) -> str:
    if code != SYSTEM_STRING:
        return code
    # A resource's id is an id; an element's id is a string without white space.
    return "id" if kind == "resource" and path.count(".") == 1 else "string"


def _profiles(types: Iterable[Definition]) -> dict[str, list[str]]:
    """What a Reference or canonical may point at, and profiles such as SimpleQuantity."""
    found: dict[str, list[str]] = {}
    for each in types:
        key = "canonicals" if each["code"] == "canonical" else "targets"
        targets = [target.removeprefix(PROFILES) for target in each.get("targetProfile", ())]
        if targets and "Resource" not in targets:
            found[key] = targets
        for profile in each.get("profile", ()):
            found.setdefault("profiles", []).append(profile.removeprefix(PROFILES))
    return found


class CodeTables:
    """Value sets that can be written out as plain lists of codes."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._systems: dict[str, list[str]] = {}
        self._sets: dict[str, Definition] = {}
        for each in definitions:
            if each["resourceType"] == "ValueSet":
                self._sets[each["url"]] = each
            elif each["resourceType"] == "CodeSystem" and each["content"] == "complete":
                self._systems[each["url"]] = list(_codes(each.get("concept", ())))

    def enumerate(self, url: str) -> dict[str, list[str]] | None:
        """{system: codes} of the value set, or None where it can't be listed from the package."""
        compose = self._sets.get(url, {}).get("compose", {})
        if not compose or "exclude" in compose:
            return None
        listed: dict[str, list[str]] = {}
        for include in compose["include"]:
            part = self._include(include)
            if part is None:
                return None
            for system, codes in part.items():
                listed[system] = list(dict.fromkeys(listed.get(system, []) + codes))
        return listed

    def _include(self, include: Definition) -> dict[str, list[str]] | None:
        if "filter" in include:
            return None
        if "valueSet" in include:
            return self.enumerate(include["valueSet"][0]) if len(include) == 1 else None
        if "concept" in include:
            return {include["system"]: [each["code"] for each in include["concept"]]}
        codes = self._systems.get(include["system"])
        return None if codes is None else {include["system"]: codes}


def _codes(concepts: Iterable[Definition]) -> Iterator[str]:
    for concept in concepts:
        is_abstract = any(
            each["code"] in ("notSelectable", "abstract") and each.get("valueBoolean")
            for each in concept.get("property", ())
        )
        if not is_abstract:
            yield concept["code"]
        yield from _codes(concept.get("concept", ()))


def value_sets(types: Mapping[str, Any], tables: CodeTables) -> dict[str, Any]:
    """The value sets of required bindings that can be enumerated, by URL."""
    bound = {
        element["values"]
        for entry in types.values()
        for element in entry["elements"].values()
        if "values" in element
    }
    listed = {url: tables.enumerate(url) for url in sorted(bound)}
    return {url: codes for url, codes in listed.items() if codes}


def write(path: Path, key: str, entries: Mapping[str, Any]) -> None:
    """One entry a line, so that a change of the tables can be read as a difference."""
    lines = (
        f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'), ensure_ascii=False)}"
        for name, entry in entries.items()
    )
    path.write_text(f'{{"{key}":{{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def main(archive: str) -> None:
    """Write both tables from the official package in `archive`."""
    definitions = read_package(Path(archive))
    heads = [each for each in definitions if each["resourceType"] == "StructureDefinition"]
    types = structures(heads)
    write(FOLDER / "structures.json", "types", types)
    tables = CodeTables(definitions)
    write(FOLDER / "value_sets.json", "value_sets", value_sets(types, tables))


if __name__ == "__main__":
    main(sys.argv[1])
