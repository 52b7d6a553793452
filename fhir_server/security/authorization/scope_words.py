"""Scopes in plain words, for who is to allow them (SMART App Launch 2.2, "Scopes for requesting
FHIR resources").

What has no words here is shown as it is: a wrong paraphrase of a permission is worse than none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.security.authorization.pages import marked
from fhir_server.security.scopes import ResourceScope, parse_scopes

FIXED = frozenset({"openid", "launch", "launch/patient", "launch/encounter"})
"""Contexts that an app can't work without, so that they can't be left out."""
_CONTEXTS = {
    "openid": marked("Know that it is you who is signed in"),
    "fhirUser": marked("Know your name and your own record as a member of staff"),
    "profile": marked("Know your name"),
    "launch": marked("Know which chart is open"),
    "launch/patient": marked("Know which patient is chosen"),
    "launch/encounter": marked("Know which visit is open"),
    "online_access": marked("Keep working until you sign out"),
    "offline_access": marked("Keep working after you have signed out"),
}
_LEVELS = {
    "patient": marked("of this patient"),
    "user": marked("of all patients that you may see"),
    "system": marked("of all patients"),
}
_TYPES = {
    "*": marked("everything in the records"),
    "AllergyIntolerance": marked("allergies"),
    "Appointment": marked("appointments"),
    "Binary": marked("files and images"),
    "CarePlan": marked("care plans"),
    "CareTeam": marked("care teams"),
    "Condition": marked("diagnoses and problems"),
    "Consent": marked("patients' consents"),
    "Coverage": marked("insurance"),
    "Device": marked("devices"),
    "DiagnosticReport": marked("reports of examinations"),
    "DocumentReference": marked("documents"),
    "Encounter": marked("visits"),
    "FamilyMemberHistory": marked("family history"),
    "Goal": marked("goals of treatment"),
    "ImagingStudy": marked("imaging studies"),
    "Immunization": marked("vaccinations"),
    "Location": marked("places"),
    "Media": marked("photographs and recordings"),
    "Medication": marked("medicines"),
    "MedicationAdministration": marked("medicines given"),
    "MedicationDispense": marked("medicines handed out"),
    "MedicationRequest": marked("prescriptions"),
    "MedicationStatement": marked("medicines taken"),
    "Observation": marked("measurements and results"),
    "Organization": marked("organisations"),
    "Patient": marked("names, birth dates and addresses"),
    "Practitioner": marked("members of staff"),
    "PractitionerRole": marked("roles of staff"),
    "Procedure": marked("procedures"),
    "Provenance": marked("who recorded what"),
    "Questionnaire": marked("questionnaires"),
    "QuestionnaireResponse": marked("answered questionnaires"),
    "RelatedPerson": marked("relatives and guardians"),
    "ServiceRequest": marked("orders"),
    "Specimen": marked("specimens"),
    "Task": marked("tasks"),
}
_OBSERVATIONS = "http://terminology.hl7.org/CodeSystem/observation-category"
_CONDITIONS = "http://terminology.hl7.org/CodeSystem/condition-category"
_US_CONDITIONS = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
_US_CATEGORIES = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
_US_DOCUMENTS = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"
_SERVICES = "http://terminology.hl7.org/CodeSystem/v2-0074"
_CATEGORIES: Mapping[tuple[str, str, str], str] = {
    ("Observation", _OBSERVATIONS, "laboratory"): marked("laboratory results"),
    ("Observation", _OBSERVATIONS, "vital-signs"): marked("vital signs"),
    ("Observation", _OBSERVATIONS, "social-history"): marked("social history"),
    ("Observation", _OBSERVATIONS, "imaging"): marked("findings of imaging"),
    ("Observation", _OBSERVATIONS, "exam"): marked("findings of examinations"),
    ("Observation", _OBSERVATIONS, "survey"): marked("results of surveys"),
    ("Observation", _OBSERVATIONS, "procedure"): marked("findings of procedures"),
    ("Observation", _OBSERVATIONS, "therapy"): marked("observations of therapies"),
    ("Observation", _OBSERVATIONS, "activity"): marked("physical activity"),
    ("Observation", _US_CATEGORIES, "sdoh"): marked("social circumstances"),
    ("Condition", _CONDITIONS, "problem-list-item"): marked("problems on the problem list"),
    ("Condition", _CONDITIONS, "encounter-diagnosis"): marked("diagnoses of visits"),
    ("Condition", _US_CONDITIONS, "health-concern"): marked("health concerns"),
    ("Condition", _US_CATEGORIES, "sdoh"): marked("social problems"),
    ("DocumentReference", _US_DOCUMENTS, "clinical-note"): marked("clinical notes"),
    ("DiagnosticReport", _SERVICES, "LAB"): marked("laboratory reports"),
    ("DiagnosticReport", _SERVICES, "RAD"): marked("radiology reports"),
}


@dataclass(frozen=True)
class Line:
    """One scope, in words and as it is; `has_words` when the words say all of it, `is_fixed` when
    it can't be left out."""

    text: str
    scope: str
    has_words: bool = True
    is_fixed: bool = False


def describe(scope: str) -> list[Line]:
    """The scopes of a granted scope string in words."""
    scopes = parse_scopes(scope)
    contexts = [
        Line(_CONTEXTS[name], name, is_fixed=name in FIXED) for name in sorted(scopes.contexts)
    ]
    return contexts + [_line(one) for one in scopes.resources]


def _line(scope: ResourceScope) -> Line:
    what = _things(scope)
    if what is None:
        return Line(marked("Exactly this, for which there are no plain words:"), str(scope), False)
    return Line(f"{_actions(scope.actions)} {what} {_LEVELS[scope.level]}", str(scope))


def _actions(actions: frozenset[str]) -> str:
    """Reading and searching are both called reading: either shows what is there."""
    words = {"read": "rs", "create": "c", "change": "u", "delete": "d"}
    said = [word for word, letters in words.items() if actions & set(letters)]
    listed = ", ".join(said[:-1])
    return (f"{listed} and {said[-1]}" if listed else said[-1]).capitalize()


def _things(scope: ResourceScope) -> str | None:
    """What the scope is about; None when its filter has no words."""
    if not scope.query:
        return _TYPES.get(scope.type, f"resources of type {scope.type}")
    if {name for name, _ in scope.query} != {"category"} or len(scope.query) != 1:
        return None
    ((_, values),) = scope.query
    words = [_category(scope.type, value) for value in values.split(",")]
    known = [word for word in words if word is not None]
    return " and ".join(known) if len(known) == len(words) else None


def _category(type: str, value: str) -> str | None:
    """A code with its system, or a code alone, which is then of any system."""
    system, bar, code = value.rpartition("|")
    if bar:
        return _CATEGORIES.get((type, system, code))
    same = {words for (of, _, each), words in _CATEGORIES.items() if (of, each) == (type, code)}
    return same.pop() if len(same) == 1 else None
