"""The extensions of drawings of smear images (R4 StructureDefinition, Defining Extensions)."""

from collections.abc import Sequence

from fhir_server.fhir.drawings import CELL, DERIVED_FROM, DRAWING
from terminology.concepts import Resource, own

_PARTS: Sequence[tuple[str, str, int, str]] = (
    ("answer", "code", 1, "What was answered about the cell; a code of CodeSystem finding."),
    ("box", "string", 1, "Left, top, width and height in pixels of the upright image."),
    ("probability", "decimal", 0, "Calibrated probability of a parasite; none when refused."),
    ("like-scored", "Ratio", 0, "Validation cells scored like this: parasitized, of all."),
    ("check", "code", 0, "Why the cell was refused: the check that it failed."),
)


def drawing_extensions() -> list[Resource]:
    """All of them."""
    return [
        _simple(
            DERIVED_FROM,
            "Image that a drawing was made of",
            context="Media",
            value={"code": "Reference", "targetProfile": [_canonical("Media")]},
        ),
        _simple(
            DRAWING,
            "Kind of drawing: a code of CodeSystem finding",
            context="DiagnosticReport.media",
            value={"code": "code"},
        ),
        _cell(),
    ]


def _canonical(type: str) -> str:
    return f"http://hl7.org/fhir/StructureDefinition/{type}"


def _head(url: str, title: str, context: str) -> Resource:
    name = url.rpartition("/")[2]
    return {
        **own("StructureDefinition", name, title, f"{title}."),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": context}],
        "type": "Extension",
        "baseDefinition": _canonical("Extension"),
        "derivation": "constraint",
    }


def _root(title: str, most: str) -> Resource:
    return {
        "id": "Extension",
        "path": "Extension",
        "short": title,
        "definition": f"{title}.",
        "min": 0,
        "max": most,
    }


def _simple(url: str, title: str, *, context: str, value: Resource) -> Resource:
    elements = [
        _root(title, "1"),
        {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
        {
            "id": "Extension.value[x]",
            "path": "Extension.value[x]",
            "min": 1,
            "type": [value],
        },
    ]
    return {**_head(url, title, context), "differential": {"element": elements}}


def _cell() -> Resource:
    title = "One tile of a gallery: the cell that it shows"
    slices = [element for part in _PARTS for element in _slice(*part)]
    elements = [
        _root(title, "*"),
        {
            "id": "Extension.extension",
            "path": "Extension.extension",
            "slicing": {
                "discriminator": [{"type": "value", "path": "url"}],
                "rules": "closed",
            },
        },
        *slices,
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": CELL},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    return {**_head(CELL, title, "Media"), "differential": {"element": elements}}


def _slice(name: str, type: str, least: int, meaning: str) -> list[Resource]:
    at = f"Extension.extension:{name}"
    return [
        {
            "id": at,
            "path": "Extension.extension",
            "sliceName": name,
            "short": name,
            "definition": meaning,
            "min": least,
            "max": "1",
        },
        {"id": f"{at}.url", "path": "Extension.extension.url", "fixedUri": name},
        {
            "id": f"{at}.value[x]",
            "path": "Extension.extension.value[x]",
            "min": 1,
            "type": [{"code": type}],
        },
    ]
