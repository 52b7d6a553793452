"""Writes compartments.json from the CompartmentDefinitions of the official R4 package.

    python -m fhir_server.fhir.definitions.generate_compartments hl7.fhir.r4.core-4.0.1.tar.xz

Only facts are kept: {compartment: {type: [search parameter, …]}} for the types that belong.
"""

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import orjson

TARGET = Path(__file__).parent / "compartments.json"
FILE = "CompartmentDefinition-"
EXAMPLE = "CompartmentDefinition-example.json"


def compartments(archive: Path) -> dict[str, dict[str, list[str]]]:
    """The parameters by which a type belongs to each compartment, in the definition's order."""
    found: dict[str, dict[str, list[str]]] = {}
    with tarfile.open(archive) as package:
        for member in package:
            name = member.name.rpartition("/")[2]
            if not name.startswith(FILE) or name == EXAMPLE:
                continue
            content = package.extractfile(member)
            assert content is not None
            definition: dict[str, Any] = orjson.loads(content.read())
            found[definition["code"]] = {
                each["code"]: each["param"] for each in definition["resource"] if "param" in each
            }
    return dict(sorted(found.items()))


def main() -> None:
    """Write the table."""
    table = {"compartments": compartments(Path(sys.argv[1]))}
    TARGET.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
