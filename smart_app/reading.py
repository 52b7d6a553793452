"""The clinician's own reading, made before the AI result is shown, and the final finding.

Both are Observations. A first reading is locked: it is created once per report and reader.
"""

from collections.abc import Mapping, Sequence

from fhir_server.fhir import feedback
from fhir_server.fhir.assessment import CANONICAL, FINDINGS, LOINC
from fhir_server.fhir.double_reading import ADJUDICATION_OF_REPORT
from fhir_server.fhir.drawings import drawing_of
from fhir_server.fhir.feedback import FIRST_READING
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _

FINAL_FINDING = "clinician-finding"
AGREEMENT = "ai-agreement"
READING_OF_REPORT = f"{CANONICAL}/identifier/first-reading-of-report"
BYPASSED = "not-performed"
SMEAR = {"system": LOINC, "code": "32700-7", "display": "Malaria smear, blood"}

SMEAR_ANSWERS = ("parasites-seen", "parasites-not-seen", "cannot-tell")
CLINICAL_ANSWERS = ("malaria-likely", "malaria-unlikely", "cannot-tell")
AGREEMENTS = tuple(feedback.AGREEMENTS)


def answer_words(code: str) -> str:
    """A reading in words."""
    words = {
        "parasites-seen": _("Parasites seen"),
        "parasites-not-seen": _("No parasites seen"),
        "malaria-likely": _("Malaria likely"),
        "malaria-unlikely": _("Malaria unlikely"),
        "cannot-tell": _("Cannot tell"),
    }
    return words[code]


def agreement_words(code: str) -> str:
    """What the clinician says about the AI result, in words."""
    words = {
        "accept": _("Accept"),
        "modify": _("Accept with changes"),
        "reject": _("Reject"),
        "not-assessed": _("Not assessed"),
    }
    return words[code]


def answers_for(images: Sequence[object]) -> tuple[str, ...]:
    """The answers offered: about the smear when there is one, else about the patient."""
    return SMEAR_ANSWERS if images else CLINICAL_ANSWERS


def reading_key(report: Resource, reader: str) -> str:
    """The business identifier of this reader's first reading of this report."""
    return f"{report['id']}.{reader.rpartition('/')[2]}"


def first_reading(report: Resource, reader: str, answer: str | None, when: str) -> Resource:
    """The Observation of a first reading; `answer` None records that a danger sign made the
    clinician open the AI result at once."""
    observation = _observation(FIRST_READING, report, reader, when=when)
    observation["identifier"] = [
        {"system": READING_OF_REPORT, "value": reading_key(report, reader)}
    ]
    if answer is None:
        system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
        reason = {"system": system, "code": BYPASSED, "display": "Not Performed"}
        text = "Danger sign: AI result opened at once"
        observation["dataAbsentReason"] = {"coding": [reason], "text": text}
        return observation
    return {**observation, "valueCodeableConcept": _answer(answer)}


def adjudicated_reading(report: Resource, reader: str, answer: str, when: str) -> Resource:
    """The Observation of a third reader, where two have read the images differently."""
    observation = _observation(feedback.ADJUDICATED_READING, report, reader, when=when)
    name = {"system": ADJUDICATION_OF_REPORT, "value": reading_key(report, reader)}
    return {**observation, "identifier": [name], "valueCodeableConcept": _answer(answer)}


def final_finding(report: Resource, reader: str, chosen: Mapping[str, str], when: str) -> Resource:
    """The Observation of the finding the clinician signs, with what they say about the AI's."""
    observation = _observation(FINAL_FINDING, report, reader, when=when)
    if chosen["finding"] in SMEAR_ANSWERS[:2]:
        observation["code"]["coding"].append(SMEAR)
    agreement = {"system": FINDINGS, "code": chosen["agreement"]}
    observation["valueCodeableConcept"] = _answer(chosen["finding"])
    observation["component"] = [
        {
            "code": {"coding": [{"system": FINDINGS, "code": AGREEMENT}], "text": "AI result"},
            "valueCodeableConcept": {
                "coding": [agreement],
                "text": agreement_words(chosen["agreement"]),
            },
        }
    ]
    return observation


def _answer(code: str) -> Resource:
    return {"coding": [{"system": FINDINGS, "code": code}], "text": answer_words(code)}


def _observation(code: str, report: Resource, reader: str, *, when: str) -> Resource:
    titles = {
        FIRST_READING: "First reading",
        FINAL_FINDING: "Clinician's finding",
        feedback.ADJUDICATED_READING: "Adjudicated reading",
    }
    observation: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": FINDINGS, "code": code}], "text": titles[code]},
        "subject": report["subject"],
        "effectiveDateTime": when,
        "performer": [{"reference": reader}],
    }
    if "encounter" in report:
        observation["encounter"] = report["encounter"]
    # What the AI drew is no source of the clinician's own word.
    media = [m["link"] for m in report.get("media", ()) if drawing_of(m) is None]
    if media:
        observation["derivedFrom"] = media
    return observation
