"""`medsage bench proof-guard`: what is hidden answers as what does not exist, on every route,
for as many random wards, callers and requests as asked for."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient

from bench.guard.prove import Proof, Proving, summed
from bench.guard.server import Meaning, meaning
from deploy import dev_mongodb
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import ResourceStore
from fhir_server.storage.sqlite.store import SqliteStore

TRIPLES = 200_000
ON_MONGODB = 0.1
"""Share of the triples that are asked of MongoDB, where each takes longer."""


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """`count` triples from the seed `seed`; `store` both (default), sqlite or mongodb;
    `folder` for the stores' files."""
    unknown = {*options} - {"count", "seed", "store", "folder"}
    wanted = options.get("store", "both")
    if unknown or wanted not in {"both", "sqlite", "mongodb"}:
        raise ValueError(f"not an option of this proof: {unknown or wanted}")
    count, seed = int(options.get("count", TRIPLES)), int(options.get("seed", "0"))
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder, ExitStack() as stack:
        uri = os.environ.get("MEDSAGE_TEST_MONGODB_URI")
        if wanted != "sqlite" and not uri:
            server = dev_mongodb.running(dev_mongodb.find(os.environ), Path(folder) / "mongodb")
            uri, _ = stack.enter_context(server)
        shares = {"sqlite": 1 - ON_MONGODB, "mongodb": ON_MONGODB}
        counts = {
            name: round(count * (share if wanted == "both" else 1))
            for name, share in shares.items()
            if wanted in ("both", name)
        }
        proofs = asyncio.run(_all(Path(folder), uri, counts, seed))
    found = summed(proofs)
    return {"bench": "proof-guard", "seed": seed, **found, "passed": not found["differences"]}


async def _all(
    folder: Path, uri: str | None, counts: Mapping[str, int], seed: int
) -> dict[str, Proof]:
    known = meaning()
    found: dict[str, Proof] = {}
    for name, count in counts.items():
        place = folder if name == "sqlite" else None
        found[name] = await proved(known, place, uri, count=count, seed=seed)
        seed += found[name].wards
    return found


async def proved(
    known: Meaning, folder: Path | None, uri: str | None, *, count: int, seed: int
) -> Proof:
    """The proof on embedded stores in the folder, or without one on MongoDB at the URI; ward n is
    made from `seed` + n."""
    databases = [f"medsage_guard_{uuid.uuid4().hex}" for _ in range(2)]
    stores: list[ResourceStore] = []
    if folder is not None:
        stores = [SqliteStore.open(folder / f"{name}.sqlite") for name in databases]
    elif uri is not None:
        stores = [await MongoStore.open(uri, name) for name in databases]
    full, lacking = stores
    proving = Proving("sqlite" if folder is not None else "mongodb", full, lacking, known)
    try:
        await proving.open()
        while proving.proof.triples < count:
            await proving.ward(seed + proving.proof.wards)
        return proving.proof
    finally:
        for store in stores:
            await store.close()
        if folder is None and uri is not None:
            async with AsyncMongoClient[dict[str, Any]](uri) as client:
                for name in databases:
                    await client.drop_database(name)
