"""The searchset Bundle of a search (R4 Search, "Search Responses"), assembled from stored bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import orjson

from fhir_server.fhir.codec import instant
from fhir_server.fhir.narrow import Narrowing, applies_to, narrowed
from fhir_server.fhir.outcome import Issue, operation_outcome
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.storage.port import Stored

_SAFE = ":/|,$-_.~"
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found on this page. `notes` is what the caller has to be told: parameters
    that were ignored, what is missing and why."""

    matches: Sequence[Stored] = ()
    included: Sequence[Stored] = ()
    total: int | None = None
    next_cursor: str | None = None
    notes: Sequence[Issue] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """What was asked for: `path` below the base, the parameters that were applied, as they
    count, and what part of each resource is wanted."""

    path: str
    applied: Pairs
    narrowing: Narrowing | None = field(default=None)


def searchset(context: Context, form: Form, found: Found) -> FhirResponse:
    """The answer to a search."""
    base = context.base_url.rstrip("/")
    head = {
        "resourceType": "Bundle",
        "id": context.new_id(),
        "meta": {"lastUpdated": instant(context.clock())},
        "type": "searchset",
        **({} if found.total is None else {"total": found.total}),
        "link": _links(form, base, found.next_cursor),
    }
    entries = [entry_json(base, form, stored, "match") for stored in found.matches]
    entries.extend(entry_json(base, form, stored, "include") for stored in found.included)
    if found.notes:
        entries.append(_outcome_entry(found.notes))
    body = orjson.dumps(head)
    if entries:
        body = body[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
    return FhirResponse(200, body)


def entry_json(base: str, form: Form, stored: Stored, mode: str) -> bytes:
    """Bundle.entry of a resource, narrowed as far as the form says."""
    url = orjson.dumps(f"{base}/{stored.key}")
    body = stored.body
    if form.narrowing is not None and applies_to(form.narrowing, mode):
        body = narrowed(body, form.narrowing)
    ending = b',"search":{"mode":"%s"}}' % mode.encode()
    return b"".join((b'{"fullUrl":', url, b',"resource":', body, ending))


def _outcome_entry(issues: Iterable[Issue]) -> bytes:
    outcome = {"resource": operation_outcome(issues), "search": {"mode": "outcome"}}
    return orjson.dumps(outcome)


def _links(form: Form, base: str, next_cursor: str | None) -> list[dict[str, str]]:
    """The link of what was applied, and that of the page after this."""
    links = [{"relation": "self", "url": _url(form.path, base, form.applied)}]
    if next_cursor is not None:
        kept = [pair for pair in form.applied if pair[0] != "_cursor"]
        url = _url(form.path, base, [*kept, ("_cursor", next_cursor)])
        links.append({"relation": "next", "url": url})
    return links


def _url(path: str, base: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = "&".join(f"{quote(name, safe=':')}={quote(value, safe=_SAFE)}" for name, value in pairs)
    url = f"{base}/{path}" if path else base
    return f"{url}{'?' if query else ''}{query}"
