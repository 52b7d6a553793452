"""history of a resource, a type, or all of it (R4 RESTful API, "history")."""

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fhir_server.fhir.codec import encode, instant
from fhir_server.fhir.dates import TimeRange, moment_of, time_range
from fhir_server.fhir.narrow import PARAMETERS as NARROWING
from fhir_server.fhir.narrow import Narrowing, narrowed, narrowing_of_read
from fhir_server.fhir.outcome import bad_parameter, not_found
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.entries import join_entries
from fhir_server.interactions.keys import key_of, type_of
from fhir_server.interactions.versions import etag
from fhir_server.storage.port import HistoryPage, Key, Past, Stored

DEFAULT_COUNT = 50
LARGEST_COUNT = 1000
CURSOR = "_cursor"
PARAMETERS = frozenset({"_count", "_since", "_at", CURSOR}) | NARROWING


@dataclass(frozen=True)
class _Asked:
    """A history: its path below the base, and what to ask the store, on the first page."""

    path: str
    past: Past
    request: FhirRequest
    binding: str


async def history_instance(context: Context, request: FhirRequest) -> FhirResponse:
    """A Bundle of the versions of one resource, newest first, deletions included; 404 when
    there never was one."""
    key = key_of(request)
    asked = _asked(context, request, str(key), Past(key=key))
    page = await _page(context, asked)
    if not page.versions and await context.store.get(key) is None:
        raise not_found(key)
    return _answer(context, asked, page)


async def history_type(context: Context, request: FhirRequest) -> FhirResponse:
    """The same of every resource of the type."""
    type = type_of(request)
    asked = _asked(context, request, type, Past(types=(type,)))
    return _answer(context, asked, await _page(context, asked))


async def history_system(context: Context, request: FhirRequest) -> FhirResponse:
    """The same of every resource."""
    asked = _asked(context, request, "", Past())
    return _answer(context, asked, await _page(context, asked))


def _asked(context: Context, request: FhirRequest, path: str, scope: Past) -> _Asked:
    since, at = _moment(request, "_since"), _moment(request, "_at")
    past = replace(
        scope,
        limit=_count(request),
        since=None if since is None else moment_of(since.low),
        at=None if at is None else (moment_of(at.low), moment_of(at.high)),
    )
    times = (_only(request, "_since"), _only(request, "_at"))
    binding = repr((context.access.binding, "history", path, times))
    return _Asked(path, past, request, binding)


async def _page(context: Context, asked: _Asked) -> HistoryPage:
    cursor, past = _only(asked.request, CURSOR), asked.past
    if cursor is None:
        return await context.store.history(past)
    before: str | None = context.cursors.open(cursor, asked.binding)[0]
    return await context.store.history(replace(past, before=before))


def _answer(context: Context, asked: _Asked, page: HistoryPage) -> FhirResponse:
    """`next` pages on by a sealed cursor; `total` is given where one page holds all."""
    narrowing = narrowing_of_read(asked.request.query, asked.request.type)
    bundle: Resource = {"resourceType": "Bundle", "id": context.new_id(), "type": "history"}
    bundle["meta"] = {"lastUpdated": instant(context.clock())}
    if _only(asked.request, CURSOR) is None and page.next is None:
        bundle["total"] = len(page.versions)
    bundle["link"] = _links(context, asked, page)
    entries = [_entry(context, stored, narrowing) for stored in page.versions]
    about = next((stored for stored in page.versions if not stored.is_deleted), None)
    is_one = asked.past.key is not None
    return FhirResponse(200, join_entries(bundle, entries), about=about if is_one else None)


def _only(request: FhirRequest, wanted: str) -> str | None:
    values = [value for name, value in request.query if name == wanted]
    if len(values) > 1:
        raise bad_parameter(f"{wanted} is given more than once")
    return values[0] if values else None


def _count(request: FhirRequest) -> int:
    text = _only(request, "_count")
    if text is None:
        return DEFAULT_COUNT
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise bad_parameter("_count is one whole number above 0")
    return min(int(text), LARGEST_COUNT)


def _moment(request: FhirRequest, name: str) -> TimeRange | None:
    text = _only(request, name)
    if text is None:
        return None
    try:
        return time_range(text)
    except ValueError as mistake:
        raise bad_parameter(f"{name}: {mistake}") from None


def _links(context: Context, asked: _Asked, page: HistoryPage) -> list[dict[str, str]]:
    url = f"{context.base_url}/{asked.path}/_history".replace("//_history", "/_history")
    pairs = urlencode(asked.request.query)
    links = [{"relation": "self", "url": f"{url}?{pairs}" if pairs else url}]
    if page.next is not None:
        kept = [pair for pair in asked.request.query if pair[0] != CURSOR]
        sealed = context.cursors.seal((page.next,), asked.binding)
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
