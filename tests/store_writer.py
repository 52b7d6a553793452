"""Writes units until it is killed: `python -m tests.store_writer KIND START ADDRESS…`.

Each line on standard output is the number of a unit that the store has acknowledged.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterator

from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Record, ResourceStore, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.stores import SQLITE, draft, keys_of

WRITERS = 4
PARTS = 5


async def opened(kind: str, address: list[str]) -> ResourceStore:
    """The store that the test has opened too."""
    if kind == SQLITE:
        return SqliteStore.open(address[0], masters=keys_of(address[1:]))
    return await MongoStore.open(address[0], address[1], masters=keys_of(address[2:]))


async def write(store: ResourceStore, numbers: Iterator[int]) -> None:
    """Write unit after unit: resources, a record and an audit record each."""
    for number in numbers:

        async def unit(transaction: Transaction, number: int = number) -> None:
            for part in range(PARTS):
                await transaction.put(draft(f"Patient/{number}-{part}", 1, ("name", "x")), 0)
            await transaction.put_record(Record("unit", str(number), {}), 0)
            await transaction.journal(b"%d" % number)

        await store.transaction(unit)
        print(number, flush=True)


async def main(kind: str, start: int, address: list[str]) -> None:
    """Never returns."""
    store = await opened(kind, address)
    numbers = itertools.count(start)
    await asyncio.gather(*(write(store, numbers) for _ in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
