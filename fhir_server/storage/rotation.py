"""Sealing anew what a store holds, batch by batch, while servers go on reading and writing.

What is read opens under any key of the ring, so nothing waits for this. How far it is lies in a
record that is written with each batch: a rotation that is killed goes on where it was. Writers
take up a new data key within REFRESH_SECONDS; what they wrote before that is met in another turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol, cast

from fhir_server.storage.port import Record, ResourceStore, Transaction
from fhir_server.storage.ring import KIND, RING, Ring, unwrapped, wrapped
from fhir_server.storage.vault import PLAIN, Vault

PLACES = ("history", "records", "journal")
"""What is walked through, in this order."""
AT_ONCE = 200
BYTES_AT_ONCE = 8 * 1024 * 1024
_ROTATION = "rotation"


@dataclass(frozen=True, slots=True)
class Resealed:
    """One batch: how many were sealed anew, where the next begins (None: nothing is left at this
    place), and what could not be read."""

    count: int
    after: str | None
    unreadable: tuple[str, ...] = ()


class Sealing(Protocol):
    """The encryption of an open store."""

    vault: Vault

    async def census(self) -> Mapping[int, int]:
        """How much content lies under each data key; PLAIN for what is not sealed."""

    async def sweep(self) -> None:
        """Let nothing be left of what was replaced, as far as the engine can do that;
        StoreUnavailable when others keep it from that now."""


class SealedStore(ResourceStore, Protocol):
    """A store whose content can be sealed; its transactions are ResealingTransactions."""

    sealing: Sealing
    capacity: Mapping[str, float]
    """How many requests it can work on at once, by pool (storage/measured.py)."""

    @property
    def is_away(self) -> bool:
        """Whether it was found to be gone, and has not answered since."""


class ResealingTransaction(Transaction, Protocol):
    """A transaction that can also seal anew."""

    async def reseal(self, place: str, after: str, limit: int) -> Resealed:
        """Seal under the active key what lies at the place (one of PLACES) beyond `after`, at
        most `limit` of it."""


@dataclass(frozen=True)
class Rotation:
    """How far a rotation to `key` is: in its `turn`, at this place (None: the turn is over),
    beyond `after`. `unreadable` names what can't be opened, and stays as it is."""

    key: int
    total: int
    place: str | None = PLACES[0]
    after: str = ""
    done: int = 0
    turn: int = 1
    unreadable: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Rotation":
        """From the value of its record."""
        return cls(**{**value, "unreadable": tuple(value["unreadable"])})

    def record(self) -> Record:
        """As it is kept."""
        return Record(KIND, _ROTATION, {**vars(self), "unreadable": list(self.unreadable)})

    def beyond(self, batch: Resealed) -> "Rotation":
        """Where it is after the batch."""
        place, after = self.place, batch.after or ""
        if batch.after is None and place is not None:
            place = _NEXT.get(place)
        return replace(
            self,
            place=place,
            after=after,
            done=self.done + batch.count,
            unreadable=(*self.unreadable, *batch.unreadable),
        )


_NEXT = dict(pairwise(PLACES))


async def under_way(store: ResourceStore) -> Rotation | None:
    """The rotation that has begun and not ended."""
    record = await store.record(KIND, _ROTATION)
    return None if record is None else Rotation.read(record.value)


async def begin(store: SealedStore) -> Rotation:
    """Begin to seal everything under the active key."""
    active = store.sealing.vault.active
    census = await store.sealing.census()
    rotation = Rotation(active, sum(count for key, count in census.items() if key != active))
    await store.transaction(lambda transaction: transaction.put_record(rotation.record(), 0))
    return rotation


async def step(store: SealedStore, limit: int = AT_ONCE) -> Rotation:
    """Do one batch; where the rotation is then."""

    async def unit(transaction: Transaction) -> Rotation:
        # The transactions of both adapters are ResealingTransactions; the port does not say so.
        resealing = cast("ResealingTransaction", transaction)
        record = await transaction.record(KIND, _ROTATION)
        if record is None:
            raise LookupError("no rotation is under way")
        before = Rotation.read(record.value)
        if before.place is None:
            return before
        now = before.beyond(await resealing.reseal(before.place, before.after, limit))
        await transaction.put_record(now.record(), record.revision)
        return now

    return await store.transaction(unit)


async def finish(store: SealedStore) -> Rotation | None:
    """After a whole turn: another one where something came under another key meanwhile; else the
    end, None, from which on the store believes nothing that is not sealed."""
    rotation = await under_way(store)
    if rotation is None:
        return None
    census = await store.sealing.census()
    left = sum(count for key, count in census.items() if key != rotation.key)
    if left > len(rotation.unreadable):
        again = Rotation(rotation.key, rotation.total, done=rotation.done, turn=rotation.turn + 1)
        await store.transaction(lambda transaction: transaction.put_record(again.record()))
        return again
    if not census.get(PLAIN):
        await change_ring(store, lambda ring: replace(ring, takes_plain=False))
    # Before it ends: who is kept from it asks again.
    await store.sealing.sweep()
    await store.transaction(lambda transaction: transaction.delete_record(KIND, _ROTATION))
    return None


async def change_ring(store: SealedStore, change: Callable[[Ring], Ring]) -> None:
    """Put another ring in the place of the store's, wrapped by the first master key of the file;
    LookupError where the store is not encrypted."""
    vault = store.sealing.vault

    async def unit(transaction: Transaction) -> dict[str, Any]:
        record = await transaction.record(KIND, RING)
        if record is None or vault.masters is None:
            raise LookupError("the store is not encrypted")
        value = wrapped(change(unwrapped(record.value, vault.masters)), vault.masters)
        await transaction.put_record(Record(KIND, RING, value), record.revision)
        return value

    vault.adopt(await store.transaction(unit))
