"""Slowing down who guesses passwords, without locking out whom they guess at; decisions are pure.

Failures are counted in records, per name and source: the browser, if it has signed in under the
name before (it keeps a cookie that says so), else the network address. After five the source
waits, longer each time. The account as a whole counts the first five of each source only, so that
one address can't make others wait, and never slows down a browser that is known. Each attempt is
counted before the password is looked at, so that many at once are counted too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network

from fhir_server.security.authorization.records import digest
from fhir_server.storage.port import Record, ResourceStore, Transaction

KIND = "failed-sign-ins"
_REMEMBERED_SECONDS = 24 * 3600
_FREE = 5
_FREE_IN_ALL = 25
_FIRST_WAIT_SECONDS = 30
_LONGEST_WAIT_SECONDS = 15 * 60
_LONGEST_WAIT_IN_ALL_SECONDS = 5 * 60


@dataclass(frozen=True)
class Failures:
    """Attempts without success, and the time before which no other is looked at."""

    count: int = 0
    until: float = 0.0


@dataclass(frozen=True)
class Source:
    """Where an attempt comes from; `is_known` when the name has signed in there before."""

    name: str
    is_known: bool = False


@dataclass(frozen=True)
class Judged:
    """What becomes of the counts, or the seconds to wait."""

    wait: int = 0
    own: Failures = Failures()
    in_all: Failures = Failures()


def judge(own: Failures, in_all: Failures, source: Source, now: float) -> Judged:
    """Count the attempt, unless it comes too soon."""
    until = own.until if source.is_known else max(own.until, in_all.until)
    if until > now:
        return Judged(wait=int(until - now) + 1)
    counted = _after(own, now, _FREE, _LONGEST_WAIT_SECONDS)
    if source.is_known or own.count >= _FREE:
        return Judged(own=counted, in_all=in_all)
    return Judged(0, counted, _after(in_all, now, _FREE_IN_ALL, _LONGEST_WAIT_IN_ALL_SECONDS))


def _after(before: Failures, now: float, free: int, longest: int) -> Failures:
    count = before.count + 1
    beyond = min(count - free, 16)
    wait = min(_FIRST_WAIT_SECONDS * 2**beyond, longest) if beyond >= 0 else 0
    return Failures(count, now + wait)


def source_of_address(address: str | None) -> Source:
    """The source that a network address is: of IPv6 its /64, which one house has whole."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return Source(f"address {address}")
    if isinstance(parsed, IPv6Address):
        return Source(f"address {ip_network((parsed, 64), strict=False)}")
    return Source(f"address {parsed}")


async def count_attempt(tx: Transaction, name: str, source: Source, now: float) -> int:
    """Inside a unit: count an attempt under the name; the seconds to wait if it is refused.
    Names are kept as digests: people type passwords into the wrong field."""
    own_id, all_id = _id(name, source.name), _id(name)
    own, in_all = await tx.record(KIND, own_id), await tx.record(KIND, all_id)
    judged = judge(_failures(own), _failures(in_all), source, now)
    if judged.wait:
        return judged.wait
    await _put(tx, own_id, own, judged.own, now)
    if judged.in_all != _failures(in_all):
        await _put(tx, all_id, in_all, judged.in_all, now)
    return 0


async def forgive(tx: Transaction, name: str, source: Source) -> None:
    """Inside a unit: what the source failed before no longer counts, since it has succeeded."""
    await tx.delete_record(KIND, _id(name, source.name))


async def locked_until(store: ResourceStore, name: str) -> float:
    """Until when some source waits under the name; 0 when none."""
    return max((r.value["until"] for r in await _all(store, name)), default=0.0)


async def failure_ids(store: ResourceStore, name: str) -> list[str]:
    """The ids of all counts under the name, to be deleted when an admin unlocks it."""
    return [record.id for record in await _all(store, name)]


async def _all(store: ResourceStore, name: str) -> list[Record]:
    return list(await store.records(KIND, prefix=_id(name)))


async def _put(
    tx: Transaction, id: str, before: Record | None, failures: Failures, now: float
) -> None:
    value = {"count": failures.count, "until": failures.until}
    expires = datetime.fromtimestamp(now + _REMEMBERED_SECONDS, UTC)
    record = Record(KIND, id, value, expires=expires)
    await tx.put_record(record, before.revision if before else 0)


def _failures(record: Record | None) -> Failures:
    return Failures() if record is None else Failures(record.value["count"], record.value["until"])


def _id(name: str, source: str = "") -> str:
    return f"{digest(name)}\x1f{source}"
