"""Who may write the comparison of two model versions: the client that measures, and nobody else.

A promotion stands on such a MeasureReport (ADR 0021), so it is worth as much as its author
(ADR 0034). It is created once and never changed or deleted; who would have another compares anew.
"""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.model_versions import MEASURER, is_comparison
from fhir_server.fhir.outcome import business_rule, forbidden
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Stored

MEASURE_REPORT = "MeasureReport"


def require_measured(
    resource: dict[str, Any], current: Stored | None, writer: Principal | None
) -> None:
    """FhirError 403 when anybody but the measuring client writes a comparison, 422 when one that
    is stored would be changed. `writer` None is the server itself."""
    if writer is None:
        return
    if current is not None:
        require_kept(current)
    if is_comparison(resource) and not _measures(writer):
        raise forbidden(
            "A comparison of model versions is written by the client that measures alone "
            "(medsage models evaluate-candidate)"
        )


def require_kept(current: Stored) -> None:
    """FhirError 422 for a stored comparison, which is neither changed nor deleted: it is what a
    promotion stood on. 403 for callers who can't read what they change."""
    if current.is_deleted:
        return
    if not current.body:
        raise forbidden(f"{current.key} may be changed by those alone who may read it")
    if is_comparison(parse(current.body)):
        text = f"{current.key} is a comparison of model versions: nobody changes it"
        raise business_rule(text, MEASURE_REPORT)


def _measures(writer: Principal) -> bool:
    return writer.client_id == writer.subject == MEASURER
