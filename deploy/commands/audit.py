"""`medsage audit`: the trail and its public key, for somebody who verifies them elsewhere."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import orjson
import typer

from deploy.commands.ending import fail
from deploy.commands.operating import noted, opened
from deploy.commands.serve import store_settings
from fhir_server.app import defined, knowledge
from fhir_server.audit.export import export as lines_of
from fhir_server.audit.sealer import Sealer, signer_of
from fhir_server.rights.quotes import Trail
from fhir_server.settings import Settings
from fhir_server.storage.port import StoreUnavailable
from fhir_server.storage.rotation import SealedStore
from fhir_server.system import utc_now

app = typer.Typer(help="The audit trail, for who verifies it elsewhere.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
Target = Annotated[Path, typer.Option(help="File to write; it must not exist. - is the output.")]
_STANDARD_OUTPUT = Path("-")


@app.command("export", epilog="Example: medsage audit export --to trail.ndjson")
def export(
    to: Target,
    first: Annotated[int, typer.Option(min=1, help="Number of the block to begin with.")] = 1,
    data: Data = None,
) -> None:
    """Write all that was audited until now, in signed blocks, as NDJSON. Keep the head and the key
    that are printed apart from this machine: with them the next verification shows more."""

    async def work(settings: Settings, store: SealedStore) -> str:
        signer = await signer_of(store)
        with _new_file(to) as file:
            # Who hands the trail over is in it; without a server nobody else seals what waits.
            await store.note(noted(settings, "hand-over", f"audit trail from block {first} on"))
            known = knowledge(f"{settings.base_url}/fhir")
            await defined(store, known)
            sealer = Sealer(store, known.extract, signer, utc_now)
            await Trail(store, known.extract, utc_now, sealer).seal_all()
            blocks, events, head = await _written(lines_of(store, signer, utc_now, first), file)
        return f"{to}: {events} events in {blocks} blocks\nhead {head}\nkey {signer.key_id}"

    typer.echo(_run(data, work), err=to == _STANDARD_OUTPUT)


@app.command("key", epilog="Example: medsage audit key --to audit-key.json")
def key(
    to: Target,
    data: Data = None,
) -> None:
    """Write the public key that the trail is signed with, as a JWK, and print its thumbprint."""

    async def work(_: Settings, store: SealedStore) -> str:
        signer = await signer_of(store)
        with _new_file(to) as file:
            file.write(orjson.dumps(signer.public_jwk) + b"\n")
        return f"{to}: key {signer.key_id}"

    typer.echo(_run(data, work), err=to == _STANDARD_OUTPUT)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """For its owner alone: who did what is nobody else's to read. OSError when it is there; what
    was not written to its end is not left."""
    if path == _STANDARD_OUTPUT:
        yield sys.stdout.buffer
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _written(lines: AsyncIterator[bytes], file: BinaryIO) -> tuple[int, int, str]:
    """How many blocks and events the lines are, and the head in the last one."""
    blocks, events, head = 0, 0, "none"
    async for line in lines:
        file.write(line)
        match orjson.loads(line):
            case {"block": _}:
                blocks += 1
            case {"head": {"number": number, "hash": digest}}:
                head = f"{number}:{digest}"
            case {"resourceType": _}:
                events += 1
    return blocks, events, head


def _run(data: Path | None, work: Callable[[Settings, SealedStore], Awaitable[str]]) -> str:
    settings = store_settings(data)

    async def on_the_store() -> str:
        async with opened(settings) as store:
            return await work(settings, store)

    try:
        return asyncio.run(on_the_store())
    except (StoreUnavailable, OSError) as problem:
        fail(str(problem))
