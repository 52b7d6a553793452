"""Who may write what is measured of the models: the comparison of two versions by the client that
measures, and nobody else; drift and the progress of the training set by services.

A promotion stands on a comparison (ADR 0021), so it is worth as much as its author (ADR 0034). It
is created once and never changed or deleted; who would have another compares anew. Figures of drift
and of the training set are what governance is shown.
"""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.drift import DRIFT, TRAINING_SET
from fhir_server.fhir.model_versions import MEASURER, is_comparison
from fhir_server.fhir.outcome import business_rule, forbidden
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Stored

MEASURE_REPORT = "MeasureReport"
_WATCHED = frozenset({DRIFT, TRAINING_SET})


def require_measured(
    resource: dict[str, Any], current: Stored | None, writer: Principal | None
) -> None:
    """FhirError 403 when anybody but the measuring client writes a comparison, or a person what
    services count; 422 when a stored comparison would be changed. `writer` None is the server
    itself."""
    if writer is None:
        return
    if current is not None:
        require_kept(current, writer)
    if is_comparison(resource) and not _measures(writer):
        raise forbidden(
            "A comparison of model versions is written by the client that measures alone "
            "(medsage models evaluate-candidate)"
        )
    _require_no_person(resource, writer)


def require_kept(current: Stored, writer: Principal) -> None:
    """FhirError 422 for a stored comparison, which is neither changed nor deleted: it is what a
    promotion stood on. 403 for persons who change what services count, and for callers who can't
    read what they change."""
    if current.is_deleted:
        return
    if not current.body:
        raise forbidden(f"{current.key} may be changed by those alone who may read it")
    known = parse(current.body)
    if is_comparison(known):
        text = f"{current.key} is a comparison of model versions: nobody changes it"
        raise business_rule(text, MEASURE_REPORT)
    _require_no_person(known, writer)


def _measures(writer: Principal) -> bool:
    return writer.acts_for_itself and writer.client_id == MEASURER


def _require_no_person(report: dict[str, Any], writer: Principal) -> None:
    measure = str(report.get("measure", "")).partition("|")[0]
    if measure in _WATCHED and not writer.acts_for_itself:
        raise forbidden("Drift and the training set are counted by services (medsage models drift)")
