"""The FHIR shapes of one malaria assessment, shared by the app, the seed's API and the worker.

A submission is one transaction: a Binary and a Media for each image, an Observation for each vital
sign, a QuestionnaireResponse for the symptoms, and a Task (status `requested`) that asks for
the analysis. The worker answers with a `preliminary` DiagnosticReport, named by the Task in
`output` and carrying the Task's id as its business identifier.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Resource = dict[str, Any]

CANONICAL = "https://medsage.example/fhir"
TRACE = f"{CANONICAL}/StructureDefinition/traceparent"
TASK_CODES = f"{CANONICAL}/CodeSystem/task-code"
TASK_PARTS = f"{CANONICAL}/CodeSystem/task-part"
FINDINGS = f"{CANONICAL}/CodeSystem/finding"
SYMPTOMS = f"{CANONICAL}/CodeSystem/symptom"
ANSWERS = "http://terminology.hl7.org/CodeSystem/v2-0136"
QUESTIONNAIRE = f"{CANONICAL}/Questionnaire/malaria-intake"
REPORT_OF_TASK = f"{CANONICAL}/identifier/report-of-task"
ORIGIN_TAGS = f"{CANONICAL}/CodeSystem/origin"
CHART_TAGS = f"{CANONICAL}/CodeSystem/chart"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
AI_ASSERTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}

ASSESSMENT = {"system": TASK_CODES, "code": "malaria-assessment", "display": "Malaria assessment"}
SUBSCRIPTION_CRITERIA = f"Task?code={TASK_CODES}|malaria-assessment&status=requested"

# meta.tag of what belongs to a chart that was copied from another record system
FROM_EHR = {"system": ORIGIN_TAGS, "code": "ehr", "display": "From another record system"}

# Task.input.type and Task.output.type, all in TASK_PARTS
INPUT_IMAGE, INPUT_VITAL, INPUT_SYMPTOMS = "image", "vital-sign", "symptoms"
OUTPUT_REPORT, OUTPUT_REFUSAL = "report", "refusal"
# an image for a further model, which a second coding of the type names
INPUT_FURTHER = "further-image"
FURTHER_MODELS = f"{CANONICAL}/CodeSystem/model-answer"


@dataclass(frozen=True)
class VitalSign:
    """A measured value: LOINC code, unit (UCUM), and the two bands of plausibility: outside
    `possible` it is an error, outside `usual` the user confirms it."""

    loinc: str
    display: str
    unit: str
    possible: tuple[float, float]
    usual: tuple[float, float]


VITAL_SIGNS: Mapping[str, VitalSign] = {
    "temperature": VitalSign("8310-5", "Body temperature", "Cel", (25, 46), (35, 41)),
    "heart_rate": VitalSign("8867-4", "Heart rate", "/min", (10, 350), (40, 180)),
    "respiratory_rate": VitalSign("9279-1", "Respiratory rate", "/min", (2, 150), (8, 60)),
    "oxygen_saturation": VitalSign("59408-5", "Oxygen saturation", "%", (20, 100), (85, 100)),
    "systolic": VitalSign("8480-6", "Systolic blood pressure", "mm[Hg]", (30, 320), (70, 200)),
    "diastolic": VitalSign("8462-4", "Diastolic blood pressure", "mm[Hg]", (10, 220), (40, 120)),
    "weight": VitalSign("29463-7", "Body weight", "kg", (0.3, 500), (2, 200)),
    "height": VitalSign("8302-2", "Body height", "cm", (20, 275), (45, 210)),
    "hemoglobin": VitalSign("718-7", "Hemoglobin", "g/dL", (1, 26), (5, 20)),
}
BLOOD_PRESSURE = {"system": LOINC, "code": "85354-9", "display": "Blood pressure panel"}
AGE = {"system": LOINC, "code": "30525-0", "display": "Age"}
BLOOD_GROUP = {"system": LOINC, "code": "882-1", "display": "ABO and Rh group"}
BLOOD_GROUPS = ("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-")

# Those marked True are danger signs of severe malaria (WHO Guidelines for malaria, section 5.5).
SYMPTOM_CODES: Mapping[str, tuple[str, bool]] = {
    "fever": ("Fever", False),
    "chills": ("Chills or rigors", False),
    "sweating": ("Sweating", False),
    "headache": ("Headache", False),
    "muscle-pain": ("Muscle or joint pain", False),
    "vomiting": ("Vomiting", False),
    "diarrhoea": ("Diarrhoea", False),
    "cough": ("Cough", False),
    "convulsions": ("Convulsions", True),
    "reduced-consciousness": ("Reduced consciousness", True),
    "unable-to-drink": ("Unable to drink or feed", True),
    "prostration": ("Unable to sit or stand unaided", True),
    "breathlessness": ("Difficulty in breathing", True),
    "jaundice": ("Yellow eyes or skin", True),
    "dark-urine": ("Dark urine", True),
    "bleeding": ("Abnormal bleeding", True),
    # IMCI: with fever it is very severe febrile disease, like a general danger sign.
    "stiff-neck": ("Stiff neck", True),
    "rash": ("Rash", False),
    "abdominal-pain": ("Abdominal pain", False),
    "painful-urination": ("Pain on passing urine", False),
}
# What came before: questions with the same answers, which are no symptoms.
HISTORY_CODES: Mapping[str, str] = {
    "pregnancy": "Pregnant",
    "travel": "Travelled in a malaria area in the past year",
    "prophylaxis": "Took medicine to prevent malaria regularly",
    "antimalarial": "Malaria medicine already taken for this illness",
}
# The days of that stay: its first one, and its last one once it is over.
TRAVEL_DATES: Mapping[str, str] = {
    "travel-from": "First day in the malaria area",
    "travel-until": "Last day in the malaria area",
}
ANSWER_CODES = {"yes": ("Y", "Yes"), "no": ("N", "No")}


@dataclass(frozen=True)
class Image:
    """An uploaded smear image as bytes, with the media type found by its content."""

    content: bytes
    content_type: str
    title: str


@dataclass(frozen=True)
class Intake:
    """What the clinician entered. `vitals` is keyed as VITAL_SIGNS in the units given there;
    `symptoms` maps SYMPTOM_CODES and `history` HISTORY_CODES to "yes" or "no" (not asked:
    absent); `travel` maps TRAVEL_DATES to full dates. `age_years` is for a patient whose birth
    date is not known: an age is no birth date, so it stays an Observation."""

    authored: datetime
    vitals: Mapping[str, float] = field(default_factory=dict)
    blood_group: str | None = None
    age_years: float | None = None
    symptoms: Mapping[str, str] = field(default_factory=dict)
    symptoms_text: str = ""
    onset: str | None = None
    images: Sequence[Image] = ()
    history: Mapping[str, str] = field(default_factory=dict)
    travel: Mapping[str, str] = field(default_factory=dict)
    trace: str | None = None
    """The traceparent of the request by which it was sent, where that is recorded: the analysis
    goes on with its trace."""

    @property
    def has_answers(self) -> bool:
        """Whether there is anything for a QuestionnaireResponse."""
        told = (self.symptoms, self.symptoms_text, self.onset, self.history, self.travel)
        return any(told)


@dataclass(frozen=True)
class Parties:
    """References of a submission: `patient` may be the `urn:uuid:` of a Patient that travels
    in the same transaction."""

    patient: str
    requester: str | None = None
    encounter: str | None = None


def submission(intake: Intake, parties: Parties, new_uuid: Any) -> Resource:
    """The transaction Bundle of a submission; `new_uuid()` gives the urn:uuid of each entry.

    The Task is the last entry.
    """
    entries: list[Resource] = []
    inputs: list[Resource] = []

    def add(part: str | None, resource: Resource) -> str:
        full_url = f"urn:uuid:{new_uuid()}"
        entries.append(
            {
                "fullUrl": full_url,
                "resource": resource,
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
        )
        if part is not None:
            inputs.append({"type": part_type(part), "valueReference": {"reference": full_url}})
        return full_url

    for image in intake.images:
        binary = add(None, _binary(image, parties))
        add(INPUT_IMAGE, _media(image, binary, intake, parties))
    for observation in _vital_signs(intake, parties):
        add(INPUT_VITAL, observation)
    if intake.has_answers:
        add(INPUT_SYMPTOMS, _symptoms(intake, parties))
    add(None, _task(inputs, intake, parties))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def trace_of(task: Resource) -> str | None:
    """The traceparent that the Task was ordered with, if it says one."""
    return next(
        (
            str(each["valueString"])
            for each in task.get("extension", ())
            if each.get("url") == TRACE and "valueString" in each
        ),
        None,
    )


def part_type(part: str) -> Resource:
    """Task.input.type or Task.output.type for one of the part names above."""
    return {"coding": [{"system": TASK_PARTS, "code": part}]}


def copied_chart_tags(resource: Resource) -> list[Resource]:
    """The tags of a resource that say that it belongs to a copied chart, and to which one: what
    is made from it carries them on, or its clinician's app could not see it."""
    tags = resource.get("meta", {}).get("tag", ())
    return [tag for tag in tags if tag.get("system") in {ORIGIN_TAGS, CHART_TAGS}]


def parts(entries: Sequence[Resource], part: str) -> list[str]:
    """The references of the Task inputs or outputs of one part."""
    return [
        entry["valueReference"]["reference"]
        for entry in entries
        if any(
            coding.get("system") == TASK_PARTS and coding.get("code") == part
            for coding in entry["type"].get("coding", ())
        )
        and "reference" in entry.get("valueReference", {})
    ]


def _about(intake: Intake, parties: Parties, when: str) -> Resource:
    about: Resource = {
        "subject": {"reference": parties.patient},
        when: intake.authored.isoformat(timespec="seconds"),
    }
    if parties.encounter:
        about["encounter"] = {"reference": parties.encounter}
    return about


def _binary(image: Image, parties: Parties) -> Resource:
    return {
        "resourceType": "Binary",
        "contentType": image.content_type,
        "securityContext": {"reference": parties.patient},
        "data": base64.b64encode(image.content).decode(),
    }


def _media(image: Image, binary: str, intake: Intake, parties: Parties) -> Resource:
    media = {
        "resourceType": "Media",
        "status": "completed",
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/media-type", "code": "image"}
            ]
        },
        **_about(intake, parties, "createdDateTime"),
        "content": {
            "contentType": image.content_type,
            "url": binary,
            "size": len(image.content),
            # R4 Attachment.hash is the SHA-1 of the data; it is a checksum here, no protection.
            "hash": base64.b64encode(
                hashlib.sha1(image.content, usedforsecurity=False).digest()
            ).decode(),
            "title": image.title,
        },
    }
    if parties.requester:
        media["operator"] = {"reference": parties.requester}
    return media


def _observation(code: Resource, intake: Intake, parties: Parties, **value: Any) -> Resource:
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": _CATEGORIES.get(code["code"], "vital-signs"),
                    }
                ]
            }
        ],
        "code": {"coding": [code]},
        **_about(intake, parties, "effectiveDateTime"),
        **value,
    }
    if parties.requester:
        observation["performer"] = [{"reference": parties.requester}]
    return observation


_CATEGORIES = {
    BLOOD_GROUP["code"]: "laboratory",
    VITAL_SIGNS["hemoglobin"].loinc: "laboratory",
    AGE["code"]: "survey",
}
_PRESSURES = ("systolic", "diastolic")


def _measured(name: str, value: float) -> Resource:
    sign = VITAL_SIGNS[name]
    return {"value": value, "unit": sign.unit, "system": UCUM, "code": sign.unit}


def _coding(name: str) -> Resource:
    sign = VITAL_SIGNS[name]
    return {"system": LOINC, "code": sign.loinc, "display": sign.display}


def _vital_signs(intake: Intake, parties: Parties) -> list[Resource]:
    observations = [
        _observation(_coding(name), intake, parties, valueQuantity=_measured(name, value))
        for name, value in intake.vitals.items()
        if name not in _PRESSURES
    ]
    pressures = [
        {"code": {"coding": [_coding(name)]}, "valueQuantity": _measured(name, intake.vitals[name])}
        for name in _PRESSURES
        if name in intake.vitals
    ]
    if pressures:
        observations.append(_observation(BLOOD_PRESSURE, intake, parties, component=pressures))
    if intake.age_years is not None:
        age = {"value": intake.age_years, "unit": "years", "system": UCUM, "code": "a"}
        observations.append(_observation(AGE, intake, parties, valueQuantity=age))
    if intake.blood_group:
        group = {"text": intake.blood_group}
        observations.append(_observation(BLOOD_GROUP, intake, parties, valueCodeableConcept=group))
    return observations


def _symptoms(intake: Intake, parties: Parties) -> Resource:
    items: list[Resource] = []
    texts = {code: name for code, (name, _) in SYMPTOM_CODES.items()} | dict(HISTORY_CODES)
    for asked, answer in (*intake.symptoms.items(), *intake.history.items()):
        code, display = ANSWER_CODES[answer]
        coding = {"system": ANSWERS, "code": code, "display": display}
        items.append({"linkId": asked, "text": texts[asked], "answer": [{"valueCoding": coding}]})
    items += [
        {"linkId": which, "text": TRAVEL_DATES[which], "answer": [{"valueDate": day}]}
        for which, day in intake.travel.items()
    ]
    if intake.onset:
        items.append({"linkId": "onset", "text": "Onset", "answer": [{"valueDate": intake.onset}]})
    if intake.symptoms_text:
        items.append(
            {
                "linkId": "description",
                "text": "In words",
                "answer": [{"valueString": intake.symptoms_text}],
            }
        )
    response = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": QUESTIONNAIRE,
        "status": "completed",
        **_about(intake, parties, "authored"),
        "item": items,
    }
    if parties.requester:
        response["author"] = {"reference": parties.requester}
    return response


def _task(inputs: list[Resource], intake: Intake, parties: Parties) -> Resource:
    task: Resource = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [ASSESSMENT]},
        "for": {"reference": parties.patient},
        "authoredOn": intake.authored.isoformat(timespec="seconds"),
        "input": inputs,
    }
    if not inputs:
        del task["input"]
    if intake.trace is not None:
        task["extension"] = [{"url": TRACE, "valueString": intake.trace}]
    if parties.encounter:
        task["encounter"] = {"reference": parties.encounter}
    if parties.requester:
        task["requester"] = {"reference": parties.requester}
    return task
