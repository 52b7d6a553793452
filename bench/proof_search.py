"""`medsage bench proof-search`: as many random searches as asked for, on both stores."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient

from bench.agreement import Proof, prove
from deploy import dev_mongodb
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import ResourceStore
from fhir_server.storage.sqlite.store import SqliteStore


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """`medsage bench proof-search`: `count` searches from the seed `seed`; `store` both
    (default: the embedded store and MongoDB), or sqlite."""
    unknown = {*options} - {"count", "seed", "store"}
    wanted = options.get("store", "both")
    if unknown or wanted not in {"both", "sqlite"}:
        raise ValueError(f"not an option of this proof: {unknown or wanted}")
    count, start = int(options.get("count", "1000")), int(options.get("seed", "0"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        uri = os.environ.get("MEDSAGE_TEST_MONGODB_URI")
        if wanted == "both" and not uri:
            server = dev_mongodb.running(dev_mongodb.find(os.environ), Path(folder) / "mongodb")
            uri, _ = stack.enter_context(server)
        asked = uri if wanted == "both" else None
        proof = asyncio.run(proved(Path(folder), asked, count=count, start=start))
    return {"bench": "proof-search", **asdict(proof)}


async def proved(folder: Path | None, uri: str | None, *, count: int, start: int) -> Proof:
    """The proof on an embedded store in the folder, on MongoDB at the URI, on both, or on
    neither: then the evaluator and the oracle alone are compared."""
    database = f"medsage_proof_{uuid.uuid4().hex}"
    stores: dict[str, ResourceStore] = {}
    if folder is not None:
        stores["sqlite"] = SqliteStore.open(folder / "proof.sqlite")
    if uri is not None:
        stores["mongodb"] = await MongoStore.open(uri, database)
    try:
        return await prove(stores, count=count, start=start)
    finally:
        for store in stores.values():
            await store.close()
        if uri is not None:
            async with AsyncMongoClient[dict[str, Any]](uri) as client:
                await client.drop_database(database)
