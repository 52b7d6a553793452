"""`medsage reindex`: what resources are found by, made anew in the store directly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from deploy.commands.operating import opened
from deploy.commands.serve import store_settings
from fhir_server.app import defined, knowledge
from fhir_server.indexing.definitions import Definitions, Status
from fhir_server.indexing.reindex import Reindexer
from fhir_server.indexing.state import forget
from fhir_server.settings import Settings
from fhir_server.storage.port import ResourceStore, VersionConflict

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage reindex --data data"
_REST_SECONDS = 0.5


@app.command(epilog=EXAMPLE)
def reindex(
    status: Annotated[
        bool, typer.Option("--status", help="Only say how far the indexing has come.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
) -> None:
    """Index everything anew; goes on where it was if that is under way already. Servers may run:
    they answer searches 503 until it is done."""
    settings = store_settings(data)
    found = asyncio.run(_status(settings) if status else _reindex(settings))
    if found.is_whole:
        typer.echo("The search index is whole.")
        return
    typer.echo(f"{found.percent} % done; {len(found.pending)} search parameters wait for it.")


async def _status(settings: Settings) -> Status:
    async with _opened(settings) as (_, definitions, _):
        return await definitions.status()


async def _reindex(settings: Settings) -> Status:
    async with _opened(settings) as (store, definitions, reindexer):
        if (await definitions.status()).is_whole:
            await store.transaction(forget)
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("index", total=100)
            await _work(definitions, reindexer, lambda done: bar.update(task, completed=done))
        return await definitions.status()


async def _work(
    definitions: Definitions, reindexer: Reindexer, show: Callable[[int], object]
) -> None:
    """Do batches until the index is whole, sharing them with whoever else does."""
    while not (found := await definitions.status()).is_whole:
        show(found.percent)
        try:
            has_more = await reindexer.step()
        except VersionConflict:
            has_more = True  # another process did this batch
        if not has_more:
            await asyncio.sleep(_REST_SECONDS)
    show(100)


@asynccontextmanager
async def _opened(
    settings: Settings,
) -> AsyncIterator[tuple[ResourceStore, Definitions, Reindexer]]:
    async with opened(settings) as store:
        known = knowledge(f"{settings.base_url}/fhir")
        definitions = await defined(store, known)
        yield store, definitions, Reindexer(store, known.live, definitions)
