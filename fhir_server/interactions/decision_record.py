"""Who may write what was decided on model versions: the operations that decide, and nobody else.

Their Provenance is the one place that names who approved (ADR 0021), and whoever writes Provenance
could name anybody in one. So it bears a mark that the server alone gives, and is never changed.
"""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.model_versions import is_decision
from fhir_server.fhir.outcome import business_rule, forbidden
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Stored

PROVENANCE = "Provenance"


def require_no_decision(
    resource: dict[str, Any], current: Stored | None, writer: Principal | None
) -> None:
    """FhirError 403 when a caller writes the Provenance of a decision, 422 when one changes what
    is stored of one. `writer` None is the server itself."""
    if writer is None:
        return
    if current is not None:
        require_standing_decision(current)
    if is_decision(resource):
        raise forbidden(
            "What was decided on a model version is written by its operations alone "
            "($model-propose …)"
        )


def require_standing_decision(current: Stored) -> None:
    """FhirError 422 for a stored decision, which is neither changed nor deleted; 403 for callers
    who can't read what they change."""
    if current.is_deleted:
        return
    if not current.body:
        raise forbidden(f"{current.key} may be changed by those alone who may read it")
    if is_decision(parse(current.body)):
        text = f"{current.key} is a decision on a model version: nobody changes it"
        raise business_rule(text, PROVENANCE)
