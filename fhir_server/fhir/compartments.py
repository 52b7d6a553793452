"""Compartments (R4 Compartments): which resources belong to one patient.

The definition is followed to the letter. What it leaves out but still tells about a patient is in
the two tables below, so that such a resource is never mistaken for one that concerns nobody.
"""

from collections.abc import Mapping
from functools import cache

from fhir_server.fhir.definitions import table

ALSO_ABOUT_A_PATIENT: Mapping[str, tuple[str, ...]] = {
    "Contract": ("patient",),
    "Device": ("patient",),
    "GuidanceResponse": ("patient",),
    "Task": ("patient",),
}
"""Types outside R4's Patient compartment whose own parameter names the patient."""

SHARED_TYPES = frozenset(
    {
        "ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem",
        "CompartmentDefinition", "ConceptMap", "DeviceDefinition", "Endpoint", "EventDefinition",
        "Evidence", "EvidenceVariable", "GraphDefinition", "HealthcareService",
        "ImplementationGuide", "InsurancePlan", "Library", "Location", "Measure", "Medication",
        "MedicationKnowledge", "MessageDefinition", "NamingSystem", "ObservationDefinition",
        "OperationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition",
        "Practitioner", "PractitionerRole", "Questionnaire", "ResearchDefinition",
        "ResearchStudy", "SearchParameter", "SpecimenDefinition", "StructureDefinition",
        "StructureMap", "Substance", "TerminologyCapabilities", "ValueSet",
    }
)  # fmt: skip
"""Directories and definitions: they tell about no patient. What is not listed is not shared."""


@cache
def compartments() -> Mapping[str, Mapping[str, list[str]]]:
    """{compartment: {type: the search parameters that may name its focus}}, as in R4."""
    found: dict[str, dict[str, list[str]]] = table("compartments.json")["compartments"]
    return found


def patient_parameters(type: str) -> tuple[str, ...]:
    """The reference parameters by which a resource of the type belongs to a patient; none for
    a type that never does. Patient itself belongs by its id too."""
    of_definition = tuple(compartments()["Patient"].get(type, ()))
    return of_definition + ALSO_ABOUT_A_PATIENT.get(type, ())
