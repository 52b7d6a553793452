"""A small synthetic ward: invented people, with what a chart needs to be worth opening."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server.fhir.assessment import LOINC, UCUM

Resource = dict[str, Any]

RECORD_NUMBERS = "https://medsage.example/fhir/identifier/ward-record"
_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"

_STAFF = (
    ("dr-amina", "Njoroge", "Amina", "female"),
    ("dr-kofi", "Mensah", "Kofi", "male"),
    ("auditor", "Wanjiru", "Grace", "female"),
    ("admin", "Otieno", "Samuel", "male"),
    ("governance", "Adeyemi", "Ruth", "female"),
)
# id, family, given, gender, birth date, temperature (Cel), weight (kg), allergy
_PATIENTS = (
    ("ward-1", "Achieng", "Mercy", "female", "1994-03-17", 39.2, 58.0, "Sulfadoxine"),
    ("ward-2", "Banda", "Chisomo", "male", "2019-08-02", 40.1, 18.5, None),
    ("ward-3", "Diallo", "Fatoumata", "female", "1987-11-30", 37.4, 71.0, None),
    ("ward-4", "Eze", "Chinedu", "male", "1971-06-09", 38.6, 82.5, "Penicillin"),
    ("ward-5", "Kamau", "Wambui", "female", "2023-12-21", 39.8, 9.8, None),
    ("ward-6", "Mwangi", "Peter", "male", "1959-01-05", 36.9, 66.0, None),
    ("ward-7", "Mwangi", "Peter", "male", "1990-10-12", 38.0, 74.0, None),
    ("ward-8", "Okello", "Grace", "female", "2001-05-28", 39.0, 60.5, None),
)


def ward(now: datetime) -> Resource:
    """The ward as one transaction; its ids are fixed, so a repeat changes nothing but versions."""
    recorded = now.astimezone(UTC).replace(microsecond=0)
    resources = [_hospital(), *(_practitioner(*person) for person in _STAFF)]
    for number, patient in enumerate(_PATIENTS, start=1):
        resources += _chart(number, patient, recorded)
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": each,
                "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"},
            }
            for each in resources
        ],
    }


def _hospital() -> Resource:
    return {
        "resourceType": "Organization",
        "id": "ward-hospital",
        "active": True,
        "name": "Synthetic District Hospital",
    }


def _practitioner(id_: str, family: str, given: str, gender: str) -> Resource:
    return {
        "resourceType": "Practitioner",
        "id": id_,
        "active": True,
        "name": [{"family": family, "given": [given]}],
        "gender": gender,
    }


def _chart(number: int, patient: tuple[Any, ...], now: datetime) -> list[Resource]:
    id_, family, given, gender, born, temperature, weight, allergy = patient
    subject = {"reference": f"Patient/{id_}", "display": f"{given} {family}"}
    admitted = now - timedelta(hours=3 * number)
    chart = [
        {
            "resourceType": "Patient",
            "id": id_,
            "identifier": [{"system": RECORD_NUMBERS, "value": f"MRN-{1000 + number}"}],
            "active": True,
            "name": [{"use": "official", "family": family, "given": [given]}],
            "gender": gender,
            "birthDate": born,
            "managingOrganization": {"reference": "Organization/ward-hospital"},
        },
        {
            "resourceType": "Encounter",
            "id": f"{id_}-visit",
            "status": "in-progress",
            "class": {"system": _ACT, "code": "AMB", "display": "ambulatory"},
            "subject": subject,
            "period": {"start": admitted.isoformat()},
            "serviceProvider": {"reference": "Organization/ward-hospital"},
        },
        _vital(id_, subject, ("8310-5", "Body temperature", temperature, "Cel"), admitted),
        _vital(id_, subject, ("29463-7", "Body weight", weight, "kg"), admitted),
    ]
    if allergy:
        chart.append(
            {
                "resourceType": "AllergyIntolerance",
                "id": f"{id_}-allergy",
                "clinicalStatus": {"coding": [{"system": _ALLERGY, "code": "active"}]},
                "code": {"text": allergy},
                "patient": subject,
                "recordedDate": admitted.date().isoformat(),
            }
        )
    return chart


def _vital(
    patient: str, subject: Resource, measured: tuple[str, str, float, str], when: datetime
) -> Resource:
    code, display, value, unit = measured
    return {
        "resourceType": "Observation",
        "id": f"{patient}-{code}",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}]},
        "subject": subject,
        "encounter": {"reference": f"Encounter/{patient}-visit"},
        "effectiveDateTime": when.isoformat(),
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }
