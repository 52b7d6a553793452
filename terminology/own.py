"""Everything that MedSAGE defines itself, for publication on its own server."""

from terminology import (
    audit,
    copies,
    extensions,
    findings,
    intake,
    model_versions,
    recalls,
    tasks,
)
from terminology.concepts import Resource, code_system


def resources() -> list[Resource]:
    """CodeSystems, ValueSets, the Questionnaire and the extension, each with its fixed id."""
    systems = [*tasks.SYSTEMS, *findings.SYSTEMS, *audit.SYSTEMS, *copies.SYSTEMS]
    systems += model_versions.SYSTEMS
    systems += recalls.SYSTEMS
    return [
        *(code_system(system) for system in systems),
        intake.symptoms(),
        audit.audit_block(),
        audit.tenant(),
        copies.chart(),
        intake.all_symptoms(),
        intake.danger_signs(),
        intake.questionnaire(),
        extensions.attempt(),
        recalls.recall(),
        *model_versions.resources(),
    ]
