"""Retention: what has reached its age is erased, type by type (GDPR article 5(1)(e)).

The age counts from the last change of a resource. What belongs to a patient under a legal hold,
or whose processing is restricted, stays, however old it is; so does what others stand on: a
Patient whom something else still names, and what is about nobody. A Provenance goes with
everything that it is about. Everything else goes by its own age alone: what stays may go on naming
what is gone, and how many of those there are is told.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fhir_server.fhir.codec import parse
from fhir_server.fhir.compartments import SHARED_TYPES
from fhir_server.fhir.definitions import resource_types
from fhir_server.operations.record import every_match, patients_of
from fhir_server.rights.citing import cited_by
from fhir_server.rights.erasure import kept_patients
from fhir_server.rights.extent import (
    BATCH,
    KEPT_TYPES,
    Extract,
    Told,
    patients_ever,
    silent,
    target_of,
)
from fhir_server.search import terms
from fhir_server.search.expression import HasAnyTerm, Query
from fhir_server.security.guard_terms import OFTEN_ABOUT_NOBODY
from fhir_server.storage.port import Key, ResourceStore, Stored, Transaction

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
    overdue: Mapping[Key, int | None] = field(default_factory=dict)
    """By how many days at most (of AGES; None: more)."""
    cited: frozenset[Key] = frozenset()
    """What something that stays names."""

    @property
    def still_named(self) -> Counter[str]:
        """How many of each type go though something that stays names them."""
        return Counter(key.type for key in self.keys if key in self.cited)

    @property
    def ages(self) -> Counter[tuple[str, int | None]]:
        """How many of each type are overdue by how many days at most."""
        aged = [key for key in self.keys if key in self.overdue]
        return Counter((key.type, self.overdue[key]) for key in aged)

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
    if looking.held:
        await looking.look_back(store)
    return await _with_provenance(store, looking.found())


NAMING = resource_types() - KEPT_TYPES - {"Patient", "Provenance"}
"""Types by which a Patient is needed, when a resource of them stays that names the Patient."""


def named_in(stored: Stored) -> frozenset[str]:
    """The patients, as references, whom a version names anywhere."""
    return frozenset(str(key) for key in cited_by(stored, {"Patient"}))


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
    _cited: set[Key] = field(default_factory=set)
    _by_patients: dict[Key, frozenset[Key]] = field(default_factory=dict)

    def at(self, stored: Stored) -> None:
        """Look at the current version of a resource."""
        key = stored.key
        if not self._is_due(stored):
            self._stays(stored)
        else:
            if key.type == "Patient":  # who may turn out to be needed, and stay
                self._by_patients[key] = cited_by(stored, self.policy.keys())
            self._due[key] = Stored(key, stored.version, stored.updated, b"", stored.method)

    async def look_back(self, store: ResourceStore) -> None:
        """Keep what was once of somebody who is held: every version would go."""
        changed = [key for key, stored in self._due.items() if stored.version > 1]
        for key in changed:
            if await patients_ever(store, self.extract, key) & self.held:
                self._kept[key.type] += 1
                del self._due[key]
                current = await store.get(key)
                if current is not None:
                    self._stays(current)

    def _stays(self, stored: Stored) -> None:
        cited = cited_by(stored, self.policy.keys())
        self._cited |= cited
        # Whoever is named by what stays is needed: a record without its Patient is nobody's.
        if stored.key.type in NAMING:
            self._named |= {str(each) for each in cited if each.type == "Patient"}

    def found(self) -> Due:
        """What is due, when all has been looked at."""
        overdue: dict[Key, int | None] = {}
        for key, stored in self._due.items():
            if str(key) in self._named:
                self._needed[key.type] += 1
                self._cited |= self._by_patients[key]
                continue
            over = self.now - stored.updated - self.policy[key.type]
            overdue[key] = next((each for each in AGES if over.days < each), None)
        cited = frozenset(self._cited & overdue.keys())
        return Due(tuple(overdue), self._kept, self._needed, overdue, cited)

    def _is_due(self, stored: Stored) -> bool:
        age = self.policy.get(stored.key.type)
        if age is None or stored.updated + age > self.now:
            return False
        patients = patients_in(self.extract, stored)
        if patients & self.held:
            self._kept[stored.key.type] += 1
            return False
        if stored.key.type in OFTEN_ABOUT_NOBODY and not patients:
            self._needed[stored.key.type] += 1
            return False
        return True


async def _with_provenance(store: ResourceStore, found: Due) -> Due:
    """With every Provenance that goes with what is due."""
    about: dict[Key, None] = {}
    ends = frozenset(found.keys)
    for start in range(0, len(found.keys), BATCH):
        some = found.keys[start : start + BATCH]
        about |= dict.fromkeys([each.key for each in await provenance_of(store, some, ends)])
    return replace(found, keys=(*found.keys, *about))


async def provenance_of(
    reader: ResourceStore | Transaction, keys: Sequence[Key], gone: Set[Key]
) -> Sequence[Stored]:
    """Every Provenance of some of these resources that is about nothing but what is `gone`, or
    deleted."""
    targets = HasAnyTerm(terms.key("Provenance", "target"), frozenset(map(str, keys)))
    query = Query("Provenance", targets, limit=BATCH)
    found = [stored async for stored in every_match(reader, query)]
    return [each for each in found if await _is_about_nothing(reader, each, gone)]


async def _is_about_nothing(
    reader: ResourceStore | Transaction, provenance: Stored, gone: Set[Key]
) -> bool:
    for reference in parse(provenance.body)["target"]:
        target = target_of(reference)
        if target is None:
            return False
        current = None if target in gone else await reader.get(target)
        if target not in gone and (current is None or not current.is_deleted):
            return False
    return True


def patients_in(extract: Extract, stored: Stored) -> frozenset[str]:
    """The patients, as references, to whom a version belongs."""
    return patients_of(stored.key, extract(parse(stored.body)))
