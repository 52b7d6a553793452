"""MongoDB is killed and comes back: requests are refused quickly, what was acknowledged is there,
and everything goes on by itself."""

import asyncio
import os
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from deploy.dev_mongodb import find, running
from fhir_server.storage.mongo import connect
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Key, StoreUnavailable
from tests.availability import mongodb_uri
from tests.fhir_world import PATIENT, fhir_world, issues
from tests.nginx_door import free_port

pytestmark = pytest.mark.mongodb


async def test_a_killed_mongodb_loses_nothing_and_everything_goes_on_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mongodb_uri() is not None:
        pytest.skip("kills a server of its own")
    monkeypatch.setattr(connect, "SELECTION_MILLISECONDS", 400)
    program, port = find(os.environ), free_port()
    acknowledged: list[str] = []
    seen: set[str] = set()

    async def follow(store: MongoStore) -> None:
        async for change in store.changes(None):
            seen.add(change.stored.key.id)

    async with AsyncExitStack() as stack:
        with running(program, tmp_path / "files", port) as (uri, server):
            store = await MongoStore.open(uri, "medsage")
            stack.push_async_callback(store.close)
            world = await stack.enter_async_context(fhir_world(tmp_path, store=store))
            following = asyncio.create_task(follow(store))
            acknowledged += [await world.create(PATIENT) for _ in range(3)]
            server.kill()
            server.wait()
            for response in (await world.get("/Patient/x"), await world.post("/Patient", PATIENT)):
                assert (response.status_code, response.headers["retry-after"]) == (503, "5")
                assert issues(response)[0]["code"] == "transient"
            began = time.monotonic()
            many = await asyncio.gather(*(world.get("/Patient/x") for _ in range(20)))
            assert {each.status_code for each in many} == {503}
            assert time.monotonic() - began < 8, "one of them waits for the server, not each"
            with pytest.raises(StoreUnavailable):
                await store.check()
        with running(program, tmp_path / "files", port):
            await eventually(store)
            acknowledged.append(await world.create(PATIENT))
            found = [await store.get(Key("Patient", id)) for id in acknowledged]
            assert all(each is not None for each in found)
            async with asyncio.timeout(60):
                while not seen >= set(acknowledged):
                    await asyncio.sleep(0.1)
        following.cancel()
        await asyncio.wait([following])


async def eventually(store: MongoStore) -> None:
    """Return once the store works again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                await store.check()
                return
            await asyncio.sleep(0.1)
