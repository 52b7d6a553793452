"""What an EHR may tell an app beside patient and encounter: checks; pure (SMART App Launch 2.2,
"fhirContext", "App Launch Intent", "SMART App Styling")."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.reference import parse_reference
from fhir_server.security.loopback import is_plain_local
from fhir_server.storage.port import Key
from fhir_server.validation.validate import Validator

MOST_ITEMS = 50
LONGEST_TEXT = 256
LAUNCH_ROLE = "launch"
_WAYS = ("reference", "canonical", "identifier")
_NAMES = frozenset({*_WAYS, "type", "role"})
_AT_THE_TOP = frozenset({"Patient", "Encounter"})

Item = Mapping[str, Any]


class BadContext(ValueError):
    """The EHR's context is not as SMART wants it; the text names the part."""


def check_fhir_context(items: Sequence[Item], validator: Validator) -> None:
    """BadContext names the first item that is at fault, and why."""
    if len(items) > MOST_ITEMS:
        raise BadContext(f"fhirContext: more than {MOST_ITEMS} items")
    for number, item in enumerate(items):
        try:
            _check_item(item, validator)
        except BadContext as fault:
            raise BadContext(f"fhirContext[{number}]: {fault}") from None


def role_of(item: Item) -> str:
    """The role of an item; without one it is that of the launch."""
    return str(item.get("role", LAUNCH_ROLE))


def target_of(item: Item) -> Key | None:
    """The resource of this server that a checked item refers to."""
    if "reference" not in item:
        return None
    type_, _, id = item["reference"].partition("/")
    return Key(type_, id)


def check_text(name: str, value: str | None) -> None:
    """BadContext unless the text is one short printable line."""
    if value is not None and not (0 < len(value) <= LONGEST_TEXT and value.isprintable()):
        raise BadContext(f"{name}: must be one line of 1 to {LONGEST_TEXT} characters")


def check_style_url(url: str | None) -> None:
    """BadContext unless the address is absolute and https, or http on a loopback address."""
    if url is None:
        return
    check_text("smart_style_url", url)
    parts = urlsplit(url)
    is_local = is_plain_local(parts)
    is_https = parts.scheme == "https" and parts.hostname
    if not (is_https or is_local) or parts.username or parts.fragment or " " in url:
        raise BadContext("smart_style_url: must be an absolute https address")


def _check_item(item: Item, validator: Validator) -> None:
    if unknown := sorted(item.keys() - _NAMES):
        raise BadContext(f"{', '.join(unknown)} is not known")
    if not any(way in item for way in _WAYS):
        raise BadContext(f"one of {', '.join(_WAYS)} is needed")
    for name in ("reference", "canonical", "type", "role"):
        if name in item and not isinstance(item[name], str):
            raise BadContext(f"{name} must be a string")
    types = {_check_type(item), _check_reference(item)} - {None}
    if len(types) > 1:
        raise BadContext("type is not that of the reference")
    if "canonical" in item and not _is_absolute(item["canonical"].partition("|")[0]):
        raise BadContext("canonical must be an absolute URL")
    _check_role(item, types)
    if "identifier" in item:
        _check_identifier(item["identifier"], validator)


def _check_type(item: Item) -> str | None:
    type_: str | None = item.get("type")
    if type_ is not None and type_ not in resource_types():
        raise BadContext(f"type: {type_[:64]!r} is no resource type of R4")
    return type_


def _check_reference(item: Item) -> str | None:
    if "reference" not in item:
        return None
    try:
        parsed = parse_reference(item["reference"])
    except ValueError as fault:
        raise BadContext(f"reference: {fault}") from None
    if parsed.kind != "relative" or parsed.version is not None or "#" in item["reference"]:
        raise BadContext("reference must be relative: Type/id")
    return parsed.type


def _check_role(item: Item, types: set[str | None]) -> None:
    role = role_of(item)
    if role != LAUNCH_ROLE and not _is_absolute(role):
        raise BadContext(f"role must be an absolute URI, or {LAUNCH_ROLE!r}")
    if role == LAUNCH_ROLE and types & _AT_THE_TOP:
        raise BadContext(
            "Patient and Encounter have members of their own; here they need a role other than "
            f"{LAUNCH_ROLE!r}"
        )


def _check_identifier(identifier: Any, validator: Validator) -> None:
    if not isinstance(identifier, dict) or not identifier.keys() & {"value", "system"}:
        raise BadContext("identifier must be a FHIR Identifier with a value or a system")
    carrier = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": [identifier]}
    for issue in validator.issues(carrier):
        if issue.severity in ("error", "fatal"):
            raise BadContext(f"identifier: {issue.diagnostics}")


def _is_absolute(uri: str) -> bool:
    parts = urlsplit(uri)
    is_whole = bool(parts.netloc) if parts.scheme in ("http", "https") else bool(parts.path)
    return bool(parts.scheme) and is_whole and uri.isprintable() and " " not in uri
