"""A chain of backups, written into an empty store.

All versions come from the whole chain; everything else is of its last backup, but for the blocks
of the audit trail, which are only ever added. Who goes back to a moment gets the resources as they
were then; the audit trail stays as the last backup has it, because what happened is not undone, and
so do users, clients and keys, so that nobody who was shut out since gets in again.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.audit.sealer import BLOCKS
from fhir_server.backup.catalogue import Moment
from fhir_server.backup.manifest import Sealed
from fhir_server.backup.parts import read_rows
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.rows import FileRow, JournalRow, RecordRow, Row, VersionRow
from fhir_server.backup.target import Target
from fhir_server.interactions.commits import COMMIT
from fhir_server.interactions.repeats import ANSWER
from fhir_server.rest.jobs import JOB, OPEN, PIECE, WORK
from fhir_server.storage.port import Record
from fhir_server.storage.snapshot import Cut, Loading, Version, WholeStore
from fhir_server.subscriptions.notify import FOLLOWER, POSITION
from fhir_server.subscriptions.state import DELIVERY

ADDED_ONLY = frozenset({BLOCKS})
"""Kinds whose records never change, so that each backup holds its own alone."""
OF_THE_FUTURE = frozenset({COMMIT, ANSWER, JOB, OPEN, PIECE, WORK, DELIVERY})
"""Kinds that tell of requests which, at an earlier moment, nobody has made yet."""
KEPT_TYPES = frozenset({"AuditEvent"})


@dataclass(frozen=True)
class Restored:
    """What is in the store now, counted; versions that several backups hold count each time."""

    cut: Cut
    counts: Mapping[str, int]


async def restore(
    target: Target,
    chain: Sequence[Sealed],
    store: WholeStore,
    keep_file: Callable[[FileRow], None],
    moment: Moment | None = None,
) -> Restored:
    """Fill the store, which must be empty, with the chain; files are given to `keep_file`. Altered
    as soon as something is met that is not what was made, StoreUnavailable for a full disk: then
    the store is to be thrown away."""
    if not await store.copying.is_empty():
        raise BackupFailed("the store is not empty")
    last = chain[-1].manifest
    counts: Counter[str] = Counter()
    async with store.copying.loading(last.engine) as loading:
        sorting = _Sorting(loading, keep_file, moment or Moment(), counts)
        for each in chain:
            async for rows in read_rows(target, each):
                await sorting.take(rows, is_last=each is chain[-1])
        position = await loading.finish(last.cut)
        if last.engine != store.copying.engine and sorting.has_position:
            # Positions of the other engine say nothing here.
            await loading.records([Record(POSITION, FOLLOWER, {"after": position})])
    return Restored(last.cut, dict(counts))


@dataclass
class _Sorting:
    """Puts rows to where they belong."""

    loading: Loading
    keep_file: Callable[[FileRow], None]
    moment: Moment
    counts: Counter[str]
    has_position: bool = False

    async def take(self, rows: Sequence[Row], *, is_last: bool) -> None:
        """Load what of these rows is wanted."""
        versions = [each.version_of() for each in rows if isinstance(each, VersionRow)]
        versions = [each for each in versions if self._is_wanted(each)]
        records = [each.record_of() for each in rows if isinstance(each, RecordRow)]
        records = [each for each in records if self._is_of_now(each, is_last)]
        self.has_position |= any(each.kind == POSITION for each in records)
        await self.loading.versions(versions)
        await self.loading.records(records)
        self.counts["versions"] += len(versions)
        self.counts["records"] += len(records)
        if is_last:
            entries = [each.entry for each in rows if isinstance(each, JournalRow)]
            await self.loading.journal(entries)
            self.counts["journal"] += len(entries)
            for each in rows:
                if isinstance(each, FileRow):
                    self.keep_file(each)

    def _is_wanted(self, version: Version) -> bool:
        return version.stored.key.type in KEPT_TYPES or not self.moment.is_before(version)

    def _is_of_now(self, record: Record, is_last: bool) -> bool:
        if record.kind in OF_THE_FUTURE and self.moment != Moment():
            return False
        return is_last or record.kind in ADDED_ONLY
