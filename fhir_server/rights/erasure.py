"""A patient's record erased (GDPR article 17): every version of what belongs to them alone.

What remains of each resource is that there was one of this type and id, and when it went. The
Patient goes last: an erasure that is cut off goes on when it is asked for again.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fhir_server.fhir.codec import instant
from fhir_server.interactions.write import deletion, put
from fhir_server.rights.extent import (
    Extent,
    Extract,
    Told,
    belongs,
    extent_of,
    patients_ever,
    silent,
)
from fhir_server.security.restrictions import RESTRICTION, all_records
from fhir_server.security.rule_state import change
from fhir_server.storage.port import (
    Key,
    Record,
    ResourceStore,
    Stored,
    Transaction,
    Unit,
)
from fhir_server.storage.snapshot import part_ways

AT_ONCE = 100
"""How many resources one unit erases."""
ERASURE = "erasure"
"""The kind of the records that say which patients were erased; the id is the Patient's."""
REASONS = ("patient-request", "legal-order", "retention-ended", "registered-in-error")

MOST_ROUNDS = 5
"""What is written while an erasure runs is met in another round."""

Noted = Callable[[Key, int | None], bytes]
"""The audit record of one erased resource and its last version."""


class NothingHeld(LookupError):
    """The store holds nothing about the patient."""


class StillWritten(Exception):
    """Others go on writing about the patient: stop them first."""


class HeldForLaw(Exception):
    """A hold or restriction forbids that anything of the patient is erased; the text is its
    reason."""


@dataclass(frozen=True)
class Ordered:
    """An erasure as it was ordered: of whom, why, and how each is audited."""

    patient: Key
    reason: str
    noted: Noted
    clock: Callable[[], datetime]


async def erase(
    store: ResourceStore, extract: Extract, ordered: Ordered, told: Told = silent
) -> Extent:
    """Erase what belongs to the patient, and the versions that once did; what was found comes
    back. NothingHeld when that is nothing, HeldForLaw under a legal hold, also one on another
    patient whose some of it is or was, StillWritten when it does not come to an end."""
    await require_no_hold(store, ordered.patient)
    first = extent = await extent_of(store, extract, ordered.patient, told)
    if not extent.own and not extent.former:
        raise NothingHeld(f"nothing is held about {ordered.patient}")
    if await kept_patients(store):
        for key in (*extent.own, *extent.former):
            await _require_not_kept(store, extract, key)
    for _ in range(MOST_ROUNDS):
        for what, keys, erasing in (
            ("former versions erased", extent.former, partial(_forgetting, ordered, extract)),
            ("erased", extent.own, partial(_erasing, ordered, extract, frozenset(extent.own))),
        ):
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                await store.transaction(erasing(some))
                told(what, start + len(some), len(keys))
        extent = await extent_of(store, extract, ordered.patient)
        if not extent.own and not extent.former:
            return first
    raise StillWritten(f"something is written about {ordered.patient} all the time")


async def _require_not_kept(store: ResourceStore | Transaction, extract: Extract, key: Key) -> None:
    """HeldForLaw when a version of it is or was that of a patient whose record is kept."""
    for patient in sorted(await patients_ever(store, extract, key)):
        await require_no_hold(store, Key("Patient", patient.removeprefix("Patient/")))


def _forgetting(ordered: Ordered, extract: Extract, keys: Sequence[Key]) -> Unit[None]:
    async def unit(transaction: Transaction) -> None:
        await require_no_hold(transaction, ordered.patient)
        for key in keys:
            await _require_not_kept(transaction, extract, key)
            await forget(transaction, key)
            await transaction.journal(ordered.noted(key, None))

    return unit


def _erasing(ordered: Ordered, extract: Extract, own: Set[Key], keys: Sequence[Key]) -> Unit[None]:
    async def unit(transaction: Transaction) -> None:
        await require_no_hold(transaction, ordered.patient)
        consents = []
        for key in keys:
            current = await transaction.get(key)
            # What was changed since it was looked at is found again, as what it is now.
            if current is None or not belongs(extract, ordered.patient, current, own):
                continue
            if current.version > 1:
                await _require_not_kept(transaction, extract, key)
            await erased_one(transaction, current, ordered.clock())
            await transaction.journal(ordered.noted(key, current.version))
            if key.type == "Consent":
                consents.append(key.id)
        if consents:
            await change(transaction, consents=consents)
        if ordered.patient in keys:
            value = {"reason": ordered.reason, "time": instant(ordered.clock())}
            await transaction.put_record(Record(ERASURE, ordered.patient.id, value))

    return unit


async def erased_one(transaction: Transaction, current: Stored, now: datetime) -> None:
    """Within a unit: a deletion is all that remains of the resource."""
    if not current.is_deleted:
        await put(transaction, deletion(current, now))
    await forget(transaction, current.key)


async def forget(transaction: Transaction, key: Key) -> None:
    """Within a unit: no version but the current one remains."""
    await transaction.forget(key)
    await part_ways(transaction)


HOLD = "legal-hold"
"""The kind of the records that forbid an erasure; the id is the Patient's."""


async def hold(store: ResourceStore, patient: Key, reason: str, entry: bytes) -> None:
    """From now on nothing of the patient is erased; `reason` says by whose order."""

    async def unit(transaction: Transaction) -> None:
        await transaction.put_record(Record(HOLD, patient.id, {"reason": reason}))
        await transaction.journal(entry)

    await store.transaction(unit)


async def release(store: ResourceStore, patient: Key, entry: bytes) -> None:
    """The hold is over; NothingHeld when there is none."""

    async def unit(transaction: Transaction) -> None:
        if await transaction.record(HOLD, patient.id) is None:
            raise NothingHeld(f"there is no hold on {patient}")
        await transaction.delete_record(HOLD, patient.id)
        await transaction.journal(entry)

    await store.transaction(unit)


KEEPING = {HOLD: "there is a legal hold on", RESTRICTION: "processing is restricted of"}
"""The kinds of records that keep a patient's record from being erased, and what each says."""


async def kept_patients(store: ResourceStore) -> frozenset[str]:
    """All patients under a legal hold or a restriction, as references."""
    found = [f"Patient/{each.id}" for kind in KEEPING for each in await all_records(store, kind)]
    return frozenset(found)


async def is_kept(transaction: Transaction, patients: Iterable[str]) -> bool:
    """Whether one of the patients (references) is under a hold or restriction."""
    ids = [each.removeprefix("Patient/") for each in patients]
    found = [await transaction.record(kind, id) for id in ids for kind in KEEPING]
    return any(found)


async def require_no_hold(store: ResourceStore | Transaction, patient: Key) -> None:
    """HeldForLaw when there is a hold on the patient, or a restriction: who asked for that wants
    the record kept (article 18(1)(b) and (c))."""
    for kind, words in KEEPING.items():
        held = await store.record(kind, patient.id)
        if held is not None:
            raise HeldForLaw(f"{words} Patient/{held.id}: {held.value['reason']}")
