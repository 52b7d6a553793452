"""A restored installation: made beside its place, searched through, and only then put there."""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from deploy import drafts
from deploy.commands.operating import noted, opened
from fhir_server.app import knowledge
from fhir_server.backup.catalogue import Moment
from fhir_server.backup.manifest import Sealed
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.restore import Restored, restore
from fhir_server.backup.rows import FileRow
from fhir_server.backup.target import Target, told
from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.reindex import Reindexer
from fhir_server.settings import Settings
from fhir_server.storage.port import ResourceStore, StoreUnavailable


@dataclass(frozen=True)
class Wanted:
    """What to restore: a chain of backups at a target, as it was at the moment."""

    target: Target
    chain: Sequence[Sealed]
    moment: Moment | None = None


async def restored(settings: Settings, wanted: Wanted, folder: Path) -> Restored:
    """Make the folder of a restored installation: its files and the embedded store, or its files
    alone where the settings name MongoDB, whose database must be empty. BackupFailed, and nothing
    is there, when that can't be done; a database is then to be dropped."""
    folder = free(folder)
    async with _draft(folder) as draft:
        inside = settings.model_copy(update={"data": draft})
        done = await filled(inside, wanted)
        try:
            _sync(draft)
            draft.replace(folder)
        except OSError as problem:
            raise BackupFailed(told(problem, folder)) from problem
    return done


def free(folder: Path) -> Path:
    """Where the folder is, all links followed, so that they stay. BackupFailed unless nothing is
    there, or an empty folder that another can take the place of: the root of a disk is none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupFailed(f"{folder} is not empty: a restore overwrites nothing")
    if os.path.ismount(folder):
        raise BackupFailed(f"{folder} is the root of a disk: name a folder inside it")
    return folder.resolve()


async def filled(settings: Settings, wanted: Wanted) -> Restored:
    """Fill the empty store of the settings, and the folder beside it; index what is found in it."""
    try:
        async with opened(settings) as store:
            done = await restore(
                wanted.target,
                wanted.chain,
                store,
                lambda file: _keep(settings.data, file),
                wanted.moment,
            )
            last = wanted.chain[-1].manifest
            with redirect_stdout(sys.stderr):  # where log lines go; a command may write JSON
                await _index(store, f"{last.base_url}/fhir")
            detail = f"from {last.backup}, of {last.cut.moment.isoformat()}"
            await store.note(noted(settings, "restore", detail))
    except StoreUnavailable as problem:
        raise BackupFailed(f"the store can't be written: {problem}") from problem
    except OSError as problem:
        raise BackupFailed(told(problem, settings.data)) from problem
    return done


@asynccontextmanager
async def _draft(folder: Path) -> AsyncIterator[Path]:
    """A folder beside the place; gone afterwards, unless it was moved there. What restores that
    were killed have left of it goes, too: everybody's records lie in it."""
    draft = await asyncio.to_thread(_new_draft, folder)
    try:
        with drafts.held(draft):
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _new_draft(folder: Path) -> Path:
    whole = folder.absolute()
    for left in drafts.left(whole):
        shutil.rmtree(left, ignore_errors=True)
    draft = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True, mode=0o700)
    except OSError as problem:
        raise BackupFailed(told(problem, draft)) from problem
    return draft


async def _index(store: ResourceStore, base_url: str) -> None:
    """Make what the resources are found by; nobody else uses the store."""
    known = knowledge(base_url)
    definitions = Definitions(store, known.live, grace_seconds=0)
    await definitions.refresh()
    reindexer = Reindexer(store, known.live, definitions)
    while not (await definitions.status()).is_whole:
        if not await reindexer.step():
            raise BackupFailed("the search index can't be made")


def _keep(folder: Path, file: FileRow) -> None:
    path = (folder / file.path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BackupFailed(f"{file.path} does not belong into the folder")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(file.content)
    path.chmod(file.mode)


def _sync(folder: Path) -> None:
    """Through to the disk, before anybody relies on it."""
    for path in (folder, *folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
