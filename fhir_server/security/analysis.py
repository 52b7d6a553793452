"""Whether a patient permits that their record is analysed: asked of the same rules as everything
else, for the client that analyses. What they deny of single resources, the guard keeps from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import ASSESSMENT
from fhir_server.search import terms
from fhir_server.search.expression import EVERYTHING, NOTHING, Terms
from fhir_server.search.registry import Registry
from fhir_server.security.actors import actor_of
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.consent_rules import Judging, ruling
from fhir_server.security.principal import own_principal

ANALYST = own_principal("medsage-worker", "MedSAGE worker")
"""The client that analyses, as rules name it (its rights come from its own registration)."""

_NEEDED = ("Patient", "Task", "Observation", "DiagnosticReport")
"""Types without all of which there is no analysis."""
OPEN = frozenset({"requested", "in-progress"})
"""A Task that is one of these waits for its analysis; under way, too, its worker may have died."""


@dataclass(frozen=True)
class Permissions:
    """Who refuses an analysis and who permits it (ids of patients); `shares` stands for all who
    have said nothing."""

    denied: frozenset[str] = frozenset()
    permitted: frozenset[str] = frozenset()
    shares: bool = True

    def refuses(self, patient: str) -> bool:
        """Whether the patient (an id) refuses."""
        return patient in self.denied or not (self.shares or patient in self.permitted)

    def refuse(self, patients: Iterable[str]) -> bool:
        """Whether one of them refuses; nobody (none is named) has said nothing."""
        return any(map(self.refuses, patients or [""]))

    def changed_since(self, before: "Permissions") -> frozenset[str]:
        """The patients who may say something else than before."""
        return (self.denied ^ before.denied) | (self.permitted ^ before.permitted)


def is_open_analysis(task: dict[str, Any]) -> bool:
    """Whether a valid Task asks for an analysis that has not come to its end."""
    codings = task.get("code", {}).get("coding", ())
    codes = {(each.get("system"), each.get("code")) for each in codings}
    return task["status"] in OPEN and (ASSESSMENT["system"], ASSESSMENT["code"]) in codes


def subjects_of(type: str, found: Terms) -> frozenset[str]:
    """The patients (ids) whom a Task or DiagnosticReport with these terms is about, however it
    refers to them."""
    named = {value for param, value in found.terms if param == terms.key(type, "subject")}
    ids = (value.removeprefix("Patient/") for value in named if value.startswith("Patient/"))
    return frozenset(id for id in ids if "/" not in id)


def permissions(circumstances: Circumstances, registry: Registry) -> Permissions:
    """What patients say of an analysis; `circumstances` are anybody's: they hold what all patients
    say, and who asks does not matter."""
    judging = Judging(actor_of(ANALYST), circumstances.now, registry)
    denied: set[str] = set()
    permitted: set[str] = set()
    for root, patients in circumstances.rules.by_root.items():
        said = [ruling(root, type, judging) for type in _NEEDED]
        if any(each.denied == EVERYTHING for each in said):
            denied |= patients
        if all(each.permitted != NOTHING for each in said):
            permitted |= patients
    shares = circumstances.policy.consents_by_default
    return Permissions(frozenset(denied), frozenset(permitted), shares)
