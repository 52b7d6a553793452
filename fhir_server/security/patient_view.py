"""What a `patient/` scope can reach: one patient's compartment, as expressions of terms."""

from collections.abc import Callable, Mapping

from fhir_server.fhir.compartments import SHARED_TYPES, patient_parameters
from fhir_server.search import terms
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    Expression,
    HasRange,
    HasTerm,
    LinksTo,
    Not,
    all_of,
    any_of,
)
from fhir_server.security.guard_terms import (
    ABOUT_NOBODY,
    OFTEN_ABOUT_NOBODY,
    SECURITY_CONTEXT,
    guard_key,
)

_RECORDS = (
    "Composition", "Condition", "DiagnosticReport", "DocumentReference", "Encounter",
    "ImagingStudy", "Media", "MedicationRequest", "Observation", "QuestionnaireResponse",
    "ServiceRequest", "Task",
)  # fmt: skip
Seen = Callable[[str], Expression]

FOLLOWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Binary": (SECURITY_CONTEXT, _RECORDS),
    "Provenance": (terms.key("Provenance", "target"), _RECORDS),
}
"""Types that are seen where a resource they name is seen: the parameter, and those types."""


def patient_filter(type: str, patient: str, *, seen: Seen, is_write: bool) -> Expression:
    """The resources of `type` that belong to the patient with this id; `seen` is what the caller
    may read of another type. Directories and definitions are readable by all, but not to be
    written by an app of one patient."""
    if type in SHARED_TYPES:
        return NOTHING if is_write else EVERYTHING
    member = any_of([*_memberships(type, patient), *_followed(type, patient, seen)])
    if is_write:
        return all_of([member, Not(any_of(_about_others(type, patient)))])
    if type in OFTEN_ABOUT_NOBODY:
        return any_of([member, HasTerm(guard_key(type), ABOUT_NOBODY)])
    return member


def _memberships(type: str, patient: str) -> list[Expression]:
    found: list[Expression] = [
        HasTerm(terms.key(type, code), f"Patient/{patient}") for code in patient_parameters(type)
    ]
    if type == "Patient":
        found.append(HasTerm(terms.key("Patient", "_id"), patient))
    return found


def _followed(type: str, patient: str, seen: Seen) -> list[Expression]:
    if type not in FOLLOWS:
        return []
    param, targets = FOLLOWS[type]
    views = [(target, seen(target)) for target in targets]
    links: list[Expression] = [
        LinksTo(param, target, view) for target, view in views if view != NOTHING
    ]
    return [HasTerm(param, f"Patient/{patient}"), *links]


def _about_others(type: str, patient: str) -> list[Expression]:
    """Tests for a reference to another patient: what is about two may be read by the app of
    either, but written by neither."""
    all_patients, own = "Patient/", f"Patient/{patient}"
    versions_of_own = f"{own}/"
    others = (
        (all_patients, own),
        (terms.above(own), versions_of_own),
        (terms.next_after(versions_of_own), terms.next_after(all_patients)),
    )
    keys = [terms.key(type, code) for code in patient_parameters(type)]
    return [HasRange(key, low, high) for key in keys for low, high in others]
