"""A small store in a folder, and the command over it."""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.rights import erasure
from fhir_server.storage.port import Draft, Key, Record, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.stores import put, version


@dataclass(frozen=True)
class Site:
    """A folder with a store in `data`, a key file, and room for backups in `backups`."""

    folder: Path

    @property
    def backups(self) -> Path:
        """Where the backups lie."""
        return self.folder / "backups"

    def run(self, verb: str, *arguments: str, key: str = "key") -> Result:
        """`medsage backup VERB`, with the key file and where it works."""
        where = {"create": "--to", "key": ""}.get(verb, "--from")
        place = [where, str(self.backups)] if where else []
        data = ["--data", str(self.folder / "data")] if verb in ("create", "drill") else []
        asked = ["backup", verb, *data, *place, "--key-file", str(self.folder / key), *arguments]
        return CliRunner().invoke(app, asked)

    def done(self, verb: str, *arguments: str) -> str:
        """What a command said that must not fail."""
        result = self.run(verb, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def restored(self, *arguments: str, name: str = "new") -> Result:
        """A restore into a new folder."""
        return self.run("restore", "--data", str(self.folder / name), *arguments)

    def made(self) -> list[Path]:
        """The folders of the backups, oldest first."""
        return sorted(self.backups.iterdir(), key=_age) if self.backups.exists() else []

    def write(self, *names: str, number: int = 1, size: int = 20) -> None:
        """Write a version of each resource into the store."""
        asyncio.run(self._write(names, number, size))

    def forget(self, name: str) -> None:
        """Erase the earlier versions of a resource."""
        asyncio.run(self._forget(Key(*name.split("/")), _forget))

    def erase(self, name: str) -> None:
        """Erase them as the erasure of a patient does."""
        asyncio.run(self._forget(Key(*name.split("/")), erasure.forget))

    def meddle(self, statement: str) -> None:
        """Change the store's file behind its back."""
        with sqlite3.connect(self.folder / "data/medsage.sqlite") as connection:
            connection.execute(statement)
        connection.close()

    def current(self, inside: str = "new") -> set[str]:
        """The names of the resources of a store."""
        return asyncio.run(_current(self.folder / inside))

    async def _write(self, names: Iterable[str], number: int, size: int) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        store = SqliteStore.open(self.folder / "data/medsage.sqlite")
        await put(store, *(Draft(version(each, number, body=_body(each, size))) for each in names))
        user = Record("user", "amina", {"name": "Amina", "at": number})
        await store.transaction(lambda unit: unit.put_record(user))
        await store.close()

    async def _forget(
        self, key: Key, forget: Callable[[Transaction, Key], Awaitable[None]]
    ) -> None:
        store = SqliteStore.open(self.folder / "data/medsage.sqlite")
        await store.transaction(lambda unit: forget(unit, key))
        await store.close()


async def _forget(transaction: Transaction, key: Key) -> None:
    await transaction.forget(key)


def _age(folder: Path) -> int:
    return (folder / "manifest.json").stat().st_mtime_ns


def _body(name: str, size: int) -> bytes:
    # Letters at random, so that it can't be compressed to nothing.
    text = random.Random(name).randbytes(size).hex()
    return b'{"resourceType":"%s","language":"%s"}' % (name.split("/")[0].encode(), text.encode())


async def _current(folder: Path) -> set[str]:
    store = SqliteStore.open(folder / "medsage.sqlite")
    found = {str(each.key) for each in await store.current(None, 1000)}
    await store.close()
    return found


def site(folder: Path) -> Site:
    """A new site, with a key file."""
    made = Site(folder)
    made.done("key")
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    return made
