"""The one write path: parse, validate, stamp, extract, put with the audit record, answer.

Parsing, validation and (for new ids) extraction happen before the unit; only what depends on
the current version happens inside it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from fhir_server.fhir.codec import encode, instant, parse, stamp
from fhir_server.fhir.outcome import FhirError, invalid
from fhir_server.interactions.comparison_report import (
    MEASURE_REPORT,
    require_kept,
    require_measured,
)
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.decision_record import (
    PROVENANCE,
    require_no_decision,
    require_standing_decision,
)
from fhir_server.interactions.marked_report import DIAGNOSTIC_REPORT, require_marks_heeded
from fhir_server.interactions.model_device import (
    DEVICE,
    require_same_standing,
    require_unregistered,
)
from fhir_server.interactions.reading_author import (
    OBSERVATION,
    require_no_others_reading,
    require_own_reading,
)
from fhir_server.interactions.recalled_device import require_same_recalls
from fhir_server.interactions.subscribing import require_reachable
from fhir_server.security.principal import Principal
from fhir_server.security.tenants import in_tenant
from fhir_server.storage.port import Draft, Key, Stored, Terms, Transaction

Interaction = Callable[[Context, FhirRequest], Awaitable[FhirResponse]]

LARGE = 64 * 1024
"""Bodies of this many bytes are parsed and judged in a thread, so that others need not wait."""

_TICK = timedelta(milliseconds=1)

_MAY_WRITE: Mapping[str, Callable[[Resource, Stored | None, Principal | None], None]] = {
    MEASURE_REPORT: require_measured,
    PROVENANCE: require_no_decision,
    OBSERVATION: require_own_reading,
    DIAGNOSTIC_REPORT: require_marks_heeded,
}
"""By type, what refuses a version that its author may not write, or nobody may."""
_MAY_DELETE: Mapping[str, Callable[[Stored, Principal], None]] = {
    DEVICE: lambda current, _: require_unregistered(current),
    MEASURE_REPORT: require_kept,
    PROVENANCE: lambda current, _: require_standing_decision(current),
    OBSERVATION: require_no_others_reading,
}
"""By type, what refuses the deletion of a version that stays, or is another's."""


class Stamping(Protocol):
    """What stamping a version takes: the injected now, the extractor, the tenant to whom belongs
    what is written, and who writes (both None: the server itself, which leaves labels as they
    are). A Context has them."""

    @property
    def clock(self) -> Callable[[], datetime]: ...

    @property
    def extract(self) -> Callable[[Resource], Terms]: ...

    @property
    def tenant(self) -> str | None: ...

    @property
    def writer(self) -> Principal | None: ...


@dataclass(frozen=True)
class Submission:
    """A resource that is to become the next version of `key`; `body` is its exact JSON."""

    key: Key
    resource: Resource
    body: bytes
    method: str


async def accepted(context: Context, request: FhirRequest) -> Resource:
    """The resource in the body of `request`, of the type in its URL and valid; else 400 with
    every problem. 422 for a Subscription to be told where nothing is sent."""
    if len(request.body) < LARGE:
        resource = _accepted(context, request)
    else:
        resource = await asyncio.to_thread(_accepted, context, request)
    await require_reachable(context, resource)
    return resource


def _accepted(context: Context, request: FhirRequest) -> Resource:
    resource = parse(request.body)
    found = resource.get("resourceType")
    if found != request.type:
        raise invalid(f"the URL says {request.type}, the body is {found!r}", "resourceType")
    require_valid(context, resource)
    return resource


def require_valid(context: Context, resource: Resource) -> None:
    """400 with every problem of `resource`; warnings alone let it pass."""
    issues = context.validator.issues(resource)
    if any(issue.severity in ("fatal", "error") for issue in issues):
        raise FhirError(400, issues)


def owned(context: Stamping, submission: Submission) -> Submission:
    """The submission as the caller's tenant's own; FhirError 422 when it says otherwise."""
    if context.tenant is None:
        return submission
    resource = in_tenant(submission.resource, context.tenant)
    if resource is submission.resource:
        return submission
    return replace(submission, resource=resource, body=encode(resource))


def draft(context: Stamping, submission: Submission, current: Stored | None) -> Draft:
    """The version that follows `current` (versions of a deleted resource go on): stamped with
    its id, version and time, and extracted. Times of one resource only grow."""
    submission = owned(context, submission)
    if submission.key.type == DEVICE and context.tenant is not None:
        require_same_standing(submission.resource, current)
        require_same_recalls(submission.resource, current)
    if submission.key.type in _MAY_WRITE:
        _MAY_WRITE[submission.key.type](submission.resource, current, context.writer)
    version = 1 if current is None else current.version + 1
    updated = next_moment(context.clock(), current)
    key = submission.key
    meta: dict[str, Any] = dict(submission.resource.get("meta", {}))
    meta["versionId"] = str(version)
    meta["lastUpdated"] = instant(updated)
    stored = Stored(
        key=key,
        version=version,
        updated=updated,
        body=stamp(submission.body, key.id, version, updated),
        method=submission.method,
    )
    terms = context.extract({**submission.resource, "id": key.id, "meta": meta})
    return Draft(stored, terms)


def tombstone(context: Context, current: Stored) -> Draft:
    """The deleted version that follows `current`; FhirError 422 for a registered model version,
    for a comparison of versions and a decision on one, 403 for a person who deletes what services
    count or another's reading."""
    if current.key.type in _MAY_DELETE:
        _MAY_DELETE[current.key.type](current, context.writer)
    return deletion(current, context.clock())


def deletion(current: Stored, now: datetime) -> Draft:
    """The deleted version that follows `current` at a moment, whatever it is."""
    moment = next_moment(now, current)
    return Draft(Stored(current.key, current.version + 1, moment, b"", "DELETE"))


def next_moment(now: datetime, current: Stored | None) -> datetime:
    """Now in whole milliseconds, and later than `current`."""
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return now if current is None else max(now, current.updated + _TICK)


async def put(transaction: Transaction, draft: Draft) -> None:
    """Write `draft` as the version that follows the one before it."""
    await transaction.put(draft, draft.stored.version - 1)
