"""Whether a patient permits that their record is analysed: asked of the same rules as everything
else, for the client that analyses. What they deny of single resources, the guard keeps from it."""

from collections.abc import Callable

from fhir_server.search.expression import EVERYTHING
from fhir_server.search.registry import Registry
from fhir_server.security.actors import actor_of
from fhir_server.security.circumstances import Circumstances
from fhir_server.security.consent_rules import Judging, ruling
from fhir_server.security.principal import Principal

ANALYST = Principal(
    subject="medsage-worker",
    client_id="medsage-worker",
    name="MedSAGE worker",
    roles=frozenset(),
    fhir_user=None,
    scopes="",
    patient=None,
    encounter=None,
    session=None,
)
"""The client that analyses, as rules name it (its rights come from its own registration)."""

_NEEDED = ("Patient", "Task", "DiagnosticReport")
"""Types without all of which there is no analysis."""


def refusing(circumstances: Circumstances, registry: Registry) -> Callable[[str], bool]:
    """Tells of a patient (an id) whether they refuse an analysis; `circumstances` are ANALYST's."""
    judging = Judging(actor_of(ANALYST), circumstances.now, registry)
    denied: set[str] = set()
    permitted: set[str] = set()
    for root, patients in circumstances.rules.by_root.items():
        said = [ruling(root, type, judging) for type in _NEEDED]
        if any(each.denied == EVERYTHING for each in said):
            denied |= patients
        if all(each.permitted == EVERYTHING for each in said):
            permitted |= patients
    shares = circumstances.policy.consents_by_default
    return lambda patient: patient in denied or not (shares or patient in permitted)
