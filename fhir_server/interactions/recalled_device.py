"""What no update of a caller may do to a Device with recalls: add one, change what was recalled, or
put the version back into use. `$recall` alone writes them; how far one has come may be written by
whoever may write the Device (ADR 0024)."""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import forbidden, unprocessable
from fhir_server.fhir.recalls import RECALL, recalls_of
from fhir_server.storage.port import Stored

DEVICE = "Device"


def require_same_recalls(resource: dict[str, Any], current: Stored | None) -> None:
    """FhirError 422 when the next version of a Device says other recalls than the one before it,
    403 for callers who can't read what they change."""
    before: dict[str, Any] = {}
    if current is not None and not current.is_deleted:
        if not current.body:
            raise forbidden(f"{current.key} may be changed by those alone who may read it")
        before = parse(current.body)
    was, said = _asked(before), _asked(resource)
    if was != said:
        raise unprocessable("Device.extension: recalls are written by $recall alone")
    if any(end is None for *_, end in was) and resource.get("status") == "active":
        raise unprocessable("Device.status: this version was recalled and stays out of use")


def _asked(device: dict[str, Any]) -> list[tuple[str | None, ...]]:
    """What was recalled, without how far that has come; [()] for what can't be read."""
    if not any(each.get("url") == RECALL for each in device.get("extension", ())):
        return []
    try:
        found = recalls_of(device)
    except (KeyError, TypeError):
        return [("unreadable", None)]
    return [
        (each.id, each.reason, each.requested, each.by, each.operator, each.start, each.end)
        for each in found
    ]
