"""Whether a patient permits that their record is analysed: asked of the same rules as everything
else, for the client that analyses. What they deny of single resources, the guard keeps from it."""

from dataclasses import dataclass

from fhir_server.search.expression import EVERYTHING, NOTHING
from fhir_server.search.registry import Registry
from fhir_server.security.actors import actor_of
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.consent_rules import Judging, ruling
from fhir_server.security.principal import own_principal

ANALYST = own_principal("medsage-worker", "MedSAGE worker")
"""The client that analyses, as rules name it (its rights come from its own registration)."""

_NEEDED = ("Patient", "Task", "Observation", "DiagnosticReport")
"""Types without all of which there is no analysis."""


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

    def changed_since(self, before: "Permissions") -> frozenset[str]:
        """The patients who may say something else than before."""
        return (self.denied ^ before.denied) | (self.permitted ^ before.permitted)


def permissions(circumstances: Circumstances, registry: Registry) -> Permissions:
    """What patients say of an analysis; `circumstances` are ANALYST's."""
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
