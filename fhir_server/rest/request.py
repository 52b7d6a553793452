"""HTTP in: the head of a request as a FhirRequest (R4 RESTful API, "HTTP Headers", "Content
Types and encodings"); `body.py` takes in what follows it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server.fhir.media_types import FHIR_JSON, SPOKEN, Form, accepted, formatted
from fhir_server.fhir.narrow import PARAMETERS as NARROWING
from fhir_server.fhir.outcome import FhirError, bad_parameter, error
from fhir_server.interactions.conditions import require_understood
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.versions import tags_of, version_of
from fhir_server.rest.routes import GENERAL_PARAMETERS, locate, parse_query

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[str, str]
Pairs = Iterable[tuple[str, str]]

_WITH_CONTENT = frozenset({"Binary", "Media"})
_READS = frozenset({"read", "vread"})
_RETURNS = frozenset({"minimal", "representation", "OperationOutcome"})
_HANDLINGS = frozenset({"strict", "lenient"})
_CONDITIONS: Mapping[str, str] = {
    "if-match": "if_match",
    "if-none-match": "if_none_match",
    "if-none-exist": "if_none_exist",
    "if-modified-since": "if_modified_since",
}
"""The headers that set a condition, and the fields of a request that hold them."""


@dataclass(frozen=True)
class Asked:
    """A request as sent: what it asks for, and the form of the answer."""

    request: FhirRequest
    media_type: Form


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name; several lines of one name are joined by commas."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def path_of(scope: Scope) -> str:
    """The path below the mount point, decoded."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def asked_for(method: str, path: str, query_string: bytes, headers: Headers) -> Asked:
    """Everything but the body. Raises what `locate` raises, 406 for a format that is not spoken
    here, and 400 for a header or general parameter that makes no sense."""
    given = parse_query(query_string.decode("latin-1"))
    query = tuple(each for each in given if each[0] not in GENERAL_PARAMETERS) if given else ()
    request = locate(method, path, query)
    changes = _conditions(headers)
    if "prefer" in headers:
        changes |= _preferred(headers["prefer"])
    if given and _is_pretty(_only(given, "_pretty")):
        changes["is_pretty"] = True
    if changes:  # most requests have none of these, and a copy costs more than the rest
        request = replace(request, **changes)
        require_understood(request)
    if request.type in _WITH_CONTENT and _may_be_content(request, given):
        accept = headers.get("accept") or "*/*"
        return Asked(replace(request, accept=accept), accepted(accept) or FHIR_JSON)
    form = media_type(_only(given, "_format") if given else None, headers.get("accept"))
    if request.operation is not None:
        is_plain = form.syntax == "json" and not (request.is_pretty or request.is_head)
        return Asked(replace(request, accepts_stream=is_plain), form)
    return Asked(request, form)


def media_type(format: str | None, accept: str | None) -> Form:
    """The form of the answer; `_format` outweighs Accept. 406 when only others, such as Turtle
    or HTML, would do."""
    if format is not None:
        found = formatted(format)
        if found is None:
            raise error(
                406, "not-supported", f"_format={format}: {SPOKEN} (json and xml for short)"
            )
        return found
    chosen = accepted(accept) if accept else FHIR_JSON
    if chosen is None:
        raise error(406, "not-supported", f"Accept: {accept}: {SPOKEN}")
    return chosen


def refusal_form(query_string: bytes, headers: Headers) -> Form:
    """The form of the answer to a request whose head is refused: the one asked for if it is
    spoken here, else JSON."""
    try:
        given = parse_query(query_string.decode("latin-1"))
        return media_type(_only(given, "_format"), headers.get("accept"))
    except FhirError:
        return FHIR_JSON


def _may_be_content(located: FhirRequest, given: Pairs) -> bool:
    """Whether the answer may be the content in its own media type: for a read that does not
    speak of resources by `_format`, `_summary` or `_elements`."""
    return located.interaction in _READS and not any(
        name == "_format" or name in NARROWING for name, _ in given
    )


@lru_cache(maxsize=256)
def _preferences(text: str) -> Mapping[str, str]:
    """The preferences that have a meaning here. Others are ignored, as RFC 7240 says; an
    unknown value of these is refused, since it is a mistake."""
    found: dict[str, str] = {}
    for part in text.replace(";", ",").split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        found.setdefault(name.lower(), value.strip('"'))
    for name, values in (("return", _RETURNS), ("handling", _HANDLINGS)):
        if name in found and found[name] not in values:
            raise bad_parameter(f"Prefer: {name}={found[name]} is none of {sorted(values)}")
    return found


def _preferred(text: str) -> dict[str, Any]:
    """What the Prefer header sets of a request."""
    preferences = _preferences(text)
    found: dict[str, Any] = {}
    if "return" in preferences:
        found["prefer_return"] = preferences["return"]
    if "handling" in preferences:
        found["handling"] = preferences["handling"]
    return found


def wants_later(headers: Headers) -> bool:
    """Whether the caller would rather not wait (RFC 7240, respond-async)."""
    return "prefer" in headers and "respond-async" in _preferences(headers["prefer"])


def _conditions(headers: Headers) -> dict[str, Any]:
    """The conditions that the headers set, checked as far as they can be here."""
    if _CONDITIONS.keys().isdisjoint(headers):
        return {}
    found = {field: headers[name] for name, field in _CONDITIONS.items() if name in headers}
    if "if_match" in found:
        version_of(found["if_match"], "If-Match")
    tags_of(found.get("if_none_match", "*"))
    return found


def _only(query: Iterable[tuple[str, str]], wanted: str) -> str | None:
    values = [value for name, value in query if name == wanted]
    if len(values) > 1:
        raise bad_parameter(f"{wanted} is given more than once")
    return values[0] if values else None


def _is_pretty(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_parameter(f"_pretty={text} is neither true nor false")
    return text == "true"
