"""Writes to a SQLite store whose file can't take it: `python -m tests.store_misfortune KIND FILE`.

KIND is `full` (the file may not grow beyond a limit, which is lifted later) or `read-only`.
Prints one JSON line: how often which exception came, what was acknowledged, and whether the
store was usable again without being opened anew.
"""

import asyncio
import json
import os
import resource
import sys
from collections import Counter
from pathlib import Path

from fhir_server.storage.port import ResourceStore, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.stores import draft

UNITS = 60
LARGE = "x" * 20_000
LIMIT = 600_000
NOBODY = 65534


async def write(store: ResourceStore, number: int) -> str | None:
    """The name of what was raised; None once the unit was acknowledged."""

    async def unit(transaction: Transaction) -> None:
        for part in "ab":
            await transaction.put(draft(f"Patient/{number}-{part}", 1, ("name", LARGE)), 0)
        await transaction.journal(b"%d" % number)

    try:
        await store.transaction(unit)
    except Exception as failure:
        return type(failure).__name__
    return None


async def full(path: Path) -> dict[str, object]:
    """Writes until nothing more fits and on, then with room again."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = SqliteStore.open(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    outcomes = [await write(store, number) for number in range(UNITS)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = await write(store, UNITS)
    await store.close()
    acknowledged = [number for number, each in enumerate(outcomes) if each is None]
    raised = Counter(each for each in outcomes if each)
    return {"raised": raised, "acknowledged": acknowledged, "again": again}


async def read_only(path: Path) -> dict[str, object]:
    """Writes to a file that was made, closed and may only be read now."""
    store = SqliteStore.open(path)
    first = await write(store, 0)
    await store.close()
    os.chmod(path, 0o444)
    os.chmod(path.parent, 0o555)
    if os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
    try:
        store = SqliteStore.open(path)
    except Exception as failure:
        return {"first": first, "raised": type(failure).__name__}
    raised = await write(store, 1)
    await store.close()
    return {"first": first, "raised": raised}


if __name__ == "__main__":
    misfortunes = {"full": full, "read-only": read_only}
    print(json.dumps(asyncio.run(misfortunes[sys.argv[1]](Path(sys.argv[2])))))
