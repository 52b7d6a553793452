"""The order in which backups were made. Each has a number, whatever a clock said, but those of an
earlier version of MedSAGE: made before there were numbers, or after somebody went back to it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import takewhile

from fhir_server.backup.manifest import Sealed

Place = tuple[int, bool, datetime, str]


def numbered(backups: Mapping[str, Sealed]) -> dict[str, Place]:
    """The place of each backup, by name. One without a number has that of the newest before it by
    time, but at least what it goes on from has, and less than what goes on from it; of the same
    number it comes later, by time."""
    most = _most(backups)
    by_time = sorted(backups.values(), key=lambda each: each.manifest.cut.moment)
    found: dict[str, int] = {}
    highest = 0
    for each in by_time:
        made = each.manifest
        if made.number:
            found[made.backup] = made.number
            highest = max(highest, made.number)
        else:
            found[made.backup] = min(highest, most.get(made.backup, highest))
    return {each.manifest.backup: _place(each, backups, found) for each in by_time}


def _place(each: Sealed, backups: Mapping[str, Sealed], found: Mapping[str, int]) -> Place:
    made = each.manifest
    number = found[made.backup]
    if not made.number:
        number = max(number, *(found[one.manifest.backup] for one in _before(each, backups)), 0)
    return number, not made.number, made.cut.moment, made.backup


def _most(backups: Mapping[str, Sealed]) -> dict[str, int]:
    """Of those without a number that one with a number goes on from: the highest that it can be."""
    found: dict[str, int] = {}
    for each in backups.values():
        below = each.manifest.number - 1
        if below < 0:
            continue
        for one in takewhile(lambda before: not before.manifest.number, _before(each, backups)):
            name = one.manifest.backup
            found[name] = min(found.get(name, below), below)
    return found


def _before(each: Sealed, backups: Mapping[str, Sealed]) -> Iterator[Sealed]:
    """What it goes on from, as far as that is there, the nearest first."""
    while (parent := each.manifest.parent) is not None and parent.backup in backups:
        each = backups[parent.backup]
        yield each
