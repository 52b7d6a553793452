"""The codes of an analysis Task: what is asked for, and what its inputs and outputs are."""

from fhir_server.fhir.assessment import (
    ASSESSMENT,
    INPUT_IMAGE,
    INPUT_SYMPTOMS,
    INPUT_VITAL,
    OUTPUT_REFUSAL,
    OUTPUT_REPORT,
)
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
    ),
)
TASK_PART = System(
    "task-part",
    "MedSAGE task parts",
    "What an input or output of a malaria assessment is (Task.input.type, Task.output.type).",
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
    ),
)
SYSTEMS = (TASK_CODE, TASK_PART)
