"""Reading backups to their end, to see whether they are what was made."""

from collections import Counter
from collections.abc import AsyncIterator, Set

from fhir_server.backup.catalogue import Catalogue, strangers
from fhir_server.backup.manifest import Sealed
from fhir_server.backup.parts import read_rows
from fhir_server.backup.problems import Altered, BackupFailed
from fhir_server.backup.rows import name_of
from fhir_server.backup.target import Target


async def verify(
    target: Target, found: Catalogue
) -> AsyncIterator[tuple[str, BackupFailed | None]]:
    """Each backup by its name, with what is wrong with it (None: nothing); then what could not be
    read at all."""
    bad: set[str] = set()
    for each in found.by_time():
        problem = await _problem(target, found, each, bad)
        if problem is not None:
            bad.add(each.manifest.backup)
        yield each.manifest.backup, problem
    for problem in found.problems:
        yield "", problem


async def _problem(
    target: Target, found: Catalogue, each: Sealed, bad: Set[str]
) -> BackupFailed | None:
    """`bad` are those that were looked at before, as all are that this one goes on from."""
    backup = each.manifest.backup
    try:
        for before in found.chain(each)[:-1]:
            if (name := before.manifest.backup) in bad:
                raise Altered(f"{backup} goes on from {name}, which is not what was made")
        for problem in strangers(found, each):
            raise problem
        counts: Counter[str] = Counter()
        async for rows in read_rows(target, each):
            counts.update(map(name_of, rows))
        if dict(counts) != each.manifest.counts:
            raise Altered(f"{backup} does not hold what its manifest says")
    except BackupFailed as problem:
        return problem
    return None
