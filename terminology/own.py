"""Everything that MedSAGE defines itself, for publication on its own server."""

from terminology import (
    audit,
    copies,
    extensions,
    findings,
    intake,
    model_versions,
    monitoring,
    recalls,
    tasks,
    withdrawals,
)
from terminology.concepts import Resource, code_system
from terminology.drawing_extensions import drawing_extensions


def resources() -> list[Resource]:
    """CodeSystems, ValueSets, Questionnaire, Measures and extensions, each with its fixed id."""
    systems = [*tasks.SYSTEMS, *findings.SYSTEMS, *audit.SYSTEMS, *copies.SYSTEMS]
    systems += [*model_versions.SYSTEMS, *monitoring.SYSTEMS]
    systems += recalls.SYSTEMS
    systems += withdrawals.SYSTEMS
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
        extensions.traceparent(),
        recalls.recall(),
        *monitoring.measures(),
        *monitoring.extensions(),
        *model_versions.resources(),
        extensions.line_origin(),
        extensions.evidence(),
        *drawing_extensions(),
    ]
