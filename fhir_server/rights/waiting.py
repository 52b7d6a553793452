"""Answers that wait for their caller (Prefer: respond-async) are copies of what the store holds:
those that tell of what was erased go with it.

An answer is found by the ids in it, of whatever type: one more that goes costs its caller another
request, one that stays would be handed out. What is being answered may have been read before the
erasure, so it begins again.
"""

import re
from collections.abc import Iterable, Set

from fhir_server.rest.jobs import JOB, PIECE, WORK
from fhir_server.security.restrictions import all_records
from fhir_server.storage.port import Key, Record, ResourceStore, Transaction, Unit

_IDS = re.compile(r'"id"\s*:\s*"([^"]*)"|/([A-Za-z0-9\-.]{1,64})(?![A-Za-z0-9\-.])')


async def take_away(store: ResourceStore, keys: Iterable[Key]) -> int:
    """Delete every answer that waits and holds one of these ids; how many those were."""
    ids = frozenset(key.id for key in keys)
    await store.transaction(_begun_again(await all_records(store, WORK)))
    taken = 0
    for job in await all_records(store, JOB):
        pieces = await store.records(PIECE, prefix=f"{job.id}/out/")
        if job.value["out"] is not None and _tells(pieces, ids):
            await store.transaction(_gone(job, pieces))
            taken += 1
    return taken


def _tells(pieces: Iterable[Record], ids: Set[str]) -> bool:
    """Whether the answer has one of the ids: as that of a resource, or in a reference."""
    text = "".join(each.value["text"] for each in pieces)
    return any((found[1] or found[2]) in ids for found in _IDS.finditer(text))


def _gone(job: Record, pieces: Iterable[Record]) -> Unit[None]:
    async def unit(transaction: Transaction) -> None:
        await transaction.delete_record(JOB, job.id)
        for each in pieces:
            await transaction.delete_record(PIECE, each.id)

    return unit


def _begun_again(works: Iterable[Record]) -> Unit[None]:
    """Whoever answers one of them now finds that it is theirs no more, and leaves it."""

    async def unit(transaction: Transaction) -> None:
        for each in works:
            current = await transaction.record(WORK, each.id)
            if current is not None and current.value["until"]:
                attempts = max(0, current.value["attempts"] - 1)
                value = {"until": 0.0, "attempts": attempts}
                await transaction.put_record(Record(WORK, each.id, value), current.revision)

    return unit
