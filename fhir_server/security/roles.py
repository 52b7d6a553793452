"""What each role may do at most, whatever the scopes say: one table.

A role lists the types it may read (`r`, `s`) and write (`c`, `u`, `d`); AuditEvent follows rules
of its own and is in no list.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.fhir.compartments import SHARED_TYPES
from fhir_server.fhir.definitions import resource_types

AUDIT = frozenset({"AuditEvent"})
EVERY_TYPE = resource_types() - AUDIT
DIRECTORY = SHARED_TYPES | {"Device", "DeviceMetric"}
"""What is known to all staff: people, places, devices, definitions."""
ADMINISTRATIVE = SHARED_TYPES - {"Medication", "Substance"} | {"Subscription", "OperationOutcome"}
CLINICAL = EVERY_TYPE - ADMINISTRATIVE
CLINICAL_READS = EVERY_TYPE - {"Subscription"}
NURSING = frozenset(
    {
        "Binary", "CarePlan", "Communication", "Encounter", "Flag", "List", "Media",
        "MedicationAdministration", "MedicationStatement", "NutritionOrder", "Observation",
        "Patient", "Provenance", "QuestionnaireResponse", "RelatedPerson", "Specimen", "Task",
        "AllergyIntolerance", "Immunization", "Appointment", "DocumentReference",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Role:
    """The types that a role may read, write and delete; `is_auditor` reads the audit trail;
    `sees_shadows`: with a scope that names their label, what models said in the shadow."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    is_auditor: bool = False
    sees_shadows: bool = False

    def permits(self, type: str, action: str) -> bool:
        """Whether the role allows the cruds `action` on the type at all."""
        types = {"c": self.writes, "u": self.writes, "d": self.deletes}
        return type in types.get(action, self.reads)


ROLES: Mapping[str, Role] = {
    "doctor": Role(CLINICAL_READS, CLINICAL, CLINICAL),
    "nurse": Role(CLINICAL_READS, NURSING),
    "admin": Role(
        # They decide on model versions, by comparisons.
        DIRECTORY | ADMINISTRATIVE | {"MeasureReport"},
        DIRECTORY | ADMINISTRATIVE | {"Provenance"},
        DIRECTORY | ADMINISTRATIVE,
    ),
    "governance": Role(
        DIRECTORY | {"Basic", "Measure", "MeasureReport", "Provenance"},
        # They end the hold of a site's AI reading, which is a HealthcareService (ADR 0022).
        frozenset({"Device", "HealthcareService", "Provenance"}),
        sees_shadows=True,
    ),
    "auditor": Role(DIRECTORY, is_auditor=True),
    "service": Role(EVERY_TYPE, EVERY_TYPE, EVERY_TYPE, sees_shadows=True),
}
