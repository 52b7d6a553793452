"""`medsage migrate`: bring the store to the schema of this version, ahead of its start."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands.ending import FAILED, UNUSABLE, fail
from deploy.commands.operating import noted, opened
from deploy.commands.serve import store_settings
from fhir_server.app import knowledge
from fhir_server.indexing.definitions import Definitions
from fhir_server.migrating import bring_forward, schema_state
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import UnusableKeys
from fhir_server.storage.port import T
from fhir_server.storage.schema import SchemaMismatch, SchemaState, Step

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage migrate --status --data data"


@app.command(epilog=EXAMPLE)
def migrate(
    status: Annotated[
        bool,
        typer.Option("--status", help="Only say how far it is; 1 until all is done."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and to how much.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
) -> None:
    """Bring the store to the schema that this version of MedSAGE has, batch by batch. Killed, it
    goes on where it was; run twice at once, each batch is done once. Starts do the same by
    themselves; done ahead, they don't have to wait. A store of a later version is refused."""
    settings = store_settings(data)
    found = _told(schema_state(settings))
    if found.found is None:
        typer.echo("There is no store yet: the first start makes it.")
        return
    if status or dry_run:
        _show(found)
        if status and not found.is_current:
            raise typer.Exit(FAILED)
        return
    if not found.is_current:
        _told(bring_forward(settings, lambda step: typer.echo(str(step))))
        _told(_note(settings, found))
        found = _told(schema_state(settings))
    _show(found)
    typer.echo(_told(_index(settings)))


def _show(found: SchemaState) -> None:
    if found.is_current:
        newer = " (of a later version, which lets this one use it)"
        typer.echo(f"Schema {found.found}: current{newer if found.found != found.needed else ''}.")
        return
    typer.echo(f"Schema {found.found}; this version's is {found.needed}. To do:")
    for step in found.steps:
        typer.echo(f"  {_line(step)}")


def _line(step: Step) -> str:
    return str(step) if step.total > 1 else f"{step} (at once)"


async def _note(settings: Settings, before: SchemaState) -> None:
    detail = f"schema {before.found} to {before.needed}"
    async with opened(settings) as store:
        await store.note(noted(settings, "migrate", detail))


async def _index(settings: Settings) -> str:
    """The search index has versions of its own, by definition, and is made anew while servers
    run."""
    async with opened(settings) as store:
        definitions = Definitions(store, knowledge(f"{settings.base_url}/fhir").live)
        found = await definitions.behind()
    if found.is_whole:
        return "Search index: whole."
    count = len(found.pending)
    return f"Search index: {count} search parameters wait for a worker, or for medsage reindex."


def _told(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except SchemaMismatch as problem:
        fail(str(problem), UNUSABLE)
    except UnusableKeys as problem:
        fail(f"MEDSAGE_ENCRYPTION_KEY_FILE: {problem}", UNUSABLE)
    except Exception as problem:  # a driver's text may quote the address with its password
        fail(f"the store can't be opened: {type(problem).__name__}")
