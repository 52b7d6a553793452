"""The codes of an analysis Task: what is asked for, and what its inputs and outputs are."""

from fhir_server.fhir.assessment import (
    ASSESSMENT,
    INPUT_FURTHER,
    INPUT_IMAGE,
    INPUT_SYMPTOMS,
    INPUT_VITAL,
    OUTPUT_REFUSAL,
    OUTPUT_REPORT,
)
from fhir_server.fhir.recalls import RECALL_REVIEW
from terminology.concepts import Concept, System

TASK_CODE = System(
    "task-code",
    "MedSAGE task codes",
    "What a Task asks for (Task.code).",
    (
        Concept(
            ASSESSMENT["code"],
            ASSESSMENT["display"],
            "Analyse the images, vital signs and symptoms of one patient for malaria and write a "
            "preliminary DiagnosticReport for a clinician to examine and sign.",
        ),
        Concept(
            "report-to-ehr",
            "Send a report to an EHR",
            "Send a signed report to the record system that the chart was copied from.",
        ),
        Concept(
            RECALL_REVIEW["code"],
            RECALL_REVIEW["display"],
            "Assess a patient again whose report holds an AI result that was recalled, and amend "
            "the report where it is needed.",
        ),
    ),
)
TASK_PART = System(
    "task-part",
    "MedSAGE task parts",
    "What an input or output of one of our Tasks is (Task.input.type, Task.output.type).",
    (
        Concept(INPUT_IMAGE, "Image", "Input: a Media with an image of a blood smear or cell."),
        Concept(INPUT_VITAL, "Vital sign", "Input: an Observation of a measured or told value."),
        Concept(INPUT_SYMPTOMS, "Symptoms", "Input: the QuestionnaireResponse of the intake."),
        Concept(OUTPUT_REPORT, "Report", "Output: the preliminary DiagnosticReport."),
        Concept(
            OUTPUT_REFUSAL,
            "Refusal",
            "Output: a contained OperationOutcome that says what could not be analysed and why.",
        ),
        Concept("issuer", "Issuer", "Input: the FHIR base URL of the record system to send to."),
        Concept("patient", "Patient", "Input: the patient's id in that record system."),
        Concept("encounter", "Encounter", "Input: the visit's id in that record system."),
        Concept("author", "Author", "Input: who signed, as a reference in that record system."),
        Concept("type", "Type", "Input: a resource type that may be sent."),
        Concept(
            INPUT_FURTHER,
            "Image for a further model",
            "Input: a Media for the model that a second coding of the type names.",
        ),
        Concept("sent", "Sent", "Output: a resource that is stored there, and what it is here."),
    ),
)
SYSTEMS = (TASK_CODE, TASK_PART)
