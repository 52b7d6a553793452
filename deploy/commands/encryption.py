"""`medsage encryption`: the keys that what a store holds is encrypted with."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from deploy.commands.ending import UNUSABLE, fail
from deploy.commands.operating import opened
from deploy.commands.serve import store_settings
from fhir_server.storage import rotation
from fhir_server.storage.master_keys import UnusableKeys, master_keys, new_master_key
from fhir_server.storage.port import StoreUnavailable, VersionConflict
from fhir_server.storage.ring import Ring
from fhir_server.storage.rotation import Rotation, SealedStore
from fhir_server.storage.vault import PLAIN, REFRESH_SECONDS
from fhir_server.system import utc_now

app = typer.Typer(help="Encryption of what the store holds.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]


@app.command("new-master", epilog="Example: medsage encryption new-master keys/master")
def new_master(
    file: Annotated[Path, typer.Argument(help="The key file; a new key is put on top of it.")],
) -> None:
    """Make a master key. Keep a copy of the file apart from the store and its backups: without
    it nothing can be read."""
    line = new_master_key()
    draft = file.with_name(f".{file.name}.new")
    try:
        older = file.read_text("utf-8") if file.exists() else ""
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as written:
            written.write(f"{line}\n{older}")
        draft.replace(file)
    except OSError as problem:
        fail(f"{file}: {problem}")
    typer.echo(f"made master key {master_keys([line]).current} in {file}")


@app.command("status", epilog="Example: medsage encryption status")
def status(data: Data = None) -> None:
    """Say which keys there are, how much lies under each, and how far a rotation is."""
    _run(data, _status)


@app.command("rotate", epilog="Example: medsage encryption rotate")
def rotate(
    data: Data = None,
    same_key: Annotated[
        bool, typer.Option("--same-key", help="Only seal what the active key does not seal yet.")
    ] = False,
    take_plain: Annotated[
        bool, typer.Option("--take-plain", help="Believe what is not sealed, as after a restore.")
    ] = False,
) -> None:
    """Make a new data key and seal everything anew under it; goes on where it was if that is under
    way already. Servers may run: they read on, and write under the new key within seconds."""

    async def work(store: SealedStore) -> None:
        if take_plain:
            await rotation.change_ring(store, lambda ring: replace(ring, takes_plain=True))
        if await rotation.under_way(store) is None:
            await _begin(store, with_new_key=not same_key)
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("seal", total=100)
            last = await _walk(store, lambda done: bar.update(task, completed=done))
        for name in last.unreadable:
            typer.echo(f"left as it is: {name.replace(chr(31), ' ')}")
        typer.echo(f"{last.done} sealed under data key {last.key}")

    _run(data, work)


@app.command("rewrap", epilog="Example: medsage encryption rewrap")
def rewrap(data: Data = None) -> None:
    """Wrap the data keys with the first master key of the file; nothing else is written."""

    async def work(store: SealedStore) -> None:
        await rotation.change_ring(store, lambda ring: ring)
        typer.echo("The data keys are wrapped by the first master key of the file.")

    _run(data, work)


async def _begin(store: SealedStore, *, with_new_key: bool) -> None:
    if with_new_key:
        await rotation.change_ring(store, lambda ring: ring.with_new_key(utc_now()))
        # So that what running servers write meanwhile need not be met again.
        await asyncio.sleep(REFRESH_SECONDS)
    await rotation.begin(store)


async def _walk(store: SealedStore, show: Callable[[float], object]) -> Rotation:
    """Turn after turn, until nothing is left."""
    last = await rotation.under_way(store)
    while last is not None:
        now = last
        while now.place is not None:
            show(min(99.0, 100.0 * now.done / max(now.total, 1)))
            try:
                now = await rotation.step(store)
            except VersionConflict:
                continue  # another process did this batch
        last = await rotation.finish(store)
    show(100)
    return now


async def _status(store: SealedStore) -> None:
    ring = store.sealing.vault.ring
    census = await store.sealing.census()
    if ring is None or store.sealing.vault.masters is None:
        typer.echo(f"The store is not encrypted; {sum(census.values())} contents lie in the clear.")
        return
    for line in _keys(ring, census):
        typer.echo(line)
    going_on = await rotation.under_way(store)
    if going_on is not None:
        typer.echo(
            f"A rotation to data key {going_on.key} is under way: {going_on.done} of about "
            f"{going_on.total}, turn {going_on.turn}. `medsage encryption rotate` goes on with it."
        )


def _keys(ring: Ring, census: Mapping[int, int]) -> list[str]:
    lines = []
    for number, key in sorted(ring.keys.items()):
        is_active = " (active)" if number == ring.active else ""
        count = census.get(number, 0)
        lines.append(f"data key {number} of {key.made:%Y-%m-%d}{is_active}: {count} contents")
    believed = "believed" if ring.takes_plain else "not believed"
    lines.append(f"not sealed: {census.get(PLAIN, 0)} contents, {believed}")
    return lines


def _run(data: Path | None, work: Callable[[SealedStore], Awaitable[None]]) -> None:
    settings = store_settings(data)

    async def run() -> None:
        async with opened(settings) as store:
            await work(store)

    try:
        asyncio.run(run())
    except UnusableKeys as problem:
        fail(f"MEDSAGE_ENCRYPTION_KEY_FILE: {problem}", UNUSABLE)
    except StoreUnavailable as problem:
        fail(f"{problem}; run the same command again")
    except LookupError:
        fail("the store is not encrypted: set MEDSAGE_ENCRYPTION_KEY_FILE", UNUSABLE)
