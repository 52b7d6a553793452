"""A small disk under a folder, so that it can be full: a file with a file system of its own,
mounted there (Linux, as root)."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MEGABYTE = 1 << 20
_BUSY_SECONDS = 30.0


class NoDisk(ValueError):
    """A file system can't be made and mounted here; the text says why."""


@dataclass(frozen=True)
class Disk:
    """A file system of its own under `folder`."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    async def fill(self) -> None:
        """Leave not a byte."""
        await asyncio.to_thread(self._fill)

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def _fill(self) -> None:
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        free = os.statvfs(self.folder)
        size, end = free.f_bavail * free.f_frsize, 0
        try:
            while size:
                try:
                    os.posix_fallocate(handle, end, size)
                    end += size
                except OSError:
                    size //= 2
        finally:
            os.close(handle)


@contextmanager
def mounted(image: Path, folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk of this size under the folder, in the file `image`; unmounted at the end."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        raise NoDisk("the fault full-disk mounts a disk of its own: it takes root and mkfs.ext4")
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as made:
        made.truncate(megabytes * _MEGABYTE)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield Disk(folder)
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """Who has just been killed may hold its files for a moment more."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            _run("umount", str(folder))
        except NoDisk:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(f"{command[0]}: {done.stderr.strip()}")
