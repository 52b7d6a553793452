"""What retention found due is erased: judged again in the unit that erases it, with all that was
written since.

Patients go last, when what else was due is gone or is known to stay. In their unit all is read
that was written in the last minutes, and what was written before that has been read just before;
so a Patient whom something new names stays. What is written in the same moment comes after: it
names somebody who is gone, as any later write may.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fhir_server.rights.citing import cited_by
from fhir_server.rights.erasure import AT_ONCE, Noted, erased_one, is_kept
from fhir_server.rights.extent import EVER, Extract, Told, every_version, patients_ever, silent
from fhir_server.rights.retention import (
    NAMING,
    Due,
    Policy,
    due,
    named_in,
    patients_in,
    provenance_of,
)
from fhir_server.storage.port import Key, ResourceStore, Stored, Transaction, Unit

_LATE = timedelta(seconds=150)
"""By how much a version may be older than its commit is: a transaction ends within 60 s and is
reaped within 30 more, and the clocks of two processes lie apart by 30 at most."""
_WRITTEN = replace(EVER, types=tuple(sorted(NAMING)))


@dataclass(frozen=True)
class Ending:
    """A run of retention: the policy, the injected now, and how each erased resource is
    audited."""

    policy: Policy
    clock: Callable[[], datetime]
    noted: Noted


async def end(store: ResourceStore, extract: Extract, ending: Ending, told: Told = silent) -> Due:
    """Erase what is due, every version of it, with the Provenance of it; what was erased comes
    back as `keys`. What was changed, is held or is needed meanwhile stays."""
    run = _Run(extract, ending, ending.clock())
    found = await due(store, extract, ending.policy, run.now, told)
    keys = [key for key in found.keys if key.type != "Provenance"]
    done = 0
    for some in _batches(keys):
        if some[0].type == "Patient":
            await run.look(store)
        run.add(await store.transaction(run.unit(some)))
        done += len(some)
        told("erased", done, len(keys))
    return run.told(found)


def _batches(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """What one unit ends, the Patients last."""
    others = [key for key in keys if key.type != "Patient"]
    patients = [key for key in keys if key.type == "Patient"]
    for each in (others, patients):
        for start in range(0, len(each), AT_ONCE):
            yield each[start : start + AT_ONCE]


@dataclass
class _Ended:
    """What became of some keys: those that were erased, those that are held or needed, by type,
    the patients whom what stays names, and all else that it names."""

    erased: list[Key] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    needed: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)
    cited: set[Key] = field(default_factory=set)

    def add(self, other: "_Ended") -> None:
        self.erased += other.erased
        self.held += other.held
        self.needed += other.needed
        self.named |= other.named
        self.cited |= other.cited


class _Run:
    """A run under way; `now` is the moment that ages are counted at."""

    def __init__(self, extract: Extract, ending: Ending, now: datetime) -> None:
        self.now = now
        self._extract = extract
        self._ending = ending
        self._so_far = _Ended()
        self._since = now - _LATE
        """What was written before has been looked at."""

    def add(self, ended: _Ended) -> None:
        """What a unit has done."""
        self._so_far.add(ended)

    def told(self, found: Due) -> Due:
        """What was found due, as far as it was erased."""
        ended = self._so_far
        held, needed = found.held + ended.held, found.needed + ended.needed
        found = replace(found, held=held, needed=needed)
        return replace(found, keys=tuple(ended.erased), cited=found.cited | ended.cited)

    async def look(self, store: ResourceStore) -> None:
        """Read what was written meanwhile, so that the unit has less of it to read."""
        begun = self._ending.clock()
        self._so_far.named |= await _named_since(store, self._since)
        self._since = begun - _LATE

    def unit(self, keys: Sequence[Key]) -> Unit[_Ended]:
        """Ends these, as far as that is still right."""

        async def unit(transaction: Transaction) -> _Ended:
            ended = _Ended()
            named = set(self._so_far.named)
            if keys[0].type == "Patient":
                named |= await _named_since(transaction, self._since)
            for key in keys:
                current = await transaction.get(key)
                if current is None or current.is_deleted:
                    continue
                if await self._stays(transaction, current, named, ended):
                    ended.named |= named_in(current)
                    ended.cited |= cited_by(current, self._ending.policy.keys())
                else:
                    await self._erase(transaction, current, ended)
            about = await provenance_of(transaction, ended.erased, frozenset(ended.erased))
            for provenance in about:
                if not await is_kept(transaction, await self._patients(transaction, provenance)):
                    await self._erase(transaction, provenance, ended)
            return ended

        return unit

    async def _stays(
        self, transaction: Transaction, current: Stored, named: set[str], ended: _Ended
    ) -> bool:
        if current.updated + self._ending.policy[current.key.type] > self.now:
            return True
        if await is_kept(transaction, await self._patients(transaction, current)):
            ended.held[current.key.type] += 1
            return True
        if str(current.key) in named:
            ended.needed[current.key.type] += 1
            return True
        return False

    async def _patients(self, transaction: Transaction, current: Stored) -> frozenset[str]:
        """To whom it belongs or once did: every version of it would go."""
        if current.version == 1:
            return patients_in(self._extract, current)
        return await patients_ever(transaction, self._extract, current.key)

    async def _erase(self, transaction: Transaction, current: Stored, ended: _Ended) -> None:
        await erased_one(transaction, current, self._ending.clock())
        await transaction.journal(self._ending.noted(current.key, current.version))
        ended.erased.append(current.key)


async def _named_since(reader: ResourceStore | Transaction, since: datetime) -> set[str]:
    """The patients whom what was written since a moment names now."""
    met: set[Key] = set()
    named: set[str] = set()
    async for stored in every_version(reader, replace(_WRITTEN, since=since)):
        if stored.key not in met:
            met.add(stored.key)
            named |= named_in(stored)
    return named
