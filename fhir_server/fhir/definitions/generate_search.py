"""Makes `search_parameters.json` from the official R4 package.

    python -m fhir_server.fhir.definitions.generate_search hl7.fhir.r4.core-4.0.1.tar.xz

Keeps the facts of every SearchParameter (code, type, bases, expression, targets, components)
and none of its prose. The output is sorted, so a second run gives the same bytes.
"""

import sys
import tarfile
from pathlib import Path
from typing import Any

import orjson

TARGET = Path(__file__).with_name("search_parameters.json")
CORE = "http://hl7.org/fhir/SearchParameter/"

CORRECTED_COMPONENTS = {"DocumentReference-relationship": ("target", "code")}
"""Composites whose components have each other's expression (docs/spec-readings.md,
"DocumentReference `relationship`"): the expressions as they must be."""


def facts(definition: dict[str, Any]) -> dict[str, Any]:
    """The facts of one SearchParameter; `url` loses the core prefix that all of them share."""
    row: dict[str, Any] = {
        "url": definition["url"].removeprefix(CORE),
        "code": definition["code"],
        "type": definition["type"],
        "base": sorted(definition.get("base", ())),
    }
    if "expression" in definition:
        row["expression"] = " ".join(definition["expression"].split())
    if "target" in definition:
        row["target"] = sorted(definition["target"])
    if "component" in definition:
        row["component"] = [
            {"url": part["definition"].removeprefix(CORE), "expression": part["expression"]}
            for part in definition["component"]
        ]
        corrected = CORRECTED_COMPONENTS.get(row["url"])
        for part, expression in zip(row["component"], corrected or (), strict=False):
            part["expression"] = expression
    return row


def definitions(package: Path) -> list[dict[str, Any]]:
    """The facts of all SearchParameters in a FHIR package archive, by url."""
    rows = []
    with tarfile.open(package) as archive:
        for member in archive:
            if not Path(member.name).name.startswith("SearchParameter-"):
                continue
            file = archive.extractfile(member)
            if file is not None:
                rows.append(facts(orjson.loads(file.read())))
    return sorted(rows, key=lambda row: str(row["url"]))


def main(arguments: list[str]) -> None:
    """Write the table from the package named in `arguments`."""
    rows = definitions(Path(arguments[0]))
    TARGET.write_bytes(b"[\n" + b",\n".join(orjson.dumps(row) for row in rows) + b"\n]\n")
    print(f"{len(rows)} search parameters")


if __name__ == "__main__":
    main(sys.argv[1:])
