"""What no interaction of a caller may do to the Device of a registered model version: change where
it stands, or delete it. The operations on model versions alone do the first (ADR 0021)."""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.model_versions import STANDING, standing_of
from fhir_server.fhir.outcome import business_rule, forbidden
from fhir_server.storage.port import Stored

DEVICE = "Device"


def require_same_standing(resource: dict[str, Any], current: Stored | None) -> None:
    """FhirError 422 when the next version of a Device says another standing than the one before
    it, 403 for callers who can't read what they change."""
    said = [each for each in resource.get("extension", ()) if each.get("url") == STANDING]
    before: list[dict[str, Any]] = []
    if current is not None and not current.is_deleted:
        known = parse(_read(current)).get("extension", ())
        before = [each for each in known if each.get("url") == STANDING]
    if said != before:
        text = (
            "where a model version stands is changed by its own operations alone ($model-propose …)"
        )
        raise business_rule(text, "Device.extension")


def require_unregistered(current: Stored) -> None:
    """FhirError 422 for the Device of a registered version: it is retired, not deleted."""
    if not current.is_deleted and standing_of(parse(_read(current))) is not None:
        raise business_rule(f"{current.key} is a registered model version: retire it instead")


def _read(current: Stored) -> bytes:
    """The body; what may be written but not read comes without one."""
    if not current.body:
        raise forbidden(f"{current.key} may be changed by those alone who may read it")
    return current.body
