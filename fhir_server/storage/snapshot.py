"""A store as a whole: read at one moment while others write, and written into an empty store.

Backups are made of this. Content comes out opened and goes in sealed by the keys of the store that
it goes into, so that neither the engine nor the master key has to be the same.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from fhir_server.storage.port import Record, Stored, Transaction
from fhir_server.storage.rotation import SealedStore

OWN, IDENTITY = "backup", "store"
"""Kind and id of the record that names this store to its backups."""
BYTES_AT_ONCE = 4 * 1024 * 1024
ROWS_AT_ONCE = 500
"""So much is read at once; a body that is longer comes alone."""


class Version(NamedTuple):
    """One version and its place in the order of the feed: with SQLite the number of its commit's
    row, with MongoDB the milliseconds since 1970 at which it was written."""

    place: int
    stored: Stored


@dataclass(frozen=True, slots=True)
class Cut:
    """The moment of a snapshot. No version in it has a higher place; `first_open` is the first
    place at which a version may still arrive that the snapshot does not show: below it everything
    is final."""

    place: int
    moment: datetime
    first_open: int


class Snapshot(Protocol):
    """What had been committed at one moment. `versions` is read first, to its end; the rest is
    of the moment at which that ended."""

    def versions(self, after: int) -> AsyncIterator[Version]:
        """All versions with a place beyond `after`; of those shortly before it some may come
        again."""

    def cut(self) -> Cut:
        """The moment; RuntimeError before `versions` has ended."""

    async def count(self, below: int) -> int:
        """How many versions have a place below this one."""

    def records(self, beyond: Mapping[str, str]) -> AsyncIterator[Record]:
        """All unexpired records but those about the encryption, which are of this store alone; of
        the kinds in `beyond` only those with a greater id."""

    def journal(self) -> AsyncIterator[bytes]:
        """The audit records that wait for the sealer, oldest first."""


class Loading(Protocol):
    """Fills an empty store. Each call is durable by `finish`, which makes the last version of
    each resource its current one; what they are found by is for the indexing to make."""

    async def versions(self, versions: Sequence[Version]) -> None:
        """Add versions; those that are there already are left alone."""

    async def records(self, records: Sequence[Record]) -> None:
        """Add records, each with its revision."""

    async def journal(self, entries: Sequence[bytes]) -> None:
        """Add audit records that wait for the sealer."""

    async def finish(self, cut: Cut) -> str:
        """End the work. The position of a feed that has passed on everything up to the cut of the
        other store."""


class Copying(Protocol):
    """The copying of an open store."""

    engine: str

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """A snapshot, which is held as short as the engine allows."""

    async def is_empty(self) -> bool:
        """Whether there is nothing in the store but its keys."""

    def loading(self, engine: str) -> AbstractAsyncContextManager[Loading]:
        """What fills the store with the content of one of `engine`: places are kept where it is
        the same. When this ends by a failure, the store is to be thrown away."""


async def part_ways(transaction: Transaction) -> None:
    """Within a unit that makes versions disappear: the next backup is a full one, because an
    increment would not say what is gone. It is still one of the same store."""
    record = await transaction.record(OWN, IDENTITY)
    if record is not None:
        name = f"{lineage(str(record.value['id']))}.{secrets.token_hex(4)}"
        await transaction.put_record(Record(OWN, IDENTITY, {"id": name}))


def lineage(identity: str) -> str:
    """What of the identity of a store stays when ways part."""
    return identity.partition(".")[0]


class WholeStore(SealedStore, Protocol):
    """A store that can be copied."""

    copying: Copying
