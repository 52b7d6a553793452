"""What the benchmarks' servers stand on: their store, and a token to speak to them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.running import Running
from deploy import dev_mongodb
from deploy.demo.loading import demo_tokens

NAMED = "MEDSAGE_TEST_MONGODB_URI"


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str | None]:
    """The URI of a MongoDB: the one that the environment names, or one of its own; None for
    the embedded store."""
    named = os.environ.get(NAMED)
    if kind == "sqlite" or named:
        yield named if kind == "mongodb" else None
        return
    with dev_mongodb.running(dev_mongodb.find(os.environ), folder / "mongodb") as (uri, _):
        yield uri


def environment(uri: str | None, name: str) -> dict[str, str]:
    """The settings of a server on the database `name`; none for the embedded store."""
    if uri is None:
        return {}
    return {"MEDSAGE_MONGODB_URI": uri, "MEDSAGE_MONGODB_DATABASE": name}


async def token(server: Running, scopes: str) -> str:
    """A bearer token of the demonstration's own service client."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        found = await demo_tokens(http, server.origin, scopes).token()
    if found is None:
        raise ValueError("the server gave no token")
    return found
