"""The extension that MedSAGE defines (R4 StructureDefinition, Defining Extensions)."""

from fhir_server.fhir.assessment import CANONICAL
from terminology.concepts import Resource, own

_ATTEMPT = f"{CANONICAL}/StructureDefinition/attempt"


def attempt() -> Resource:
    """The extension on a Task that counts how often it was claimed."""
    meaning = "How often a worker has claimed the Task; too often, and the Task ends as failed."
    return {
        **own("StructureDefinition", "attempt", "Attempts of a Task", meaning),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": "Task"}],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {
            "element": [
                {
                    "id": "Extension",
                    "path": "Extension",
                    "short": "Attempts of a Task",
                    "definition": meaning,
                    "min": 0,
                    "max": "1",
                },
                {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
                {"id": "Extension.url", "path": "Extension.url", "fixedUri": _ATTEMPT},
                {
                    "id": "Extension.value[x]",
                    "path": "Extension.value[x]",
                    "min": 1,
                    "type": [{"code": "integer"}],
                },
            ]
        },
    }
