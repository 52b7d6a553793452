"""`medsage bench proof-faults`: units are written through a proxy that cuts, delays and refuses;
what was acknowledged is there once, what was not is there whole or not at all.

Options: `writes` to be acknowledged (10000), `seed` (1), `writers` at a time (16), `share` of
the commands that meet a fault (.02).
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from pymongo.errors import PyMongoError

from bench.faults.proxy import proxy
from bench.faults.table import FAULTS, Document
from bench.stores import database
from fhir_server.search.expression import HasTerm, Query
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import (
    Draft,
    Key,
    Record,
    ResourceStore,
    Stored,
    StoreUnavailable,
    Terms,
    Transaction,
    VersionConflict,
)
from fhir_server.system import utc_now

PARTS = 3
"""Resources of a unit."""
WARDS = 97
"""Reservations that units of their own meet at."""
_ALL = 1_000_000


@dataclass
class Written:
    """Numbers of units by what the store said of them."""

    acknowledged: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """`passed` is whether nothing was lost, doubled or half written."""
    if unknown := {*options} - {"writes", "seed", "writers", "share"}:
        raise ValueError(f"not an option of this proof: {unknown}")
    with tempfile.TemporaryDirectory() as folder, database("mongodb", Path(folder)) as uri:
        return asyncio.run(
            proved(
                str(uri),
                writes=int(options.get("writes", "10000")),
                seed=int(options.get("seed", "1")),
                writers=int(options.get("writers", "16")),
                share=float(options.get("share", "0.02")),
            )
        )


async def proved(uri: str, *, writes: int, seed: int, writers: int, share: float) -> dict[str, Any]:
    """Write until so many units are acknowledged, then look, without faults."""
    chance, name = Random(seed), f"medsage_faults_{seed}"

    def choose(_: Document) -> str | None:
        return chance.choice(list(FAULTS)) if chance.random() < share else None

    straight = await MongoStore.open(uri, name, utc_now)
    try:
        async with proxy(uri, lambda _: None) as between:
            store = await MongoStore.open(between.uri, name, utc_now)
            between.choose = choose
            written, numbers = Written(), count()
            await asyncio.gather(*(_write(store, numbers, written, writes) for _ in range(writers)))
            between.choose = lambda _: None
            await store.close()
        return {
            "proof": "faults",
            "seed": seed,
            "acknowledged": len(written.acknowledged),
            "not_acknowledged": dict(written.refused),
            "faults": dict(between.met),
            **await checked(straight, written.acknowledged),
        }
    finally:
        await straight.close()


async def _write(
    store: ResourceStore, numbers: Iterator[int], written: Written, writes: int
) -> None:
    for number in numbers:
        if len(written.acknowledged) >= writes:
            return
        try:
            await store.transaction(partial(_unit, number))
        except (PyMongoError, StoreUnavailable, VersionConflict) as failure:
            written.refused[type(failure).__name__] += 1
        else:
            written.acknowledged.add(number)


async def _unit(number: int, transaction: Transaction) -> None:
    """Resources, a record and an audit record; some units read before they write."""
    await transaction.reserve(f"ward {number % WARDS}")
    for part in range(PARTS):
        key = Key("Patient", f"{number}-{part}")
        if number % 2:
            await transaction.get(key)
        stored = Stored(key, 1, utc_now(), b'{"resourceType":"Patient"}')
        await transaction.put(Draft(stored, Terms((("Patient.name", "x"),))), 0)
    await transaction.put_record(Record("unit", str(number), {}), 0)
    await transaction.journal(b"%d" % number)


async def checked(store: ResourceStore, acknowledged: set[int]) -> dict[str, Any]:
    """`lost`, `doubled` and `half` count units; `passed` when all are 0."""
    recorded = {int(each.id) for each in await store.records("unit", limit=_ALL)}
    audited = Counter(int(each.entry) for each in await store.journal(_ALL))
    page = await store.find(Query("Patient", HasTerm("Patient.name", "x"), limit=_ALL))
    parts = Counter(int(each.key.id.partition("-")[0]) for each in page.matches)
    seen = recorded | set(audited) | set(parts)
    found = {
        "written": len(seen),
        "lost": len(acknowledged - seen),
        "doubled": sum(times > 1 for times in audited.values()),
        "half": sum(
            not (number in recorded and audited[number] and parts[number] == PARTS)
            for number in seen
        ),
    }
    return found | {"passed": not any(found[name] for name in ("lost", "doubled", "half"))}
