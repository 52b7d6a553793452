"""An AI system in FHIR: its Device, its model card and its Provenance, tagged as AI.

HL7 AI Transparency on FHIR 1.0.0-ballot (repository HL7/aitransparency-ig); the guide is a ballot
and may change, so no conformance to a final version is claimed.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir import model_versions
from fhir_server.fhir.assessment import AI_ASSERTED, CANONICAL

Resource = dict[str, Any]

GUIDE = "http://hl7.org/fhir/uv/aitransparency"
AI_KIND = f"{GUIDE}/StructureDefinition/aitransparency.AIKind"
MODEL_CARD = f"{GUIDE}/StructureDefinition/aitransparency.modelCardDescription"
CONFIDENCE = f"{GUIDE}/StructureDefinition/AIconfidence"
DEVICE_TYPES = f"{GUIDE}/CodeSystem/AIdeviceTypeCS"
INPUTS = f"{GUIDE}/CodeSystem/AIinputsCS"
SYSTEM_VERSIONS = model_versions.SYSTEM_VERSIONS
MODEL_CARDS = f"{CANONICAL}/identifier/model-card"
MANUFACTURER = "MedSAGE project"
MODELS_PAGE = "https://medsage.example/models"
"""Where an installation serves the cards of its models, at its own address."""


@dataclass(frozen=True)
class AiSystem:
    """One version of one system. `key` names this very version (new weights, new key); `kinds`
    are AIdeviceTypeCS codes; `card` is the model card in Markdown."""

    key: str
    name: str
    version: str
    kinds: tuple[str, ...]
    card: str
    manufacturer: str = MANUFACTURER
    contact: str = "The project's issue tracker"


def ai_device(system: AiSystem, card_reference: str) -> Resource:
    """The AI-Device of this version, pointing at its model card."""
    return {
        "resourceType": "Device",
        "extension": [
            *(
                {"url": AI_KIND, "valueCodeableConcept": _concept(DEVICE_TYPES, kind)}
                for kind in system.kinds
            ),
            {"url": MODEL_CARD, "valueReference": {"reference": card_reference}},
        ],
        "identifier": [{"system": SYSTEM_VERSIONS, "value": system.key}],
        "status": "active",
        "manufacturer": system.manufacturer,
        "deviceName": [{"name": system.name, "type": "manufacturer-name"}],
        "modelNumber": system.key,
        "type": _concept(DEVICE_TYPES, "Artificial-Intelligence"),
        "version": [{"value": system.version}],
        "contact": [{"system": "other", "value": system.contact}],
        "url": MODELS_PAGE,
        "safety": [{"text": "Research use; not a medical device; not for diagnosis"}],
    }


def model_card(system: AiSystem) -> Resource:
    """The AI-ModelCard of this version."""
    return {
        "resourceType": "DocumentReference",
        "identifier": [{"system": MODEL_CARDS, "value": system.key}],
        "status": "current",
        "type": _concept(INPUTS, "AIModelCard", "AI Model-Card"),
        "category": [_concept(INPUTS, "AIModelCardMarkdownFormat", "Markdown Format")],
        "description": f"Model card of {system.name} {system.version}",
        "content": [
            {
                "attachment": {
                    "contentType": "text/markdown",
                    "data": base64.b64encode(system.card.encode()).decode(),
                    "title": f"{system.name} {system.version}",
                }
            }
        ],
    }


@dataclass(frozen=True)
class Trace:
    """What a Provenance says: which resources, by which Device and card, from which inputs."""

    targets: Sequence[str]
    device: str
    card: str
    sources: Sequence[str]


def ai_provenance(trace: Trace, recorded: str) -> Resource:
    """The AI-Provenance of resources written by a system; `recorded` is an instant."""
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in trace.targets],
        "recorded": recorded,
        "reason": [{"coding": [AI_ASSERTED]}],
        "activity": _concept("http://terminology.hl7.org/CodeSystem/v3-DataOperation", "CREATE"),
        "agent": [
            {
                "type": _concept(
                    "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author"
                ),
                "role": [_concept(DEVICE_TYPES, "Artificial-Intelligence")],
                "who": {"reference": trace.device},
            }
        ],
        "entity": [
            *({"role": "source", "what": {"reference": source}} for source in trace.sources),
            {"role": "derivation", "what": {"reference": trace.card}},
        ],
    }


def tagged(resource: Resource) -> Resource:
    """The resource marked as asserted by artificial intelligence (meta.security AIAST)."""
    meta = resource.get("meta", {})
    return {**resource, "meta": {**meta, "security": [*meta.get("security", ()), AI_ASSERTED]}}


def _concept(system: str, code: str, display: str | None = None) -> Resource:
    coding = {"system": system, "code": code}
    return {"coding": [{**coding, "display": display} if display else coding]}
