"""Room that is kept back on a shape's disk, and given up when the disk is full: the store and Redis
write on while somebody makes room. MongoDB ends itself on a disk without any."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

NAME = "reserve"
_LARGEST_BYTES = 256 * 1024 * 1024
_SHARE = 16
_LOW_SHARE = 4
_PLENTY = 3
LOOK_SECONDS = 0.05
"""A store's engine gives up with the first page that it can't write: seconds would be too late."""
GIVEN_UP = "the disk is full: the room that was kept back is given up; make room now"


@dataclass(frozen=True)
class Reserve:
    """A file in `folder`: a sixteenth of its disk, at most 256 MiB."""

    folder: Path

    @property
    def file(self) -> Path:
        """What takes the room, while it is kept back."""
        return self.folder / NAME

    def look(self) -> bool:
        """Give the room up when less than a quarter of it is free beside it; keep it back, again
        too, when three times as much is. Whether it was given up; OSError when neither can be."""
        disk = shutil.disk_usage(self.folder)
        size = min(_LARGEST_BYTES, disk.total // _SHARE)
        if self.file.exists():
            if disk.free >= size // _LOW_SHARE:
                return False
            self.file.unlink(missing_ok=True)
            return True
        if disk.free > size * _PLENTY:
            self._keep(size)
        return False

    def _keep(self, size: int) -> None:
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            self.file.unlink()
            raise
        finally:
            os.close(handle)


@contextmanager
def watched(folder: Path, told: Callable[[str], None]) -> Iterator[None]:
    """Look again and again, in a thread, as long as this lasts; `told` hears when the room is given
    up, and once when it can't be kept back."""
    ended = Event()
    thread = Thread(target=_watch, args=(Reserve(folder), told, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(reserve: Reserve, told: Callable[[str], None], ended: Event) -> None:
    failed = ""
    while not ended.wait(LOOK_SECONDS):
        try:
            if reserve.look():
                told(GIVEN_UP)
            failed = ""
        except OSError as problem:
            if str(problem) != failed:
                told(f"no room is kept back: {problem}")
            failed = str(problem)
