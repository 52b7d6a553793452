"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): a write that is sent again is
done once, and answered as the first time.

What the answer is made of is remembered in the unit of the write itself: it is there exactly when
the write is. Of several that run at once one commits; the others then find its answer. Kept are
the names of versions, not their content: a repeat reads that anew, as far as the caller may.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from fhir_server.fhir.codec import instant
from fhir_server.fhir.idempotency_key import REPLAYED
from fhir_server.fhir.outcome import forbidden, unprocessable
from fhir_server.interactions.audited import read_record
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Repeatable
from fhir_server.storage.port import Key, Record, Stored, Transaction, Unit, VersionConflict

ANSWER = "idempotency"
"""The kind of these records; the id is made of the caller and the key."""

_AGAIN = "answered again, nothing was written"


@dataclass(frozen=True)
class Done:
    """What a unit did, as far as its answer is made of it: an answer for each thing done, and
    the id of a transaction."""

    parts: tuple[FhirResponse, ...]
    id: str | None = None
    is_repeat: bool = False

    @property
    def only(self) -> FhirResponse:
        """The one thing that was done."""
        return self.parts[0]


async def _as_it_is(_: Transaction, done: Done) -> Done:
    return done


def _first(done: Done) -> FhirResponse:
    return done.only


@dataclass(frozen=True)
class Work:
    """A unit whose repeat must do nothing. `perform` writes; `complete` adds what is read in the
    same unit, for a repeat too; `answer` makes the answer, outside the unit. `needs_bodies`: the
    answer shows the content of the versions that were written."""

    perform: Unit[Done]
    answer: Callable[[Done], FhirResponse] = _first
    complete: Callable[[Transaction, Done], Awaitable[Done]] = _as_it_is
    needs_bodies: bool = True


async def once(context: Context, request: FhirRequest, unit: Unit[FhirResponse]) -> FhirResponse:
    """Run a unit that answers for itself and commit it; where the request has a key, once."""
    if request.repeatable is None:
        return await context.store.transaction(unit)

    async def perform(transaction: Transaction) -> Done:
        return Done((await unit(transaction),))

    return await once_whole(context, request, Work(perform))


async def once_whole(context: Context, request: FhirRequest, work: Work) -> FhirResponse:
    """Run the work in one unit and commit it; where the request has a key, once. FhirError 422
    when the key came with another request before."""
    asked = request.repeatable

    async def unit(transaction: Transaction) -> Done:
        done = None if asked is None else await _recalled(context, transaction, request, work)
        if done is None:
            done = await work.perform(transaction)
            if asked is not None:
                await transaction.put_record(_record(context, asked, done), 0)
        return await work.complete(transaction, done)

    try:
        done = await context.store.transaction(unit)
    except VersionConflict:
        # Whoever was first may have been the same request.
        found = None if asked is None else await repeated(context, request, work)
        if found is None:
            raise
        return found
    return _answer(work, done)


async def repeated(context: Context, request: FhirRequest, work: Work) -> FhirResponse | None:
    """The answer to a request that was done before; None when it was not."""
    if request.repeatable is None:
        return None

    async def unit(transaction: Transaction) -> Done | None:
        done = await _recalled(context, transaction, request, work)
        return None if done is None else await work.complete(transaction, done)

    done = await context.store.transaction(unit)
    return None if done is None else _answer(work, done)


def _answer(work: Work, done: Done) -> FhirResponse:
    response = work.answer(done)
    if not done.is_repeat:
        return response
    return replace(response, headers={**response.headers, **REPLAYED})


def _record(context: Context, asked: Repeatable, done: Done) -> Record:
    value = {
        "fingerprint": asked.fingerprint,
        "id": done.id,
        "parts": [_kept(part) for part in done.parts],
    }
    return Record(ANSWER, _id(context, asked), value, expires=context.clock() + asked.kept)


def _id(context: Context, asked: Repeatable) -> str:
    """A key is the caller's own: the same one of another user or client is another."""
    who = context.access.principal
    parts = [who.tenant, who.subject, who.client_id, *asked.name]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def _kept(part: FhirResponse) -> dict[str, Any]:
    """What a part is rebuilt from. A body is kept only where it is no version's: it then says
    what was done, and to which resources."""
    kept: dict[str, Any] = {"status": part.status}
    stored = part.stored
    if stored is not None:
        key, updated = stored.key, instant(stored.updated)
        kept["of"] = [key.type, key.id, stored.version, updated, stored.method]
    elif part.body:
        kept["body"] = part.body.decode()
    if part.is_created:
        kept["created"] = True
    if part.headers:
        kept["headers"] = dict(part.headers)
    return kept


async def _recalled(
    context: Context, transaction: Transaction, request: FhirRequest, work: Work
) -> Done | None:
    """What was done for the same key, with the audit record of the repeat."""
    asked = request.repeatable
    record = None if asked is None else await transaction.record(ANSWER, _id(context, asked))
    if asked is None or record is None:
        return None
    if record.value["fingerprint"] != asked.fingerprint:
        raise unprocessable("Idempotency-Key: this key was used for another request")
    parts = [_part(kept) for kept in record.value["parts"]]
    if work.needs_bodies:
        parts = [await _shown(context, transaction, part) for part in parts]
    about = parts[0] if len(parts) == 1 else FhirResponse(200)
    await transaction.journal(read_record(context, request, about, detail=_AGAIN))
    return Done(tuple(parts), record.value["id"], is_repeat=True)


def _part(kept: dict[str, Any]) -> FhirResponse:
    stored = None
    if "of" in kept:
        type, id, version, updated, method = kept["of"]
        stored = Stored(Key(type, id), version, datetime.fromisoformat(updated), b"", method)
    return FhirResponse(
        kept["status"],
        kept.get("body", "").encode(),
        stored,
        is_created=kept.get("created", False),
        headers=kept.get("headers", {}),
    )


async def _shown(context: Context, transaction: Transaction, part: FhirResponse) -> FhirResponse:
    """The part with the content of its version. FhirError 403 when it has moved out of what the
    caller may read; one who may read nothing of the type is told what was done, as before."""
    if part.stored is None or part.stored.is_deleted:
        return part
    key = part.stored.key
    found = await transaction.get(key, part.stored.version)
    if found is not None and found.body:
        return replace(part, body=found.body, stored=found)
    if context.access.permits(key.type, "r"):
        raise forbidden("Idempotency-Key: no permission to read what was written with this key")
    return part
