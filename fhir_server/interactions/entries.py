"""Bundle entries: what a submitted entry asks for, and how an answer becomes an entry."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.fhir.dates import moment_of, time_range
from fhir_server.fhir.media_types import media_range
from fhir_server.fhir.outcome import (
    FhirError,
    Issue,
    invalid,
    operation_outcome,
    too_large,
    unsupported,
)
from fhir_server.interactions.conditions import require_understood
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.versions import etag, http_date

JSON_PATCH = "application/json-patch+json"
MAX_ENTRIES = 10_000
"""The most entries that one batch or transaction may have."""

_PHASES: Mapping[str, int] = {"delete": 0, "create": 1, "update": 2, "patch": 2}
READS = 3
"""The phase of what does not write."""

_RESOURCE_ALONE: Resource = {"fullUrl": "urn:uuid:00000000-0000-0000-0000-000000000000"}


def phase_of(request: FhirRequest) -> int:
    """When an entry runs: R4's order is DELETE, POST, PUT or PATCH, then GET."""
    return _PHASES.get(request.interaction, READS)


def shell(bundle: Resource) -> Resource:
    """The Bundle without the resources of its entries."""
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return bundle
    bare = [_without_resource(each) if isinstance(each, dict) else each for each in entries]
    return {**bundle, "entry": bare}


def _without_resource(entry: Resource) -> Resource:
    bare = {name: value for name, value in entry.items() if name != "resource"}
    # One that had a resource is not empty without it: what it lacks is a request.
    return bare if bare or not entry else _RESOURCE_ALONE


def entries_of(bundle: Resource) -> list[Resource]:
    """The entries of a Bundle; none where `entry` is no list, which is what its validation says.
    413 when there are more than MAX_ENTRIES."""
    given = bundle.get("entry", [])
    entries: list[Resource] = given if isinstance(given, list) else []
    if len(entries) > MAX_ENTRIES:
        raise too_large(
            f"the Bundle has {len(entries)} entries; {MAX_ENTRIES} is the most for one request"
        )
    return entries


def entry_request(context: Context, entry: Resource, outer: FhirRequest) -> FhirRequest:
    """What the entry asks for, without its body, under the preferences of the `outer` request.
    Raises for what would be refused if it came by itself."""
    asked = entry.get("request")
    if asked is None:
        raise invalid("an entry of a batch or transaction needs a request", "request")
    located = context.locate(asked["method"], asked["url"])
    if located.interaction in ("batch", "transaction"):
        raise unsupported("a batch or transaction inside another")
    if located.interaction.startswith("async-"):
        raise unsupported("the status of an asynchronous request inside a Bundle")
    found = replace(
        located,
        if_match=asked.get("ifMatch"),
        if_none_match=asked.get("ifNoneMatch"),
        if_none_exist=asked.get("ifNoneExist"),
        if_modified_since=_http_date(asked.get("ifModifiedSince")),
        prefer_return=outer.prefer_return,
        handling=outer.handling,
    )
    require_understood(found)
    has_body = found.interaction in ("create", "update", "patch")
    if has_body and "resource" not in entry:
        raise invalid(f"{asked['method']} needs a resource", "resource")
    if found.operation is not None and asked["method"] == "POST":
        return replace(found, body=encode(entry["resource"]) if "resource" in entry else b"")
    if not has_body and "resource" in entry:
        raise invalid(f"{asked['method']} takes no resource", "resource")
    return found


def _http_date(text: str | None) -> str | None:
    """An instant of R4, which may be a leap second, as a header says it."""
    return http_date(moment_of(time_range(text).low)) if text else None


def body_of(asked: FhirRequest, resource: Resource) -> FhirRequest:
    """The request with the resource of its entry as its body. A JSON Patch comes as a Binary (R4
    "batch/transaction", PATCH)."""
    is_binary = isinstance(resource, dict) and resource.get("resourceType") == "Binary"
    if asked.interaction != "patch" or not is_binary:
        return replace(asked, body=encode(resource))
    # Nobody has looked at the Binary before: its elements may be anything.
    given, content = resource.get("contentType"), resource.get("data")
    if not isinstance(given, str) or media_range(given).name != JSON_PATCH:
        text = f"a patch in a Binary is {JSON_PATCH}, not {given!r}"
        raise invalid(text, "resource.contentType")
    try:
        body = base64.b64decode(content, validate=True) if isinstance(content, str) else None
    except ValueError:
        body = None
    if body is None:
        raise invalid("the data of the Binary is not base64", "resource.data")
    return replace(asked, body=body, content_type=JSON_PATCH)


def at_entry(refusal: FhirError, index: int) -> list[Issue]:
    """The issues of a refusal, with expressions that begin at the Bundle."""
    place = f"Bundle.entry[{index}]"
    return [
        replace(issue, expression=tuple(_below(place, each) for each in issue.expression or ("",)))
        for issue in refusal.issues
    ]


def _below(place: str, expression: str) -> str:
    if not expression:
        return place
    head, dot, rest = expression.partition(".")
    is_resource = head[:1].isupper()
    return f"{place}.resource{dot}{rest}" if is_resource else f"{place}.{expression}"


def answer_entry(context: Context, response: FhirResponse, request: FhirRequest) -> bytes:
    """Bundle.entry for an answer. A write's resource is included when Prefer asks for it."""
    said: dict[str, Any] = {"status": _status_line(response.status)}
    stored = response.stored
    is_write = request.interaction in _PHASES
    if stored is not None:
        if request.interaction != "delete" and is_write:
            said["location"] = f"{stored.key}/_history/{stored.version}"
        said["etag"] = etag(stored.version)
        said["lastModified"] = instant(stored.updated)
    if is_write and request.prefer_return == "OperationOutcome":
        said["outcome"] = done(response)
    if is_write and stored is None and response.body:  # several deletions
        said["outcome"] = parse(response.body)
    wants_body = not request.is_head and (not is_write or request.prefer_return == "representation")
    body = response.body if wants_body and "outcome" not in said else b""
    rest = encode({"response": said})
    if not body:
        return rest
    url = encode({"fullUrl": f"{context.base_url}/{stored.key}"})[1:-1] + b"," if stored else b""
    return b"{" + url + b'"resource":' + body + b"," + rest[1:]


def refusal_entry(refusal: FhirError) -> bytes:
    """Bundle.entry for a batch entry that was refused."""
    outcome = operation_outcome(refusal.issues)
    return encode({"response": {"status": _status_line(refusal.status), "outcome": outcome}})


def done(response: FhirResponse) -> dict[str, Any]:
    """The OperationOutcome of a write that succeeded."""
    stored = response.stored
    what = f"{stored.key} version {stored.version}" if stored else "nothing was left to delete"
    return operation_outcome((Issue("information", "informational", f"done: {what}"),))


def join_entries(bundle: dict[str, Any], entries: Iterable[bytes]) -> bytes:
    """The Bundle as JSON with the given entries."""
    joined = b",".join(entries)
    head = encode(bundle)
    return head[:-1] + b',"entry":[' + joined + b"]}" if joined else head


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
