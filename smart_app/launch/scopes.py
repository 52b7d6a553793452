"""SMART v2 scopes the app asks for, with the feature that needs each one.

What belongs to a patient is asked for as `patient/` in a chart launch; what does not (who signs,
the model, audit) is `user/` in both ways of signing in.
"""

from collections.abc import Iterable, Mapping

IDENTITY = ("openid", "fhirUser")

CHART: Mapping[str, str] = {
    "Patient": "rs",
    "Encounter": "rs",
    # Feedback on an AI result is amended by a new version.
    "Observation": "crus",
    "AllergyIntolerance": "rs",
    "Media": "crs",
    "QuestionnaireResponse": "crs",
    "Task": "crus",
    "DiagnosticReport": "rus",
    "MedicationRequest": "crs",
    "Binary": "cr",
    "Provenance": "crs",
}
BESIDE: Mapping[str, str] = {
    "Practitioner": "rs",
    "Device": "rs",
    "AuditEvent": "c",
}
STANDALONE_EXTRA: Mapping[str, str] = {
    "Patient": "crs",
    # Pages of governance: versions of models and decisions on them, drift, and holds. What of it
    # a person may do, their role says.
    "Device": "rus",
    "MeasureReport": "rs",
    "HealthcareService": "rus",
    "Organization": "r",
    "Location": "r",
}

# What the app does in its own name: it leaves an AuditEvent for each request that it refuses.
AUDIT_SCOPE = "system/AuditEvent.c"

LEVELS = frozenset({"patient", "user", "system"})

# What a clinician can't do when a scope was not granted: (type, actions) → name in texts
NEEDED = (("Patient", "r"), ("Observation", "rs"), ("DiagnosticReport", "rs"))


def chart_scope() -> str:
    """The scope parameter of an EHR launch."""
    wanted = [f"patient/{type_}.{acts}" for type_, acts in CHART.items()]
    wanted += [f"user/{type_}.{acts}" for type_, acts in BESIDE.items()]
    return " ".join(("launch", *IDENTITY, "online_access", *wanted))


def standalone_scope() -> str:
    """The scope parameter of a sign-in from the app's own Home page."""
    types = {**CHART, **BESIDE, **STANDALONE_EXTRA}
    wanted = [f"user/{type_}.{acts}" for type_, acts in types.items()]
    return " ".join((*IDENTITY, "online_access", *wanted))


def allows(granted: str, type_: str, actions: str) -> bool:
    """Whether the granted scope string lets a caller do all `actions` (letters of `cruds`)."""
    given = set[str]()
    for scope in granted.split():
        level, _, rest = scope.partition("/")
        resource, _, letters = rest.partition(".")
        if level not in LEVELS or resource not in {type_, "*"}:
            continue
        letters = letters.partition("?")[0]
        given |= set(_V1.get(letters, letters))
    return set(actions) <= given


_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


def missing(granted: str) -> Iterable[tuple[str, str]]:
    """Those of NEEDED that were not granted; without them no page can be shown."""
    return [need for need in NEEDED if not allows(granted, *need)]
