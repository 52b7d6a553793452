"""Folders in which an installation is restored beside its place: who makes one holds it, so that
one that nobody holds is known to be left by a restore that was killed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path


@contextmanager
def held(draft: Path) -> Iterator[None]:
    """As long as this lasts nobody takes it for left; a disk that knows no locks says so to all."""
    handle = os.open(draft, os.O_RDONLY)
    try:
        with suppress(OSError):
            flock(handle, LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(handle)


def left(place: Path) -> Iterator[Path]:
    """The drafts of this place that nobody holds."""
    name = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}")
    there = place.parent.iterdir() if place.parent.is_dir() else ()
    for each in there:
        is_draft = name.fullmatch(each.name) and each.is_dir() and not each.is_symlink()
        if is_draft and _is_free(each):
            yield each


def _is_free(draft: Path) -> bool:
    handle = os.open(draft, os.O_RDONLY)
    try:
        flock(handle, LOCK_EX | LOCK_NB)
        flock(handle, LOCK_UN)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
