"""What the store knows of its own index: records beside the resources.

| kind | id | what |
|---|---|---|
| `search-index` | `mark` | changes when a SearchParameter is written, and when a job ends |
| `search-index` | `job` | the indexing that is under way, and how far it has come |
| `search-index-whole` | `fingerprint` | the hashes of the definitions whose terms are all there |
"""

from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any

from fhir_server.storage.port import Record, ResourceStore, Transaction

INDEX, WHOLE = "search-index", "search-index-whole"
MARK, JOB, FINGERPRINT = "mark", "job", "fingerprint"

MOST_SHOWN = 99
"""A job that is not at its end is never said to be 100 % done."""

LAST_SECONDS = 90.0
"""How long after the job began the last stage comes: no unit that was open then is open still
(they end by 60 seconds)."""


class Stage(IntEnum):
    """FIRST goes through all resources in the order of their keys; SECOND through those that were
    written since shortly before the job began, by a process that noticed late. With it the index
    is whole. LAST does the same once more, when no unit is open any more that could bring terms
    of an older registry."""

    FIRST = 1
    SECOND = 2
    LAST = 3


@dataclass(frozen=True, slots=True)
class Job:
    """The indexing of everything by the definitions whose digest is `target`.

    It begins at `begins` (seconds since 1970), when all processes have noticed the definitions.
    `after` is the key that was done last, `done` and `total` count resources of the first stage.
    """

    target: str
    begins: float
    stage: int = Stage.FIRST
    after: str | None = None
    done: int = 0
    total: int | None = None

    @property
    def next_at(self) -> float:
        """When it goes on, in seconds since 1970."""
        return self.begins + (LAST_SECONDS if self.stage == Stage.LAST else 0)

    @property
    def percent(self) -> int:
        """How far it has come."""
        if self.stage != Stage.FIRST:
            return MOST_SHOWN
        return min(MOST_SHOWN, self.done * 100 // self.total) if self.total else 0

    def moved(self, after: str, count: int) -> "Job":
        """The job after a further batch."""
        counted = count if self.stage == Stage.FIRST else 0
        return replace(self, after=after, done=self.done + counted)

    def at_stage(self, stage: Stage) -> "Job":
        """The job at the beginning of a stage."""
        return replace(self, stage=int(stage), after=None)


async def read_job(store: ResourceStore | Transaction) -> tuple[Job | None, int]:
    """The job, and the revision of its record."""
    record = await store.record(INDEX, JOB)
    return (None, 0) if record is None else (Job(**record.value), record.revision)


async def put_job(transaction: Transaction, job: Job, expected: int) -> None:
    """Store the job's state; VersionConflict when another process was first."""
    await transaction.put_record(Record(INDEX, JOB, asdict(job)), expected)


async def read_whole(store: ResourceStore | Transaction) -> tuple[dict[str, str] | None, int]:
    """The fingerprint of what is indexed, None for a store that does not know; its revision."""
    record = await store.record(WHOLE, FINGERPRINT)
    return (None, 0) if record is None else (record.value, record.revision)


async def put_whole(transaction: Transaction, found: dict[str, Any], expected: int) -> None:
    """Store the fingerprint of what is indexed."""
    await transaction.put_record(Record(WHOLE, FINGERPRINT, found), expected)


async def put_mark(transaction: Transaction) -> None:
    """Let every process look at the definitions anew. Units that do this come one after the
    other."""
    await transaction.put_record(Record(INDEX, MARK, {}))


async def forget(transaction: Transaction) -> None:
    """Let everything be indexed anew: every process notices, and refuses what is not whole."""
    _, revision = await read_whole(transaction)
    await put_whole(transaction, {}, revision)
    await transaction.delete_record(INDEX, JOB)
    await put_mark(transaction)
