"""history of one resource (R4 RESTful API, "history")."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fhir_server.fhir.codec import encode, instant
from fhir_server.fhir.narrow import PARAMETERS as NARROWING
from fhir_server.fhir.narrow import Narrowing, narrowed, narrowing_of_read
from fhir_server.fhir.outcome import bad_parameter, not_found
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.entries import join_entries
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.versions import etag
from fhir_server.storage.port import HistoryPage, Key, Stored

DEFAULT_COUNT = 50
LARGEST_COUNT = 1000
CURSOR = "_cursor"
PARAMETERS = frozenset({"_count", CURSOR}) | NARROWING


async def history_instance(context: Context, request: FhirRequest) -> FhirResponse:
    """A Bundle of the versions, newest first, deletions included; 404 when there are none.

    `next` pages on by a sealed cursor; `total` is given where one page holds all."""
    key = key_of(request)
    count = _count(request)
    narrowing = narrowing_of_read(request.query, key.type)
    binding = f"{context.access.binding}|history|{key}"
    before = _before(context, request, binding)
    page = await context.store.history(key, count, before)
    if not page.versions and before is None:
        raise not_found(key)
    bundle: Resource = {"resourceType": "Bundle", "type": "history"}
    bundle |= _total(page, before) | {"link": _links(context, request, page, binding)}
    entries = [_entry(context, stored, narrowing) for stored in page.versions]
    about = next((stored for stored in page.versions if not stored.is_deleted), None)
    return FhirResponse(200, join_entries(bundle, entries), about=about)


def _count(request: FhirRequest) -> int:
    given = [value for name, value in request.query if name == "_count"]
    if not given:
        return DEFAULT_COUNT
    if len(given) > 1 or not given[0].isascii() or not given[0].isdigit() or int(given[0]) == 0:
        raise bad_parameter("_count is one whole number above 0")
    return min(int(given[0]), LARGEST_COUNT)


def _before(context: Context, request: FhirRequest, binding: str) -> str | None:
    given = [value for name, value in request.query if name == CURSOR]
    if not given:
        return None
    if len(given) > 1:
        raise bad_parameter(f"{CURSOR} is given more than once")
    before: str | None = context.cursors.open(given[0], binding)[0]
    return before


def _total(page: HistoryPage, before: str | None) -> dict[str, int]:
    is_whole = before is None and page.next is None
    return {"total": len(page.versions)} if is_whole else {}


def _links(
    context: Context, request: FhirRequest, page: HistoryPage, binding: str
) -> list[dict[str, str]]:
    url = f"{context.base_url}/{key_of(request)}/_history"
    asked = urlencode(request.query)
    links = [{"relation": "self", "url": f"{url}?{asked}" if asked else url}]
    if page.next is not None:
        kept = [pair for pair in request.query if pair[0] != CURSOR]
        sealed = context.cursors.seal((page.next,), binding)
        links.append({"relation": "next", "url": f"{url}?{urlencode([*kept, (CURSOR, sealed)])}"})
    return links


def _entry(context: Context, stored: Stored, narrowing: Narrowing | None) -> bytes:
    key = stored.key
    status = _status(stored)
    rest: dict[str, Any] = {
        "request": {
            "method": stored.method,
            "url": key.type if stored.method == "POST" else str(key),
        },
        "response": {
            "status": f"{status} {HTTPStatus(status).phrase}",
            "etag": etag(stored.version),
            "lastModified": instant(stored.updated),
        },
    }
    body = stored.body
    if narrowing is not None and not stored.is_deleted:
        body = narrowed(body, narrowing)
    return entry_json(context.base_url, key, body, rest)


def entry_json(base_url: str, key: Key, body: bytes, rest: dict[str, Any]) -> bytes:
    """A Bundle.entry with the resource's stored bytes (none for a deletion)."""
    head = encode({"fullUrl": f"{base_url}/{key}"})[:-1]
    resource = b',"resource":' + body if body else b""
    return head + resource + b"," + encode(rest)[1:]


def _status(stored: Stored) -> int:
    if stored.is_deleted:
        return 204
    return 201 if stored.method == "POST" or stored.version == 1 else 200
