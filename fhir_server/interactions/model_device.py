"""What no interaction of a caller may do to the Device of a registered model version: change where
it stands or which files it is, or delete it. The operations on model versions alone do the first
(ADR 0021); other files are another version, with a Device of its own."""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.model_versions import STANDING, SYSTEM_VERSIONS, standing_of
from fhir_server.fhir.outcome import business_rule, forbidden
from fhir_server.storage.port import Stored

DEVICE = "Device"


def require_same_standing(resource: dict[str, Any], current: Stored | None) -> None:
    """FhirError 422 when the next version of a Device says another standing than the one before
    it, or of a registered one another key; 403 for callers who can't read what they change."""
    known: dict[str, Any] = {}
    if current is not None and not current.is_deleted:
        known = parse(_read(current))
    before = _standings(known)
    if _standings(resource) != before:
        text = (
            "where a model version stands is changed by its own operations alone ($model-propose …)"
        )
        raise business_rule(text, "Device.extension")
    # Whoever serves the active version finds its files by the key.
    if before and _keys(resource) != _keys(known):
        raise business_rule("the key of a registered model version stays", "Device.identifier")


def _standings(device: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in device.get("extension", ()) if each.get("url") == STANDING]


def _keys(device: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in device.get("identifier", ()) if each.get("system") == SYSTEM_VERSIONS]


def require_unregistered(current: Stored) -> None:
    """FhirError 422 for the Device of a registered version: it is retired, not deleted."""
    if not current.is_deleted and standing_of(parse(_read(current))) is not None:
        raise business_rule(f"{current.key} is a registered model version: retire it instead")


def _read(current: Stored) -> bytes:
    """The body; what may be written but not read comes without one."""
    if not current.body:
        raise forbidden(f"{current.key} may be changed by those alone who may read it")
    return current.body
