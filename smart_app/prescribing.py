"""A prescription entered by the clinician: form → MedicationRequest. No dose comes from AI."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_server.fhir.assessment import CANONICAL, FINDINGS
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.intake import NUMBER, FieldProblem, as_number
from smart_app.signing import Signer

PRESCRIPTION = f"{CANONICAL}/identifier/prescription"
NO_MEDICINE = "no-medicine-prescribed"
DECISION = "prescription-decision"
ROUTES = ("by mouth", "intravenous", "intramuscular", "rectal")
MOST_DAYS = 90
MOST_PIECES = 20
"""Of what is swallowed or given piece by piece nobody takes more at once: a slip of the keys."""
_PIECES = re.compile(r"\b(?:tab(?:let)?s?|caps?(?:ule)?s?|pills?|suppositor(?:y|ies)|sachets?)\b")


@dataclass(frozen=True)
class Prescription:
    """What the form says; `allergy` is the recorded allergy that the medicine's name matches."""

    fields: Mapping[str, str]
    problems: tuple[FieldProblem, ...]
    allergy: str

    @property
    def instruction(self) -> str:
        """The dosage as one sentence, as it is printed."""
        return dosage_text(self.fields)


def route_words(route: str) -> str:
    """A route of administration in words."""
    words = {
        "by mouth": _("by mouth"),
        "intravenous": _("into a vein"),
        "intramuscular": _("into a muscle"),
        "rectal": _("rectally"),
    }
    return words[route]


def read_prescription(
    fields: Mapping[str, str], allergies: Sequence[str], *, allergies_loaded: bool
) -> Prescription:
    """Check the form. A medicine that matches a recorded allergy is stopped; a list that could
    not be loaded needs the word that allergies were asked about."""
    problems = [
        FieldProblem(name, text)
        for name, text in (
            ("medicine", _("Enter the generic name of the medicine")),
            ("form", _("Enter form and strength, for example tablet 20 mg/120 mg")),
            ("dose_unit", _("Enter what the dose is counted in, for example tablets")),
        )
        if not fields.get(name)
    ]
    if not NUMBER.fullmatch(fields.get("dose", "")) or as_number(fields["dose"]) <= 0:
        problems.append(FieldProblem("dose", _("Enter the dose as a number, for example 4")))
    elif as_number(fields["dose"]) > MOST_PIECES and _PIECES.search(
        fields.get("dose_unit", "").casefold()
    ):
        text = _("Check the dose: nobody takes more than %(most)s at once") % {"most": MOST_PIECES}
        problems.append(FieldProblem("dose", text))
    problems += _whole("frequency", fields, most=6, text=_("Choose how often a day"))
    problems += _whole("days", fields, most=MOST_DAYS, text=_("Enter the number of days (1 to 90)"))
    if fields.get("route") not in ROUTES:
        problems.append(FieldProblem("route", _("Choose how the medicine is given")))
    # A brand's substance is often named with its strength alone.
    named = " ".join(fields.get(name, "") for name in ("medicine", "form"))
    allergy = matching_allergy(named, allergies)
    if allergy:
        text = _("Stopped: this patient has a recorded allergy to %(name)s") % {"name": allergy}
        problems.insert(0, FieldProblem("medicine", text))
    if not allergies_loaded and fields.get("asked") != "yes":
        text = _("Allergies could not be loaded: ask the patient, and confirm that you did")
        problems.append(FieldProblem("asked", text))
    return Prescription(dict(fields), tuple(problems), allergy)


def _whole(name: str, fields: Mapping[str, str], *, most: int, text: str) -> list[FieldProblem]:
    value = fields.get(name, "")
    is_fine = re.fullmatch(r"[0-9]{1,3}", value) and 1 <= int(value) <= most
    return [] if is_fine else [FieldProblem(name, text)]


def matching_allergy(medicine: str, allergies: Sequence[str]) -> str:
    """The recorded allergy that shares a word of four letters or more with the medicine."""
    words = set(re.findall(r"\w{4,}", medicine.casefold()))
    return next((a for a in allergies if words & set(re.findall(r"\w{4,}", a.casefold()))), "")


def dosage_text(fields: Mapping[str, str]) -> str:
    """Dose, route, frequency and duration in one sentence; numbers without a trailing zero."""
    words = {
        "dose": f"{as_number(fields['dose']):g}",
        "unit": fields["dose_unit"],
        "route": route_words(fields["route"]),
        "frequency": fields["frequency"],
        "days": fields["days"],
    }
    return _("%(dose)s %(unit)s %(route)s, %(frequency)s times a day for %(days)s days") % words


def medication_request(
    prescription: Prescription, report: Resource, signer: Signer, form_id: str
) -> Resource:
    """The active MedicationRequest; it names the report it follows from."""
    fields = prescription.fields
    request: Resource = {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": PRESCRIPTION, "value": form_id}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": f"{fields['medicine']}, {fields['form']}"},
        "subject": report["subject"],
        "authoredOn": signer.when,
        "requester": {"reference": signer.reference, "display": signer.name},
        "supportingInformation": [{"reference": f"DiagnosticReport/{report['id']}"}],
        "dosageInstruction": [_dosage(prescription)],
    }
    if "encounter" in report:
        request["encounter"] = report["encounter"]
    return request


def _dosage(prescription: Prescription) -> Resource:
    fields = prescription.fields
    dosage: Resource = {
        "text": prescription.instruction,
        "timing": {
            "repeat": {
                "boundsDuration": {
                    "value": int(fields["days"]),
                    "unit": "d",
                    "system": "http://unitsofmeasure.org",
                    "code": "d",
                },
                "frequency": int(fields["frequency"]),
                "period": 1,
                "periodUnit": "d",
            }
        },
        "route": {"text": fields["route"]},
        "doseAndRate": [
            {"doseQuantity": {"value": as_number(fields["dose"]), "unit": fields["dose_unit"]}}
        ],
    }
    if fields.get("instructions"):
        dosage["patientInstruction"] = fields["instructions"]
    return dosage


def no_medicine(report: Resource, signer: Signer, form_id: str) -> Resource:
    """The recorded decision that no medicine is prescribed after this report."""
    value = {"system": FINDINGS, "code": NO_MEDICINE}
    observation: Resource = {
        "resourceType": "Observation",
        "identifier": [{"system": PRESCRIPTION, "value": form_id}],
        "status": "final",
        "code": {
            "coding": [{"system": FINDINGS, "code": DECISION}],
            "text": "Prescription decision",
        },
        "subject": report["subject"],
        "effectiveDateTime": signer.when,
        "performer": [{"reference": signer.reference, "display": signer.name}],
        "valueCodeableConcept": {"coding": [value], "text": "No medicine prescribed"},
        "focus": [{"reference": f"DiagnosticReport/{report['id']}"}],
    }
    if "encounter" in report:
        observation["encounter"] = report["encounter"]
    return observation
