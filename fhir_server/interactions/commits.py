"""What a transaction wrote, remembered in the same unit, so that it can be undone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.fhir.codec import instant
from fhir_server.interactions.context import Context
from fhir_server.storage.port import Key, Record, Stored, Transaction

COMMIT = "commit"
"""The kind of these records; the id is that of the transaction's answer."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The versions that a transaction wrote, and when."""

    writes: tuple[tuple[Key, int], ...]
    moment: datetime


async def remember(context: Context, unit: Transaction, id: str, written: Sequence[Stored]) -> None:
    """Keep what is written in this unit, for as long as it may be undone."""
    if not written or not context.undo_days:
        return
    now = context.clock()
    value = {
        "moment": instant(now),
        "writes": [[each.key.type, each.key.id, each.version] for each in written],
    }
    expires = now + timedelta(days=context.undo_days)
    await unit.put_record(Record(COMMIT, id, value, expires=expires))


async def recall(unit: Transaction, id: str) -> Commit | None:
    """What the transaction wrote; None when it is not known, or no longer."""
    record = await unit.record(COMMIT, id)
    if record is None:
        return None
    writes = tuple((Key(type, name), version) for type, name, version in record.value["writes"])
    return Commit(writes, datetime.fromisoformat(record.value["moment"]))
