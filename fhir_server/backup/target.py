"""Where backups lie: a small port over named contents, and the folder that implements it."""

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from fhir_server.backup.problems import TargetFailed

T = TypeVar("T")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Target(Protocol):
    """Contents by name (`BACKUP/part-000000`). TargetFailed when it can't be reached or is full."""

    async def put(self, name: str, content: bytes) -> None:
        """Write the content whole or not at all; it is durable when this returns."""

    async def get(self, name: str) -> bytes:
        """The content; KeyError when there is none of the name."""

    async def names(self, start: str = "") -> list[str]:
        """The names that begin so, in order."""

    async def delete(self, name: str) -> None:
        """Take the content away; nothing happens when there is none."""

    async def close(self) -> None:
        """Let go of connections."""


class FolderTarget:
    """Backups as folders of files. Files are written beside their name and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, content: bytes) -> None:
        """Written through to the disk, its folder too."""
        await self._in_thread(self._put, name, content)

    async def get(self, name: str) -> bytes:
        """Read whole."""
        found = await self._in_thread(self._get, name)
        if found is None:
            raise KeyError(name)
        return found

    async def names(self, start: str = "") -> list[str]:
        """What is being written at this moment is left out."""
        return await self._in_thread(self._names, start)

    async def delete(self, name: str) -> None:
        """The folder goes with its last file."""
        await self._in_thread(self._delete, name)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _in_thread(self, work: Callable[..., T], name: str, *others: bytes) -> T:
        working = asyncio.ensure_future(asyncio.to_thread(work, name, *others))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # What comes next, as taking away what was written, must not be overtaken by it.
            with suppress(OSError):
                await working
            raise
        except OSError as problem:
            raise TargetFailed(told(problem, self._folder / name)) from problem

    def _put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def _get(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _names(self, start: str) -> list[str]:
        if not self._folder.is_dir():
            return []
        found = (
            each.relative_to(self._folder).as_posix()
            for each in self._folder.glob("*/*")
            if each.is_file() and not each.name.startswith(".")
        )
        return sorted(each for each in found if each.startswith(start))

    def _delete(self, name: str) -> None:
        path = self._folder / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds other files
            path.parent.rmdir()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def told(problem: OSError, place: Path) -> str:
    """What a file system refused, for the operator."""
    if problem.errno in _FULL:
        return f"no room is left for {place}"
    return f"{place}: {problem.strerror}"
