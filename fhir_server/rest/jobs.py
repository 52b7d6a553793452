"""Requests that are answered later (R4 Asynchronous Request Patterns), as records of the store.

A job is stored before it is acknowledged, and until its result is: whoever is up runs it. It is
its caller's own, with the rights that the caller had then; to all others it does not exist.

| kind | id | what |
|---|---|---|
| async-job | the job | whose it is, what was asked, how many pieces its result has |
| async-piece | the job, `in` or `out`, number | a part of the body sent, or of the result |
| async-work | the job | that it is to be run; until when somebody does |
| async-open | the caller | the caller's jobs that have no result yet |
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_server.fhir.codec import instant
from fhir_server.fhir.outcome import forbidden, not_found, throttled, unparsable
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Repeatable
from fhir_server.security.principal import Principal, principal_json, principal_of
from fhir_server.storage.port import Record, ResourceStore, Transaction

JOB, PIECE, WORK, OPEN = "async-job", "async-piece", "async-work", "async-open"
ANSWERED_LATER = frozenset(
    {"search-type", "search-system", "history-instance", "history-type", "history-system"}
    | {"batch", "transaction", "operation"}
)
"""The interactions that may be; for others the preference is not applied, as RFC 7240 allows."""

PIECE_CHARACTERS = 1024 * 1024
"""A record stays below 16 MB, whatever its characters are."""

WRITES_KEPT = timedelta(days=30)
"""How long what a job has written is remembered, so that running it again does not repeat it."""

_WRITING = frozenset({"batch", "transaction", "operation"})


@dataclass(frozen=True)
class JobLimits:
    """How many jobs of one caller may wait or run (0: none is taken), how long a result is kept,
    and how large it may be."""

    jobs: int = 10
    hours: int = 24
    result_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Job:
    """One job: whose request it is, as it was asked."""

    id: str
    principal: Principal | None
    request: FhirRequest
    accepted: datetime
    address: str | None
    request_id: str | None


class Jobs:
    """The jobs of a store. `wake` is called after one was added."""

    def __init__(
        self, store: ResourceStore, clock: Callable[[], datetime], limits: JobLimits
    ) -> None:
        self.store = store
        self.clock = clock
        self.limits = limits
        self.wake: Callable[[], None] = _nobody
        self.extent_of: Callable[[Principal | None], Awaitable[str]] = _unknown_extent

    async def accept(
        self, context: Context, principal: Principal | None, request: FhirRequest
    ) -> FhirResponse:
        """202 and where to ask for the result; the job is stored. FhirError 429 when the caller
        has too many."""
        id, owner = context.new_id(), context.access.binding
        asked = replace(request, repeatable=_repeatable(id, request), accepts_stream=True)
        pieces = pieces_of(asked.body)
        trail = context.audit
        value = {
            "owner": owner,
            "principal": None if principal is None else principal_json(principal),
            "request": _request_json(asked),
            "accepted": instant(self.clock()),
            "address": trail.address,
            "request_id": trail.request_id,
            "in": len(pieces),
            "out": None,
        }
        audited = trail.entry(
            interaction=request.interaction, outcome="success", status=202, detail="accepted"
        )

        async def unit(transaction: Transaction) -> None:
            await self._open(transaction, owner, id)
            await transaction.put_record(Record(JOB, id, value), 0)
            await transaction.put_record(Record(WORK, id, {"until": 0.0, "attempts": 0}), 0)
            await put_pieces(transaction, id, "in", pieces)
            await transaction.journal(audited)

        await self.store.transaction(unit)
        self.wake()
        headers = {
            "Content-Location": f"{context.base_url}/_async/{id}",
            "Preference-Applied": "respond-async",
        }
        return FhirResponse(202, headers=headers)

    async def status(self, context: Context, request: FhirRequest) -> FhirResponse:
        """202 with X-Progress while it waits or runs, then 200 and its result."""
        record = await self._own(context, request)
        if record.value["out"] is not None:
            if record.value.get("extent") != context.access.extent:
                raise forbidden("what this caller may see has changed since; ask again")
            return FhirResponse(200, await self._text(record, "out"))
        work = await self.store.record(WORK, record.id)
        is_running = work is not None and work.value["until"] > self.clock().timestamp()
        accepted = datetime.fromisoformat(record.value["accepted"])
        seconds = max(0, int((self.clock() - accepted).total_seconds()))
        progress = f"{'running' if is_running else 'waiting'}, accepted {seconds} s ago"
        retry = str(min(max(1, seconds // 4), 30))
        return FhirResponse(202, headers={"X-Progress": progress, "Retry-After": retry})

    async def cancel(self, context: Context, request: FhirRequest) -> FhirResponse:
        """202: the job is forgotten, with its result; what it has committed stays."""
        record = await self._own(context, request)

        async def unit(transaction: Transaction) -> None:
            await self.close(transaction, record)
            await transaction.delete_record(JOB, record.id)
            for number in range(record.value["out"] or 0):
                await transaction.delete_record(PIECE, _piece_id(record.id, "out", number))

        await self.store.transaction(unit)
        return FhirResponse(202)

    async def read(self, id: str) -> tuple[Job, Record] | None:
        """The job and its record; None when it was cancelled."""
        record = await self.store.record(JOB, id)
        if record is None:
            return None
        value = record.value
        body = await self._text(record, "in")
        principal = value["principal"]
        job = Job(
            id,
            None if principal is None else principal_of(principal),
            _request(value["request"], body),
            datetime.fromisoformat(value["accepted"]),
            value["address"],
            value["request_id"],
        )
        return job, record

    async def close(self, transaction: Transaction, record: Record) -> None:
        """There is nothing more to run of it."""
        await transaction.delete_record(WORK, record.id)
        for number in range(record.value["in"]):
            await transaction.delete_record(PIECE, _piece_id(record.id, "in", number))
        owner = record.value["owner"]
        await transaction.reserve(f"{OPEN} {owner}")
        found = await transaction.record(OPEN, owner)
        left = [each for each in (found.value["jobs"] if found else []) if each != record.id]
        if left:
            await transaction.put_record(Record(OPEN, owner, {"jobs": left}))
        else:
            await transaction.delete_record(OPEN, owner)

    async def _open(self, transaction: Transaction, owner: str, id: str) -> None:
        await transaction.reserve(f"{OPEN} {owner}")
        found = await transaction.record(OPEN, owner)
        jobs = found.value["jobs"] if found else []
        if len(jobs) >= self.limits.jobs:
            text = f"{len(jobs)} requests of this caller are being answered; more is too many"
            raise throttled(text, retry_after_seconds=10)
        await transaction.put_record(Record(OPEN, owner, {"jobs": [*jobs, id]}))

    async def _own(self, context: Context, request: FhirRequest) -> Record:
        record = await self.store.record(JOB, request.id or "")
        if record is None or record.value["owner"] != context.access.binding:
            raise not_found(f"the asynchronous request {request.id}")
        return record

    async def _text(self, record: Record, side: str) -> bytes:
        parts = []
        for number in range(record.value[side]):
            piece = await self.store.record(PIECE, _piece_id(record.id, side, number))
            if piece is None:
                raise not_found(f"the asynchronous request {record.id}")
            parts.append(piece.value["text"])
        return "".join(parts).encode()


async def _unknown_extent(_: Principal | None) -> str:
    """What nobody may see the result of: no application has said what its callers may see."""
    return ""


def _nobody() -> None:
    """Nobody runs jobs in this process."""


async def put_pieces(
    transaction: Transaction,
    id: str,
    side: str,
    pieces: Sequence[str],
    expires: datetime | None = None,
) -> None:
    """Store the parts of a body or a result."""
    for number, text in enumerate(pieces):
        record = Record(PIECE, _piece_id(id, side, number), {"text": text}, expires=expires)
        await transaction.put_record(record)


def pieces_of(body: bytes) -> list[str]:
    """A body or a result in parts that records can hold; FhirError 400 when it is no text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise unparsable("the body is not UTF-8") from None
    return [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]


def _piece_id(id: str, side: str, number: int) -> str:
    return f"{id}/{side}/{number:04d}"


def _repeatable(id: str, request: FhirRequest) -> Repeatable | None:
    """A job that is run again writes nothing again, whether its caller sent a key or not."""
    if request.interaction not in _WRITING:
        return None
    given = request.repeatable
    if given is None:
        return Repeatable(("job", id), id, WRITES_KEPT)
    return replace(given, kept=max(given.kept, WRITES_KEPT))


_TEXTS = (
    *("interaction", "type", "id", "version", "if_none_match", "if_modified_since"),
    *("prefer_return", "handling", "is_pretty", "operation", "accept", "content_type"),
)
"""The fields of a request that JSON holds as they are."""


def _request_json(request: FhirRequest) -> dict[str, Any]:
    value: dict[str, Any] = {name: getattr(request, name) for name in _TEXTS}
    value["query"] = [list(pair) for pair in request.query]
    value["compartment"] = request.compartment and list(request.compartment)
    asked = request.repeatable
    if asked is not None:
        value["once"] = [list(asked.name), asked.fingerprint, asked.kept.total_seconds()]
    return value


def _request(value: dict[str, Any], body: bytes) -> FhirRequest:
    repeatable = None
    if "once" in value:
        name, fingerprint, seconds = value["once"]
        repeatable = Repeatable(tuple(name), fingerprint, timedelta(seconds=seconds))
    compartment = value["compartment"]
    return FhirRequest(
        **{name: value[name] for name in _TEXTS},
        query=tuple((name, text) for name, text in value["query"]),
        compartment=(compartment[0], compartment[1]) if compartment else None,
        body=body,
        accepts_stream=True,
        repeatable=repeatable,
    )
