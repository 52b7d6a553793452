"""The symptoms that the intake asks for: their codes, their value sets and the Questionnaire."""

from fhir_server.fhir.assessment import (
    ANSWER_CODES,
    ANSWERS,
    HISTORY_CODES,
    SYMPTOM_CODES,
    TRAVEL_DATES,
)
from terminology.concepts import Concept, Resource, System, code_system, own

DANGER_SIGN = "danger-sign"
_DEFINITIONS = {
    "fever": "The patient feels or felt feverish in this illness; the measured value is apart.",
    "chills": "Feeling cold with shivering or rigors.",
    "sweating": "Drenching sweats in this illness.",
    "headache": "Headache in this illness.",
    "muscle-pain": "Pain in muscles or joints in this illness.",
    "vomiting": "Vomiting in this illness.",
    "diarrhoea": "Loose stools in this illness.",
    "cough": "Cough in this illness.",
    "convulsions": "Convulsions in this illness.",
    "reduced-consciousness": "Confused, drowsy, or not to be woken.",
    "unable-to-drink": "Cannot drink, or a child cannot drink or breastfeed.",
    "prostration": "Too weak to sit or stand unaided.",
    "breathlessness": "Breathing is laboured or hard.",
    "jaundice": "The eyes or the skin have turned yellow.",
    "dark-urine": "Urine as dark as tea or cola.",
    "bleeding": "Bleeding from nose, gums, skin or elsewhere without injury.",
    "stiff-neck": "The neck is stiff; with fever a sign of very severe febrile disease (IMCI).",
    "rash": "A rash in this illness.",
    "abdominal-pain": "Pain in the belly in this illness.",
    "painful-urination": "Pain or burning on passing urine in this illness.",
}
SYMPTOM = System(
    "symptom",
    "MedSAGE intake symptoms",
    "The symptoms that the malaria intake asks for. The property danger-sign marks the danger "
    "signs of severe malaria (WHO Guidelines for malaria).",
    tuple(
        Concept(code, display, _DEFINITIONS[code]) for code, (display, _) in SYMPTOM_CODES.items()
    ),
)


def symptoms() -> Resource:
    """The CodeSystem of the symptoms; each says whether it is a danger sign."""
    system = code_system(SYMPTOM)
    concepts = [
        {
            **concept,
            "property": [{"code": DANGER_SIGN, "valueBoolean": SYMPTOM_CODES[concept["code"]][1]}],
        }
        for concept in system.pop("concept")
    ]
    meaning = "Whether the symptom is a danger sign of severe malaria."
    danger = {"code": DANGER_SIGN, "description": meaning, "type": "boolean"}
    value_set = all_symptoms()["url"]
    return {**system, "valueSet": value_set, "property": [danger], "concept": concepts}


def all_symptoms() -> Resource:
    """The ValueSet of every symptom."""
    about = own("ValueSet", "symptom", "MedSAGE intake symptoms", "Every symptom of the intake.")
    return {**about, "compose": {"include": [{"system": SYMPTOM.url}]}}


def danger_signs() -> Resource:
    """The ValueSet of the danger signs, code by code."""
    concepts = [
        {"code": code, "display": display}
        for code, (display, is_danger_sign) in SYMPTOM_CODES.items()
        if is_danger_sign
    ]
    return {
        **own(
            "ValueSet",
            DANGER_SIGN,
            "MedSAGE danger signs",
            "The symptoms of the intake that are danger signs of severe malaria (WHO Guidelines "
            "for malaria). One of them makes an assessment an emergency.",
        ),
        "compose": {"include": [{"system": SYMPTOM.url, "concept": concepts}]},
    }


def questionnaire() -> Resource:
    """The form that the QuestionnaireResponse of a submission answers."""
    answers = [
        {"valueCoding": {"system": ANSWERS, "code": code, "display": display}}
        for code, display in ANSWER_CODES.values()
    ]
    asked = [
        {
            "linkId": code,
            "code": [{"system": SYMPTOM.url, "code": code, "display": display}],
            "text": display,
            "type": "choice",
            "answerOption": answers,
        }
        for code, (display, _) in SYMPTOM_CODES.items()
    ]
    asked += [
        {"linkId": code, "text": text, "type": "choice", "answerOption": answers}
        for code, text in HISTORY_CODES.items()
    ]
    asked += [{"linkId": code, "text": text, "type": "date"} for code, text in TRAVEL_DATES.items()]
    return {
        **own(
            "Questionnaire",
            "malaria-intake",
            "Malaria intake",
            "What a patient with suspected malaria is asked. A question that was not asked has no "
            "answer, which is not the same as no.",
        ),
        "subjectType": ["Patient"],
        "item": [
            *asked,
            {"linkId": "onset", "text": "Onset", "type": "date"},
            {"linkId": "description", "text": "In words", "type": "text"},
        ],
    }
