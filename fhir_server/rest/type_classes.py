"""Classes of resource types for metrics: few enough to be labels, and never a name of anybody.

The classes are the categories of R4's list of resources (hl7.org/fhir/R4/resourcelist.html), with
what that list calls Security in a class of its own, because operators ask for it.
"""

from collections.abc import Mapping

_MEMBERS: Mapping[str, str] = {
    "security": "Provenance AuditEvent Consent",
    "foundation": (
        "CapabilityStatement StructureDefinition ImplementationGuide SearchParameter "
        "MessageDefinition OperationDefinition CompartmentDefinition StructureMap GraphDefinition "
        "ExampleScenario CodeSystem ValueSet ConceptMap NamingSystem TerminologyCapabilities "
        "Composition DocumentManifest DocumentReference CatalogEntry Basic Binary Bundle Linkage "
        "MessageHeader OperationOutcome Parameters Subscription"
    ),
    "base": (
        "Patient Practitioner PractitionerRole RelatedPerson Person Group Organization "
        "OrganizationAffiliation HealthcareService Endpoint Location Substance "
        "BiologicallyDerivedProduct Device DeviceMetric Task Appointment AppointmentResponse "
        "Schedule Slot VerificationResult Encounter EpisodeOfCare Flag List Library"
    ),
    "clinical": (
        "AllergyIntolerance AdverseEvent Condition Procedure FamilyMemberHistory "
        "ClinicalImpression DetectedIssue Observation Media DiagnosticReport Specimen "
        "BodyStructure ImagingStudy QuestionnaireResponse MolecularSequence MedicationRequest "
        "MedicationAdministration MedicationDispense MedicationStatement Medication "
        "MedicationKnowledge Immunization ImmunizationEvaluation ImmunizationRecommendation "
        "CarePlan CareTeam Goal ServiceRequest NutritionOrder VisionPrescription RiskAssessment "
        "RequestGroup Communication CommunicationRequest DeviceRequest DeviceUseStatement "
        "GuidanceResponse SupplyRequest SupplyDelivery"
    ),
    "financial": (
        "Coverage CoverageEligibilityRequest CoverageEligibilityResponse EnrollmentRequest "
        "EnrollmentResponse Claim ClaimResponse Invoice PaymentNotice PaymentReconciliation "
        "Account ChargeItem ChargeItemDefinition Contract ExplanationOfBenefit InsurancePlan"
    ),
    "specialized": (
        "ResearchStudy ResearchSubject ActivityDefinition DeviceDefinition EventDefinition "
        "ObservationDefinition PlanDefinition Questionnaire SpecimenDefinition "
        "ResearchDefinition ResearchElementDefinition Evidence EvidenceVariable "
        "EffectEvidenceSynthesis RiskEvidenceSynthesis Measure MeasureReport TestScript TestReport "
        "MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication "
        "MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction "
        "MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical "
        "MedicinalProductUndesirableEffect SubstanceNucleicAcid SubstancePolymer SubstanceProtein "
        "SubstanceReferenceInformation SubstanceSpecification SubstanceSourceMaterial"
    ),
}
CLASS_OF: Mapping[str, str] = {
    type_: class_ for class_, types in _MEMBERS.items() for type_ in types.split()
}
"""Resource type → its class."""
NO_TYPE = "system"
"""The class of what concerns no one type: transactions, metadata, searches of everything."""
CLASSES = frozenset({*_MEMBERS, NO_TYPE})


def class_of(type_: str | None) -> str:
    """The class of a type; what asks for no R4 type (refused, and counted) is the system's."""
    return CLASS_OF.get(type_ or "", NO_TYPE)
