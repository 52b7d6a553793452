"""What the load writes, and what the service said of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, LOINC

Resource = dict[str, Any]

WRITTEN = f"{CANONICAL}/identifier/load"
"""The system of the names that the load gives to what it writes."""
KEPT = "kept-"
"""How the names of those begin that are updated."""
PARTS = 3
"""Resources of a transaction."""


def patient_id(number: int) -> str:
    """The id of the load's patient of this number."""
    return f"load-{number}"


def measured(name: str, value: int, patient: str) -> Resource:
    """A small Observation: of this name, with a value that makes its content one of a kind."""
    code = {"system": LOINC, "code": "8867-4", "display": "Heart rate"}
    return {
        "resourceType": "Observation",
        "identifier": [{"system": WRITTEN, "value": name}],
        "status": "final",
        "code": {"coding": [code]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-11-01T08:00:00Z",
        "valueInteger": value,
    }


def name_of(resource: Resource) -> str | None:
    """The load's name of a resource; None for somebody else's."""
    named = resource.get("identifier", ())
    return next((each["value"] for each in named if each.get("system") == WRITTEN), None)


def names_of_transaction(number: int) -> list[str]:
    """The names of the resources of the transaction of this number."""
    return [f"transaction-{number}.{part}" for part in range(PARTS)]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A version that was acknowledged, and the content that it must have."""

    reference: str
    version: str
    content: Resource


@dataclass
class Ledger:
    """`unknown` names creates and transactions of which no answer came: they may be there, once,
    or not. `tasks` are the ids of Tasks that were accepted."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    transactions: set[int] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)

    def take(self, location: str, content: Resource) -> None:
        """Note a version by the Location that it was acknowledged with."""
        reference, version = located(location)
        self.acknowledged.append(Acknowledged(reference, version, content))

    @property
    def versions(self) -> Sequence[tuple[str, str]]:
        """`Type/id` and version id of all that was acknowledged."""
        return [(each.reference, each.version) for each in self.acknowledged]


def located(location: str) -> tuple[str, str]:
    """`Type/id` and version id of a Location; ValueError when it is none of a version."""
    place, found, version = location.partition("/_history/")
    parts = place.rsplit("/", 2)[-2:]
    if not found or len(parts) != 2:
        raise ValueError(f"not the location of a version: {location!r}")
    return "/".join(parts), version
