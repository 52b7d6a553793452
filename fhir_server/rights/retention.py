"""Retention: what has reached its age is erased, type by type (GDPR article 5(1)(e)).

The age counts from the last change of a resource. What belongs to a patient under a legal hold
stays, however old it is.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.operations.record import patients_of
from fhir_server.rights.erasure import AT_ONCE, Noted, erased_one, held_patients
from fhir_server.rights.extent import BATCH, KEPT_TYPES, Extract
from fhir_server.storage.port import Key, ResourceStore, Stored, Transaction, Unit


class BadPolicy(ValueError):
    """The policy can't be followed; the text says where and why."""


Policy = Mapping[str, timedelta]
"""Type → how long a resource of it is kept after its last change."""


@dataclass(frozen=True)
class Due:
    """What has reached its age, and what is kept for a legal hold, by type."""

    keys: tuple[Key, ...]
    held: Counter[str]

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
        if type in KEPT_TYPES:
            raise BadPolicy(f"{type} can't be erased: the chain of the audit trail would break")
        if not isinstance(days, int) or isinstance(days, bool) or days < 1:
            raise BadPolicy(f"{type}: a whole number of days above 0 is needed, not {days!r}")
        policy[type] = timedelta(days=days)
    if not policy:
        raise BadPolicy("it names no type")
    return policy


async def due(store: ResourceStore, extract: Extract, policy: Policy, now: datetime) -> Due:
    """What has reached its age at `now`."""
    held = await held_patients(store)
    keys: list[Key] = []
    kept: Counter[str] = Counter()
    after: Key | None = None
    while batch := await store.current(after, BATCH):
        for stored in batch:
            age = policy.get(stored.key.type)
            if age is None or stored.updated + age > now:
                continue
            if held and _patients(extract, stored) & held:
                kept[stored.key.type] += 1
            else:
                keys.append(stored.key)
        after = batch[-1].key
    return Due(tuple(keys), kept)


def _patients(extract: Extract, stored: Stored) -> frozenset[str]:
    return patients_of(stored.key, extract(parse(stored.body)))


@dataclass(frozen=True)
class Ending:
    """A run of retention: the policy, its moment, and how each erased resource is audited."""

    policy: Policy
    now: datetime
    noted: Noted


async def end(store: ResourceStore, extract: Extract, ending: Ending) -> Due:
    """Erase what is due, every version of it; what was changed meanwhile stays."""
    found = await due(store, extract, ending.policy, ending.now)
    for start in range(0, len(found.keys), AT_ONCE):
        await store.transaction(_unit(ending, found.keys[start : start + AT_ONCE]))
    return found


def _unit(ending: Ending, keys: tuple[Key, ...]) -> Unit[None]:
    async def unit(transaction: Transaction) -> None:
        for key in keys:
            current = await transaction.get(key)
            is_due = current and current.updated + ending.policy[key.type] <= ending.now
            if current is not None and is_due and not current.is_deleted:
                await erased_one(transaction, current, ending.now)
                await transaction.journal(ending.noted(key, current.version))

    return unit
