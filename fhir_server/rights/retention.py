"""Retention: what has reached its age is erased, type by type (GDPR article 5(1)(e)).

The age counts from the last change of a resource. What belongs to a patient under a legal hold,
or whose processing is restricted, stays, however old it is; so does what others stand on: a
Patient whom something else still names, and what is about nobody. A Provenance goes with
everything that it is about.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhir_server.fhir.codec import parse
from fhir_server.fhir.compartments import SHARED_TYPES
from fhir_server.fhir.definitions import resource_types
from fhir_server.operations.record import every_match, patients_of
from fhir_server.rights.erasure import (
    AT_ONCE,
    Noted,
    erased_one,
    is_kept,
    kept_patients,
)
from fhir_server.rights.extent import BATCH, KEPT_TYPES, Extract, Told, readings, silent, target_of
from fhir_server.search import terms
from fhir_server.search.expression import HasAnyTerm, Query
from fhir_server.security.guard_terms import OFTEN_ABOUT_NOBODY
from fhir_server.storage.port import Key, ResourceStore, Stored, Transaction, Unit

_MODELS = "the registry of model versions stands on it"
STOOD_ON: Mapping[str, str] = {
    **dict.fromkeys(sorted(SHARED_TYPES), "others stand on it: it is a definition or a directory"),
    **dict.fromkeys(sorted(KEPT_TYPES), "the chain of the audit trail would break"),
    "Consent": "what it denies would be shown again, and what it permitted could not be shown",
    "Device": f"{_MODELS}; retire a version instead",
    "MeasureReport": f"{_MODELS}: verdicts and drift are its reasons",
    "Provenance": "it says who made what remains; it goes with everything that it is about",
    "SearchParameter": "searches stand on it; its status says whether it is in use",
    "Subscription": "its own end says how long it lasts",
}
"""Types that no age ends, and why."""
AGES = (30, 365, 3650)
"""Days that a dry run counts by: what is due is up to so much older than it may be, or more."""


class BadPolicy(ValueError):
    """The policy can't be followed; the text says where and why."""


Policy = Mapping[str, timedelta]
"""Type → how long a resource of it is kept after its last change."""


@dataclass(frozen=True)
class Due:
    """What has reached its age, and what is kept for a hold or restriction (`held`), by type."""

    keys: tuple[Key, ...]
    held: Counter[str]
    needed: Counter[str] = field(default_factory=Counter)
    """By type: due, and kept because others stand on it."""
    ages: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    """By type and by how many days at most it is overdue (of AGES; None: more)."""

    def counts(self) -> dict[str, int]:
        """How many of each type are due."""
        return dict(sorted(Counter(key.type for key in self.keys).items()))


def read_policy(text: str) -> Policy:
    """From TOML with lines `Type = days`. BadPolicy names what is no type, no number of days, or
    a type whose resources always stay."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise BadPolicy(f"not TOML: {problem}") from None
    policy = {}
    for type, days in found.items():
        if type not in resource_types():
            raise BadPolicy(f"{type} is not a resource type of R4")
        if type in STOOD_ON:
            raise BadPolicy(f"{type} can't be erased by age: {STOOD_ON[type]}")
        if not isinstance(days, int) or isinstance(days, bool) or days < 1:
            raise BadPolicy(f"{type}: a whole number of days above 0 is needed, not {days!r}")
        policy[type] = timedelta(days=days)
    if not policy:
        raise BadPolicy("it names no type")
    return policy


async def due(
    store: ResourceStore, extract: Extract, policy: Policy, now: datetime, told: Told = silent
) -> Due:
    """What has reached its age at `now`. The whole store is walked once."""
    looking = _Looking(extract, policy, now, await kept_patients(store))
    after: Key | None = None
    looked_at = 0
    while batch := await store.current(after, BATCH):
        for stored in batch:
            looking.at(stored)
        looked_at += len(batch)
        told("looked at", looked_at, None)
        after = batch[-1].key
    found = looking.found()
    return await _with_provenance(store, found)


_NAMED = re.compile(rb"Patient/[A-Za-z0-9\-.]{1,64}")


@dataclass
class _Looking:
    """A walk over all that is there."""

    extract: Extract
    policy: Policy
    now: datetime
    held: frozenset[str]
    _due: dict[Key, Stored] = field(default_factory=dict)
    _kept: Counter[str] = field(default_factory=Counter)
    _needed: Counter[str] = field(default_factory=Counter)
    _named: set[str] = field(default_factory=set)

    def at(self, stored: Stored) -> None:
        """Look at the current version of a resource."""
        key = stored.key
        if not self._is_due(stored):
            # Whoever is named by what stays is needed: a record without its Patient is nobody's.
            if "Patient" in self.policy and key.type not in ("Patient", *KEPT_TYPES, "Provenance"):
                for body in readings(stored.body):
                    self._named |= {each.decode() for each in _NAMED.findall(body)}
        else:
            self._due[key] = Stored(key, stored.version, stored.updated, b"", stored.method)

    def found(self) -> Due:
        """What is due, when all has been looked at."""
        ages: Counter[tuple[str, int | None]] = Counter()
        keys = []
        for key, stored in self._due.items():
            if str(key) in self._named:
                self._needed[key.type] += 1
                continue
            keys.append(key)
            over = self.now - stored.updated - self.policy[key.type]
            ages[key.type, next((each for each in AGES if over.days < each), None)] += 1
        return Due(tuple(keys), self._kept, self._needed, ages)

    def _is_due(self, stored: Stored) -> bool:
        age = self.policy.get(stored.key.type)
        if age is None or stored.updated + age > self.now:
            return False
        patients = _patients(self.extract, stored)
        if patients & self.held:
            self._kept[stored.key.type] += 1
            return False
        if stored.key.type in OFTEN_ABOUT_NOBODY and not patients:
            self._needed[stored.key.type] += 1
            return False
        return True


async def _with_provenance(store: ResourceStore, found: Due) -> Due:
    """With every Provenance all of whose targets are due."""
    ends = set(found.keys)
    about: list[Key] = []
    for start in range(0, len(found.keys), BATCH):
        names = frozenset(str(key) for key in found.keys[start : start + BATCH])
        named = HasAnyTerm(terms.key("Provenance", "target"), names)
        async for stored in every_match(store, Query("Provenance", named, limit=BATCH)):
            targets = {target_of(each) for each in parse(stored.body)["target"]}
            if targets <= ends and stored.key not in about:
                about.append(stored.key)
    return Due((*found.keys, *about), found.held, found.needed, found.ages)


def _patients(extract: Extract, stored: Stored) -> frozenset[str]:
    return patients_of(stored.key, extract(parse(stored.body)))


@dataclass(frozen=True)
class Ending:
    """A run of retention: the policy, its moment, and how each erased resource is audited."""

    policy: Policy
    now: datetime
    noted: Noted


async def end(store: ResourceStore, extract: Extract, ending: Ending, told: Told = silent) -> Due:
    """Erase what is due, every version of it; what was changed or is held meanwhile stays."""
    found = await due(store, extract, ending.policy, ending.now, told)
    for start in range(0, len(found.keys), AT_ONCE):
        some = found.keys[start : start + AT_ONCE]
        await store.transaction(_unit(ending, some, extract))
        told("erased", start + len(some), len(found.keys))
    return found


def _unit(ending: Ending, keys: tuple[Key, ...], extract: Extract) -> Unit[None]:
    async def unit(transaction: Transaction) -> None:
        for key in keys:
            current = await transaction.get(key)
            if current is None or current.is_deleted or not _is_old(ending, current):
                continue
            if await is_kept(transaction, _patients(extract, current)):
                continue
            await erased_one(transaction, current, ending.now)
            await transaction.journal(ending.noted(key, current.version))

    return unit


def _is_old(ending: Ending, current: Stored) -> bool:
    """Whether it has still reached its age; a Provenance has none of its own."""
    age = ending.policy.get(current.key.type, timedelta())
    return current.updated + age <= ending.now
