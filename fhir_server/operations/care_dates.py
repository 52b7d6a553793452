"""When the care happened that a resource of the Patient compartment tells of: what `start` and
`end` of `$everything` ask for (R4 Patient $everything: "care dates, not record currency dates")."""

from collections.abc import Mapping
from functools import lru_cache

from fhir_server.search import terms
from fhir_server.search.expression import EVERYTHING, Expression, HasTerm, Not, all_of, any_of
from fhir_server.search.plan import Scope, criterion
from fhir_server.search.registry import Registry

CARE_DATES: Mapping[str, tuple[str, ...]] = {
    "Account": ("period",),
    "AllergyIntolerance": ("onset", "date"),
    "Basic": ("created",),
    "ChargeItem": ("occurrence", "entered-date"),
    "Claim": ("created",),
    "ClaimResponse": ("created",),
    "Communication": ("sent", "received"),
    "CommunicationRequest": ("occurrence", "authored"),
    "Composition": ("period", "date"),
    "Condition": ("onset-date", "recorded-date"),
    "CoverageEligibilityRequest": ("created",),
    "CoverageEligibilityResponse": ("created",),
    "DetectedIssue": ("identified",),
    "DeviceRequest": ("event-date", "authored-on"),
    "DiagnosticReport": ("date", "issued"),
    "DocumentManifest": ("created",),
    "DocumentReference": ("period", "date"),
    "ExplanationOfBenefit": ("created",),
    "Goal": ("start-date",),
    "ImagingStudy": ("started",),
    "MeasureReport": ("period", "date"),
    "Media": ("created",),
    "MedicationAdministration": ("effective-time",),
    "MedicationDispense": ("whenhandedover", "whenprepared"),
    "MedicationRequest": ("authoredon",),
    "MedicationStatement": ("effective",),
    "NutritionOrder": ("datetime",),
    "Patient": (),
    "Person": (),
    "Provenance": ("when", "recorded"),
    "QuestionnaireResponse": ("authored",),
    "RelatedPerson": (),
    "RequestGroup": ("authored",),
    "ServiceRequest": ("occurrence", "authored"),
    "Specimen": ("collected",),
    "VisionPrescription": ("datewritten",),
}
"""The date parameters of a type, the one to be believed first: a later one counts where a
resource lacks those before it. Types that are not listed have `date`, or no date at all."""


@lru_cache(maxsize=256)
def care_dates(registry: Registry, type: str) -> tuple[str, ...]:
    """The codes of the type's care dates; none for a type whose resources have no such date."""
    listed = CARE_DATES.get(type)
    if listed is not None:
        return listed
    found = registry.parameter(type, "date")
    return ("date",) if found is not None and found.kind == "date" else ()


def within(scope: Scope, type: str, start: str | None, end: str | None) -> Expression:
    """The resources whose care overlaps the days from `start` to `end`, and those that do not say
    when it was: leaving them out would hide what may belong."""
    codes = care_dates(scope.registry, type)
    bounds = [f"{prefix}{day}" for prefix, day in (("ge", start), ("le", end)) if day is not None]
    if not codes or not bounds:
        return EVERYTHING
    found: list[Expression] = []
    undated: list[Expression] = []
    for code in codes:
        tests = [criterion(scope, type, code, bound) for bound in bounds]
        found.append(all_of([*undated, *tests]))
        undated.append(Not(HasTerm(terms.has_key(type), code)))
    return any_of([*found, all_of(undated)])
