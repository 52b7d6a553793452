"""JSON in and out (R4 "JSON Representation"): strict parsing, decimals as written, exact bytes.

A resource travels as the bytes it was sent as. `parse` gives the dict that is validated and
indexed, `stamp` sets the server's own elements in the bytes without touching the rest, and
`encode` writes a resource that was changed.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from fhir_server.fhir.outcome import FhirError, unparsable

Resource = dict[str, Any]

MAX_DEPTH = 100
# Beyond the range of a double no clinical quantity is meant, and arithmetic on such a number
# would let a few bytes cost gigabytes.
MAX_EXPONENT = 308
# Search terms are built with this character as their separator.
SEPARATOR = "\x1f"

# An escaped colon would spoil the count of keys, an escaped separator hides what is refused.
_ESCAPED = re.compile(rb"\\u00(?:1[fF]|3[aA])")
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|\\u[dD][c-fC-F])"
)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not -MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise ArithmeticError(text)
    return number


_decoder = msgspec.json.Decoder(float_hook=_decimal)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder(decimal_format="number")


def parse(body: bytes) -> Resource:
    """The JSON object in `body`; refuses what FHIR's JSON does not allow, naming the place.

    Refused: anything but one object, duplicate keys, NaN, a byte order mark, bad UTF-8, lone
    surrogates, U+001F, more than 100 levels, numbers beyond 1e±308. Raises FhirError (400).
    """
    content = parse_json(body)
    if not isinstance(content, dict):
        raise unparsable(f"The body is a JSON {_kind(content)}; a resource is a JSON object")
    return content


def parse_json(body: bytes) -> Any:
    """Any JSON value under the rules of `parse`; decimals become Decimal."""
    try:
        content = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as failure:
        raise _syntax_error(body, failure) from None
    try:
        # The parser keeps the last of two equal keys, and each key it dropped took a colon along.
        written = orjson.dumps(content, default=str)
        is_sound = body.count(b":") == written.count(b":")
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, or very deep
        is_sound = False
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_too_deep(content):
        raise unparsable(f"The body is nested more than {MAX_DEPTH} levels deep")
    if not is_sound or (b"\\u00" in body and _ESCAPED.search(body)):
        _inspect(body)
    return content


def encode(resource: Any) -> bytes:
    """Compact JSON; a Decimal is written with the digits it was read with."""
    return _encoder.encode(resource)


def stamp(body: bytes, id: str, version: int, updated: datetime) -> bytes:
    """`body` with id, meta.versionId and meta.lastUpdated set; all other values verbatim.

    `body` must have passed `parse` and validation.
    """
    members = _members.decode(body)
    meta = _members.decode(members.pop("meta", b"{}"))
    meta["versionId"] = _raw(str(version))
    meta["lastUpdated"] = _raw(instant(updated))
    head = {"resourceType": members.pop("resourceType"), "id": _raw(id), "meta": meta}
    members.pop("id", None)
    return _encoder.encode(head | members)


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC with milliseconds: `2026-11-24T02:00:00.123Z`."""
    if moment.tzinfo is None:
        raise ValueError("A moment without a time zone can't be written as an instant")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pretty(body: bytes) -> bytes:
    """The same JSON, indented for people; every value verbatim."""
    return msgspec.json.format(body, indent=2)


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(text))


def _kind(content: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(content), "number")


def _syntax_error(body: bytes, failure: Exception) -> FhirError:
    if body.startswith(b"\xef\xbb\xbf"):
        return unparsable("The body begins with a byte order mark; FHIR's JSON has none")
    if not body.strip():
        return unparsable("The body is empty; a resource was expected")
    if isinstance(failure, RecursionError):
        return unparsable(f"The body is nested more than {MAX_DEPTH} levels deep")
    if isinstance(failure, ArithmeticError):
        return unparsable(f"The body has a number beyond the range of 1e±{MAX_EXPONENT}")
    try:
        body.decode()
    except UnicodeDecodeError as mistake:
        return unparsable(f"The body is not UTF-8: {mistake.reason} at byte {mistake.start}")
    lone = _LONE_SURROGATE.search(body)
    if lone is not None:
        return unparsable(f"Half of a surrogate pair at byte {lone.start(1)}")
    return unparsable(f"The body is not JSON: {failure}")


class _Object(dict[str, Any]):
    """A parsed object that remembers the keys it was given twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    parsed = _Object(pairs)
    if len(parsed) != len(pairs):
        keys = [key for key, _ in pairs]
        parsed.repeated = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return parsed


def _inspect(body: bytes) -> None:
    """The slow and exact look at a suspicious body; raises for the first thing found."""
    content = json.loads(body, object_pairs_hook=_object)
    root = content.get("resourceType") if isinstance(content, dict) else None
    for place, value in _values(content, root if isinstance(root, str) else ""):
        for key in getattr(value, "repeated", ()):
            where = f"{place}.{key}".lstrip(".")
            raise unparsable(f"The key {key!r} is given twice in one object, at {where}", where)
        keys = value if isinstance(value, dict) else ()
        if any(SEPARATOR in text for text in (value, *keys) if isinstance(text, str)):
            raise unparsable(f"The control character U+001F is not allowed, at {place}", place)


def _values(content: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every value with its place, in the order of the text."""
    waiting = [(place, content)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        children: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            children = [(f"{place}.{key}".lstrip("."), each) for key, each in value.items()]
        elif isinstance(value, list):
            children = [(f"{place}[{index}]", each) for index, each in enumerate(value)]
        waiting += reversed(children)


def _is_too_deep(content: Any) -> bool:
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            for child in (each.values() if type(each) is dict else each)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
