"""What registered model versions are said with: where one stands, how it compared, who may see
what it said (docs/adr/0021-registry-of-models.md)."""

from collections.abc import Sequence
from typing import NamedTuple

from fhir_server.fhir.model_versions import COMPARISON, DECISION, SHADOW_RESULT
from terminology.concepts import Concept, Resource, System, own, unlisted_system

USE = System(
    "model-use",
    "MedSAGE uses of a model",
    "What a resource about a model is, where it is not care. Only a scope that names the label "
    "shadow (meta.security, Basic.code), in the hands of governance or a service, shows what "
    "bears it; the tag decision is given by the server alone.",
    (
        Concept(
            SHADOW_RESULT["code"],
            SHADOW_RESULT["display"],
            "What a version said that runs beside the one in use, to be compared with it later.",
        ),
        Concept(
            DECISION["code"],
            DECISION["display"],
            "Tag of the Provenance of a step of a version: who proposed, approved, declined or "
            "retired it.",
        ),
    ),
)
SYSTEMS = (USE,)


class _Part(NamedTuple):
    """A part of a complex extension; `type` None: it has parts itself."""

    url: str
    type: str | None
    meaning: str
    is_needed: bool = False
    parts: "tuple[_Part, ...]" = ()


_PROPOSAL = (
    _Part("to", "code", "The state that is proposed.", True),
    _Part("by", "Reference", "Who proposed it.", True),
    _Part("user", "string", "The name that they sign in with.", True),
    _Part("at", "instant", "When.", True),
    _Part("reason", "string", "Why.", True),
    _Part("share", "integer", "The share of the Tasks that is proposed, in per cent.", True),
    _Part("verdict", "Reference", "The comparison with the active version (MeasureReport)."),
    _Part("against", "Reference", "The version that was active then."),
)
_STANDING = (
    _Part("model", "string", "The model's name in the table of models.", True),
    _Part("condition", "code", "What it looks for; one version of each is active.", True),
    _Part("state", "code", "shadow, candidate, active or retired.", True),
    _Part("share", "integer", "A candidate's share of the Tasks, in per cent.", True),
    _Part("was-active", "boolean", "Whether it has been active.", True),
    _Part("proposal", None, "A step that waits for a second person.", False, _PROPOSAL),
)


_COMPARED = (
    _Part("candidate", "string", "The key of the version that was judged.", True),
    _Part("active", "string", "The key of the version that was in use.", True),
    _Part("cells-sha256", "string", "The SHA-256 of the file of labelled cells.", True),
    _Part("split", "string", "Which of its patients both read.", True),
    _Part(
        "patients-left-out",
        "integer",
        "How many of those were left out: a version had learnt from them.",
        True,
    ),
    _Part("cells-left-out", "integer", "The number of their cells.", True),
)


def resources() -> list[Resource]:
    """The extensions, the Measure of comparisons, and the CodeSystem of models' own answers."""
    return [_standing(), _verdict(), _compared(), *_shadow(), _comparison(), _answers()]


def _standing() -> Resource:
    meaning = (
        "Where a version of an AI model stands. The server alone writes it, by $model-propose, "
        "$model-approve, $model-decline and $model-retire."
    )
    definition = own("StructureDefinition", "model-standing", "Standing of a version", meaning)
    return _complex(definition, "Device", _STANDING)


def _compared() -> Resource:
    meaning = (
        "Which files were compared on which cells. The server takes a comparison from the client "
        "that measures alone."
    )
    definition = own("StructureDefinition", "model-compared", "What was compared", meaning)
    return _complex(definition, "MeasureReport", _COMPARED)


def _complex(definition: Resource, context: str, parts: Sequence[_Part]) -> Resource:
    meaning, url = definition["description"], definition["url"]
    elements = [
        {"id": "Extension", "path": "Extension", "definition": meaning, "min": 0, "max": "1"},
        *_slices("Extension", "Extension", parts),
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    return _extension(definition, context, elements)


def _verdict() -> Resource:
    meaning = "What a comparison of two versions found: better, no-better or worse."
    definition = own("StructureDefinition", "model-verdict", "Verdict of a comparison", meaning)
    return _simple(definition, "MeasureReport", "code")


def _shadow() -> list[Resource]:
    texts = {
        "shadow-of-task": "The Task whose inputs a version read in the shadow.",
        "shadow-answer": "The contained Observation: what the version would have written.",
    }
    return [
        _simple(own("StructureDefinition", name, meaning[:-1], meaning), "Basic", "Reference")
        for name, meaning in texts.items()
    ]


def _simple(definition: Resource, context: str, type: str) -> Resource:
    meaning, url = definition["description"], definition["url"]
    elements: list[Resource] = [
        {"id": "Extension", "path": "Extension", "definition": meaning, "min": 0, "max": "1"},
        {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
        {
            "id": "Extension.value[x]",
            "path": "Extension.value[x]",
            "min": 1,
            "type": [{"code": type}],
        },
    ]
    return _extension(definition, context, elements)


def _extension(definition: Resource, context: str, elements: list[Resource]) -> Resource:
    return {
        **definition,
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": context}],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {"element": elements},
    }


def _slices(id: str, path: str, parts: Sequence[_Part]) -> list[Resource]:
    elements: list[Resource] = [
        {
            "id": f"{id}.extension",
            "path": f"{path}.extension",
            "slicing": {
                "discriminator": [{"type": "value", "path": "url"}],
                "rules": "closed",
            },
        }
    ]
    for part in parts:
        elements += _slice(f"{id}.extension:{part.url}", f"{path}.extension", part)
    return elements


def _slice(id: str, path: str, part: _Part) -> list[Resource]:
    value: Resource = {"id": f"{id}.value[x]", "path": f"{path}.value[x]"}
    inner: list[Resource] = [{"id": f"{id}.extension", "path": f"{path}.extension", "max": "0"}]
    if part.type is None:
        inner = _slices(id, path, part.parts)
        value["max"] = "0"
    else:
        value |= {"min": 1, "type": [{"code": part.type}]}
    return [
        {
            "id": id,
            "path": path,
            "sliceName": part.url,
            "definition": part.meaning,
            "min": int(part.is_needed),
            "max": "1",
        },
        *inner,
        {"id": f"{id}.url", "path": f"{path}.url", "fixedUri": part.url},
        value,
    ]


def _comparison() -> Resource:
    return {
        **own(
            "Measure",
            COMPARISON.rpartition("/")[2],
            "Comparison of two model versions",
            "Two versions judged on the same patients: by how much the subject of the report is "
            "better than the version among its evaluated resources, with intervals.",
        ),
        "subjectCodeableConcept": {
            "coding": [{"system": "http://hl7.org/fhir/resource-types", "code": "Device"}]
        },
    }


def _answers() -> Resource:
    return unlisted_system(
        "model-answer",
        "MedSAGE answers of further models",
        "What a model other than the malaria model says: the model's name, a point, and a word "
        "that its card explains.",
    )
