"""The schema of the store that the settings name, looked at and brought forward without a server:
ahead of an upgrade, so that no start has to wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_server.settings import Settings
from fhir_server.storage.schema import SchemaState, Show
from fhir_server.storage.sqlite import migrations

if TYPE_CHECKING:
    from fhir_server.storage.mongo.connect import Collections


async def schema_state(settings: Settings) -> SchemaState:
    """What a start would have to do. Nothing is changed or made. SchemaMismatch for a store of a
    later program; the engine's own error when it can't be looked at."""
    if settings.mongodb_uri is None:
        return await asyncio.to_thread(migrations.state_of, _file(settings))
    from fhir_server.storage.mongo.migrations import state

    async with _collections(settings) as collections:
        return await state(collections)


async def bring_forward(settings: Settings, show: Show) -> None:
    """Do it, batch by batch; go on with what was begun. A store that is not there is left for the
    first start to make. Raises as `schema_state` does."""
    if (await schema_state(settings)).found is None:
        return
    if settings.mongodb_uri is None:
        await asyncio.to_thread(migrations.bring_forward, _file(settings), show)
        return
    from fhir_server.storage.mongo.migrations import prepare

    async with _collections(settings) as collections:
        await prepare(collections, show)


def _file(settings: Settings) -> Path:
    return settings.data / "medsage.sqlite"


@asynccontextmanager
async def _collections(settings: Settings) -> "AsyncIterator[Collections]":
    from fhir_server.storage.mongo import connect as mongo

    assert settings.mongodb_uri is not None
    uri = settings.mongodb_uri.get_secret_value()
    client = mongo.connect(mongo.with_authorities(uri, settings.tls_ca_file))
    try:
        yield mongo.collections(client, settings.mongodb_database)
    finally:
        await client.close()
