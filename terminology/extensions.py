"""The extensions that MedSAGE defines (R4 StructureDefinition, Defining Extensions)."""

from fhir_server.fhir.assessment import CANONICAL, TRACE
from terminology.concepts import Resource, own

_ATTEMPT = f"{CANONICAL}/StructureDefinition/attempt"


def attempt() -> Resource:
    """The extension on a Task that counts how often it was claimed."""
    meaning = "How often a worker has claimed the Task; too often, and the Task ends as failed."
    element = _simple(_ATTEMPT, "Attempts of a Task", meaning, "integer")
    return {
        **_extension("attempt", "Attempts of a Task", meaning, on="Task"),
        "differential": element,
    }


def traceparent() -> Resource:
    """The extension on a Task that names the trace of the request that ordered it."""
    meaning = (
        "The W3C traceparent of the request that ordered the Task; its analysis belongs to it."
    )
    element = _simple(TRACE, "Trace of a Task", meaning, "string")
    return {
        **_extension("traceparent", "Trace of a Task", meaning, on="Task"),
        "differential": element,
    }


_COMPONENT = "Observation.component"
_ORIGIN = f"{CANONICAL}/StructureDefinition/line-origin"
_EVIDENCE = f"{CANONICAL}/StructureDefinition/evidence"


def line_origin() -> Resource:
    """The extension on a component of an analysis that says whom the line came from."""
    meaning = "Whom the line came from: a rule, a language model or a person."
    element = _simple(_ORIGIN, "Origin of the line", meaning, "Coding")
    return {**_extension("line-origin", "Origin of a line", meaning), "differential": element}


def evidence() -> Resource:
    """The extension on a possibility: one line for it or against it, and whom that came from."""
    meaning = "A chart fact, or what a rule found, that speaks for or against a possibility."
    parts = (
        ("direction", 1, "code", "for or against"),
        ("text", 1, "string", "The line in words"),
        ("origin", 1, "Coding", "A rule, or the person who entered the fact"),
        ("rule", 0, "string", "The id of the rule, when it is a rule's"),
    )
    elements = [
        {
            "id": "Extension",
            "path": "Extension",
            "short": "Evidence for or against",
            "definition": meaning,
        }
    ]
    for name, least, kind, short in parts:
        elements += _part(name, least, kind, short)
    elements += [
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": _EVIDENCE},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    about = _extension("evidence", "Evidence of a possibility", meaning)
    return {**about, "differential": {"element": elements}}


def _extension(name: str, title: str, meaning: str, on: str = _COMPONENT) -> Resource:
    return {
        **own("StructureDefinition", name, title, meaning),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": on}],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
    }


def _simple(url: str, short: str, meaning: str, kind: str) -> Resource:
    """The differential of an extension with one value."""
    return {
        "element": [
            {
                "id": "Extension",
                "path": "Extension",
                "short": short,
                "definition": meaning,
                "min": 0,
                "max": "1",
            },
            {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
            {"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
            {
                "id": "Extension.value[x]",
                "path": "Extension.value[x]",
                "min": 1,
                "type": [{"code": kind}],
            },
        ]
    }


def _part(name: str, least: int, kind: str, short: str) -> list[Resource]:
    """The slice of a complex extension that holds one value."""
    id, path = f"Extension.extension:{name}", "Extension.extension"
    return [
        {"id": id, "path": path, "sliceName": name, "short": short, "min": least, "max": "1"},
        {"id": f"{id}.extension", "path": f"{path}.extension", "max": "0"},
        {"id": f"{id}.url", "path": f"{path}.url", "fixedUri": name},
        {
            "id": f"{id}.value[x]",
            "path": f"{path}.value[x]",
            "min": 1,
            "type": [{"code": kind}],
        },
    ]
