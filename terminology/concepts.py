"""Concepts and the CodeSystem that they make up (R4 CodeSystem)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhir_server.fhir.assessment import CANONICAL

Resource = dict[str, Any]

PUBLISHER = "MedSAGE project"


class Concept(NamedTuple):
    """One code: its display, exactly as it is written beside the code, and what it means."""

    code: str
    display: str
    definition: str

    def as_json(self) -> Resource:
        return self._asdict()


@dataclass(frozen=True)
class System:
    """A code system: the last part of its URL, its title, what it is for and its concepts."""

    name: str
    title: str
    description: str
    concepts: Sequence[Concept]

    @property
    def url(self) -> str:
        return f"{CANONICAL}/CodeSystem/{self.name}"


def own(type: str, name: str, title: str, description: str) -> Resource:
    """What every definition here begins with: its type, fixed id, canonical URL and titles."""
    return {
        "resourceType": type,
        "id": f"medsage-{name}",
        "url": f"{CANONICAL}/{type}/{name}",
        "name": "MedSage" + "".join(word.capitalize() for word in name.split("-")),
        "title": title,
        "status": "active",
        "experimental": False,
        "publisher": PUBLISHER,
        "description": description,
    }


def code_system(system: System) -> Resource:
    """The CodeSystem of `system`, complete."""
    return {
        **own("CodeSystem", system.name, system.title, system.description),
        "caseSensitive": True,
        "content": "complete",
        "count": len(system.concepts),
        "concept": [concept.as_json() for concept in system.concepts],
    }


def unlisted_system(name: str, title: str, description: str) -> Resource:
    """A CodeSystem whose codes are known by their form or belong to each installation: none is
    listed."""
    return {
        **own("CodeSystem", name, title, description),
        "caseSensitive": True,
        "content": "not-present",
    }
