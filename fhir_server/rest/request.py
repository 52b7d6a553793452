"""HTTP in: a scope and its body as a FhirRequest (R4 RESTful API, "HTTP Headers", "Content
Types and encodings")."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

from fhir_server.fhir.outcome import bad_parameter, error, too_large
from fhir_server.interactions.conditions import require_understood
from fhir_server.interactions.context import FhirRequest, Handling, Return
from fhir_server.interactions.versions import version_of
from fhir_server.rest.routes import GENERAL_PARAMETERS, locate, parse_query

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[str, str]
MediaType = Literal["application/fhir+json", "application/json"]

FHIR_JSON: MediaType = "application/fhir+json"
_JSON_TYPES: Mapping[str, MediaType] = {
    "application/fhir+json": "application/fhir+json",
    "application/json": "application/json",
}
_FORMATS: Mapping[str, MediaType] = {**_JSON_TYPES, "json": FHIR_JSON, "text/json": FHIR_JSON}
_WILDCARDS = frozenset({"*/*", "application/*"})
_RETURNS = frozenset({"minimal", "representation", "OperationOutcome"})
_HANDLINGS = frozenset({"strict", "lenient"})
_FHIR_VERSIONS = frozenset({"4.0", "4.0.1"})


@dataclass(frozen=True)
class Asked:
    """A request as sent: what it asks for, and the media type of the answer."""

    request: FhirRequest
    media_type: MediaType


class Disconnected(Exception):
    """The client went away before its request was complete."""


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
    query = tuple(each for each in given if each[0] not in GENERAL_PARAMETERS)
    located = locate(method, path, query)
    preferences = _preferences(headers.get("prefer", ""))
    request = replace(
        located,
        if_match=_checked_etag(headers, "if-match", "If-Match"),
        if_none_match=_checked_etag(headers, "if-none-match", "If-None-Match"),
        if_none_exist=headers.get("if-none-exist"),
        if_modified_since=headers.get("if-modified-since"),
        prefer_return=cast("Return | None", preferences.get("return")),  # checked in _preferences
        handling=cast(Handling, preferences.get("handling", "strict")),
        is_pretty=_is_pretty(_only(given, "_pretty")),
    )
    require_understood(request)
    return Asked(request, media_type(_only(given, "_format"), headers.get("accept")))


def media_type(format: str | None, accept: str | None) -> MediaType:
    """The media type of the answer; `_format` outweighs Accept. 406 when only XML, Turtle or
    HTML would do."""
    if format is not None:
        # A plus sign in a query string is a space once it is decoded.
        found = _FORMATS.get(format.partition(";")[0].strip().replace(" ", "+"))
        if found is None:
            raise error(406, "not-supported", f"_format={format}: JSON is spoken here")
        return found
    chosen = _accepted(accept) if accept else FHIR_JSON
    if chosen is None:
        raise error(406, "not-supported", f"Accept: {accept}: application/fhir+json is spoken here")
    return chosen


async def body_of(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be larger than `limit` bytes."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def require_json(headers: Headers) -> None:
    """415 unless the body is said to be JSON in UTF-8, as it is."""
    if headers.get("content-encoding", "identity") != "identity":
        raise error(415, "not-supported", "Content-Encoding: send the body as it is")
    content_type = headers.get("content-type")
    if content_type is None:
        raise error(415, "not-supported", "Content-Type is missing; send application/fhir+json")
    if not _is_json(content_type):
        raise error(
            415, "not-supported", f"Content-Type: {content_type}; send application/fhir+json"
        )


@lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    name, parameters = _media_range(content_type)
    charset = parameters.get("charset", "utf-8").lower()
    version = parameters.get("fhirversion", "4.0")
    return name in _JSON_TYPES and charset in ("utf-8", "utf8") and version in _FHIR_VERSIONS


@lru_cache(maxsize=256)
def _accepted(accept: str) -> MediaType | None:
    best: tuple[float, MediaType] | None = None
    for text in accept.split(","):
        name, parameters = _media_range(text)
        chosen = FHIR_JSON if name in _WILDCARDS else _FORMATS.get(name)
        if chosen is None or parameters.get("fhirversion", "4.0") not in _FHIR_VERSIONS:
            continue
        quality = _quality(parameters.get("q", "1"))
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, chosen)
    return best[1] if best else None


def _media_range(text: str) -> tuple[str, dict[str, str]]:
    name, *parameters = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in parameters)
    return name.lower(), {key.strip().lower(): value.strip(' "') for key, _, value in pairs}


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


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


def _checked_etag(headers: Headers, key: str, name: str) -> str | None:
    text = headers.get(key)
    if text is not None:
        for each in text.split(",") if key == "if-none-match" else (text,):
            version_of(each, name)
    return text


def _only(query: Iterable[tuple[str, str]], wanted: str) -> str | None:
    values = [value for name, value in query if name == wanted]
    if len(values) > 1:
        raise bad_parameter(f"{wanted} is given more than once")
    return values[0] if values else None


def _is_pretty(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_parameter(f"_pretty={text} is neither true nor false")
    return text == "true"


def _too_large(limit: int) -> Exception:
    return too_large(f"the body is larger than {limit} bytes")
