"""THE table of operations. Dispatch, Bundle entries, the CapabilityStatement and OpenAPI read it;
an operation is added by declaring it in its file and adding its line."""

from fhir_server.interactions.context import FhirRequest
from fhir_server.operations import (
    document,
    dry_run,
    everything,
    explain,
    lastn,
    meta,
    model_versions,
    recall,
    reindex,
    undo,
    validate,
)
from fhir_server.operations.operation import Level, Operation

OPERATIONS: tuple[Operation, ...] = (
    everything.PATIENT,
    everything.ENCOUNTER,
    lastn.LASTN,
    meta.META,
    meta.META_ADD,
    meta.META_DELETE,
    document.DOCUMENT,
    validate.VALIDATE,
    dry_run.DRY_RUN,
    undo.UNDO,
    reindex.REINDEX,
    reindex.REINDEX_STATUS,
    explain.EXPLAIN,
    recall.RECALL,
    model_versions.PROPOSE,
    model_versions.APPROVE,
    model_versions.DECLINE,
    model_versions.RETIRE,
)


def operation_at(code: str, level: Level, type: str | None) -> Operation | None:
    """The operation of this name that can be called there, None when there is none."""
    return next(
        (each for each in OPERATIONS if each.code == code and each.is_at(level, type)), None
    )


def level_of(request: FhirRequest) -> Level:
    """Where the request calls its operation."""
    if request.version is not None:
        return "version"
    if request.id is not None:
        return "instance"
    return "type" if request.type is not None else "system"
