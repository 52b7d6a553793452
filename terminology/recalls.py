"""How recalls are written: the tags of Devices and results, and the extension of the Device."""

from fhir_server.fhir.recalls import DONE, OPEN, RECALL, RECALLED
from terminology.concepts import Concept, Resource, System, own

TAGS = System(
    "recall",
    "MedSAGE recalls",
    "Marks results that were recalled, and the Device of a version with a recall (meta.tag); the "
    "first is also the code of the DetectedIssue that says why.",
    (
        Concept(
            RECALLED["code"],
            RECALLED["display"],
            "The version of the AI system that made it was recalled: do not rely on it.",
        ),
        Concept(OPEN["code"], OPEN["display"], "Not everything that it made is marked yet."),
        Concept(DONE["code"], DONE["display"], "Everything that it made is marked."),
    ),
)
SYSTEMS = (TAGS,)
_PARTS = (
    ("id", "string", 1, "Names the recall"),
    ("reason", "string", 1, "Why, as shown beside each result"),
    ("requested", "instant", 1, "When it was asked for"),
    ("by", "string", 1, "Who asked for it"),
    ("operator", "string", 0, "Whose order it was, as the service says that asked for it"),
    ("start", "instant", 0, "Only what was recorded at this time or later"),
    ("end", "instant", 0, "Only what was recorded up to this time"),
    ("status", "code", 1, "open or done"),
    ("position", "instant", 0, "When the last result was recorded that is worked off"),
    ("reports", "integer", 1, "How many reports were marked"),
    ("signed", "integer", 1, "How many of them were signed"),
    ("tasks", "integer", 1, "How many Tasks were opened"),
)


def recall() -> Resource:
    """The extension on a Device that holds a recall and how far it has come."""
    meaning = "A recall of this version of an AI system, and how far it has come."
    elements: list[Resource] = [
        {
            "id": "Extension",
            "path": "Extension",
            "short": "Recall of an AI system's version",
            "definition": meaning,
            "min": 0,
            "max": "*",
        }
    ]
    for name, type_, least, short in _PARTS:
        place = f"Extension.extension:{name}"
        elements += [
            {
                "id": place,
                "path": "Extension.extension",
                "sliceName": name,
                "short": short,
                "min": least,
                "max": "1",
            },
            {"id": f"{place}.url", "path": "Extension.extension.url", "fixedUri": name},
            {
                "id": f"{place}.value[x]",
                "path": "Extension.extension.value[x]",
                "min": 1,
                "type": [{"code": type_}],
            },
        ]
    elements += [
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": RECALL},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    return {
        **own("StructureDefinition", "recall", "Recall of an AI system's version", meaning),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": "Device"}],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {"element": elements},
    }
