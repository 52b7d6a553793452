"""What the store knows of its own index: records beside the resources.

| kind | id | what |
|---|---|---|
| `search-index` | `mark` | changes when a SearchParameter is written, and when a job ends |
| `search-index` | `job` | the indexing that is under way, and how far it has come |
| `search-index-whole` | `fingerprint` | the hashes of the definitions whose terms are all there |
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from fhir_server.storage.port import Record, ResourceStore, Transaction

INDEX, WHOLE = "search-index", "search-index-whole"
MARK, JOB, FINGERPRINT = "mark", "job", "fingerprint"

MOST_SHOWN = 99
"""A job that is not at its end is never said to be 100 % done."""


@dataclass(frozen=True, slots=True)
class Job:
    """The indexing of everything by the definitions whose digest is `target`.

    It begins at `begins` (seconds since 1970), when all processes have noticed the definitions.
    The first pass goes through all resources in the order of their keys; the second through those
    that were written after `begins` less a margin, which a process that noticed late may have
    written. `after` is the key that was done last, `done` and `total` count resources of the pass.
    """

    target: str
    begins: float
    is_second: bool = False
    after: str | None = None
    done: int = 0
    total: int | None = None

    @property
    def percent(self) -> int:
        """How far it has come."""
        if self.is_second:
            return MOST_SHOWN
        return min(MOST_SHOWN, self.done * 100 // self.total) if self.total else 0

    def moved(self, after: str | None, count: int) -> "Job":
        """The job after a further batch."""
        return replace(self, after=after, done=self.done + count)


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
    """Let every process look at the definitions anew."""
    await transaction.put_record(Record(INDEX, MARK, {}))
