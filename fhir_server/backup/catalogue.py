"""The backups at a target, and the chains that they form: a full one and what goes on from it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile

from fhir_server.backup.manifest import (
    BEGUN,
    MANIFEST,
    Parent,
    Sealed,
    manifest_name,
    own_parts,
    read,
)
from fhir_server.backup.numbering import numbered
from fhir_server.backup.problems import Altered, BackupFailed
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import Target
from fhir_server.storage.snapshot import Version


@dataclass(frozen=True)
class Catalogue:
    """What lies at a target: backups that are believed, by name; what is wrong with others; the
    names of those that are being made or were interrupted; all names, by backup."""

    backups: Mapping[str, Sealed]
    problems: Sequence[BackupFailed]
    unfinished: Sequence[str]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def by_time(self, store: str | None = None) -> list[Sealed]:
        """The backups, of one store or of all, oldest first: in the order in which they were made,
        also where the clock was put back meanwhile."""
        found = [each for each in self.backups.values() if store in (None, each.manifest.store)]
        places = numbered(self.backups)
        return sorted(found, key=lambda each: places[each.manifest.backup])

    @property
    def next_number(self) -> int:
        """The number of a backup that is made now."""
        return 1 + max((each.manifest.number for each in self.backups.values()), default=0)

    def newest(self) -> Sealed:
        """The last backup; BackupFailed when there is none, or when one of what lies there can't be
        believed: it may be the newest."""
        if self.problems:
            raise self.problems[0]
        if not self.backups:
            raise BackupFailed("there is no backup")
        return self.by_time()[-1]

    def last_whole(self, store: str) -> Sequence[Sealed]:
        """The newest backup of the store of whose chain nothing is missing, no part either, and all
        that it goes on from, the full one first; empty when there is none."""
        for each in reversed(self.by_time(store)):
            with suppress(BackupFailed):
                chain = self.chain(each)
                if all(map(self._has_parts, chain)):
                    return chain
        return ()

    def _has_parts(self, each: Sealed) -> bool:
        return set(own_parts(each.manifest)) <= set(self.names[each.manifest.backup])

    def chain(self, last: Sealed) -> list[Sealed]:
        """The backup and all that it goes on from, the full one first; Altered when one is missing
        or is another."""
        found = [last]
        while (parent := found[-1].manifest.parent) is not None:
            found.append(self._known(parent, found[-1]))
        return found[::-1]

    def _known(self, parent: Parent, of: Sealed) -> Sealed:
        before = self.backups.get(parent.backup)
        if before is None:
            raise Altered(f"{of.manifest.backup} goes on from {parent.backup}, which is missing")
        if before.parent != parent:
            raise Altered(f"{parent.backup} is not what {of.manifest.backup} goes on from")
        return before


async def catalogue(target: Target, keys: SealKeys) -> Catalogue:
    """Read every manifest."""
    names: dict[str, list[str]] = {}
    for each in await target.names():
        backup, _, name = each.partition("/")
        names.setdefault(backup, []).append(name)
    backups: dict[str, Sealed] = {}
    problems: list[BackupFailed] = []
    unfinished: list[str] = []
    for backup, there in names.items():
        if MANIFEST not in there:
            if BEGUN in there:
                unfinished.append(backup)
            else:
                problems.append(Altered(f"{manifest_name(backup)} is missing"))
            continue
        try:
            backups[backup] = read(backup, await target.get(manifest_name(backup)), keys)
        except BackupFailed as problem:
            problems.append(problem)
    return Catalogue(backups, problems, unfinished, names)


def strangers(found: Catalogue, each: Sealed) -> Iterator[Altered]:
    """What lies beside the parts of a backup and is none of them."""
    backup = each.manifest.backup
    own = {MANIFEST, BEGUN, *own_parts(each.manifest)}
    for name in found.names.get(backup, ()):
        if name not in own:
            yield Altered(f"{backup}/{name} is no part of it")


@dataclass(frozen=True)
class Moment:
    """A moment to go back to: a place in the feed, or a time."""

    place: int | None = None
    time: datetime | None = None

    def is_before(self, version: Version) -> bool:
        """Whether the version came later."""
        if self.place is not None:
            return version.place > self.place
        return self.time is not None and version.stored.updated > self.time

    def is_in(self, backup: Sealed) -> bool:
        """Whether the backup was made at the moment or later."""
        cut = backup.manifest.cut
        if self.place is not None:
            return cut.place >= self.place
        return self.time is None or cut.moment >= self.time


def chosen(found: Catalogue, backup: str | None, moment: Moment | None) -> Sealed:
    """The backup to restore: the one that is named, or the newest; of its store the first one that
    has the moment, and behind which none has not. BackupFailed when there is none."""
    if backup is None:
        last = found.newest()
    elif backup in found.backups:
        last = found.backups[backup]
    else:
        raise BackupFailed(f"there is no backup {backup} that can be believed")
    if moment is None:
        return last
    if not moment.is_in(last):
        which = "the newest backup" if backup is None else backup
        raise BackupFailed(f"{which} is of {last.manifest.cut.moment.isoformat()}: too old")
    if backup is not None:
        return last
    newest_first = found.by_time(last.manifest.store)[::-1]
    return list(takewhile(moment.is_in, newest_first))[-1]
