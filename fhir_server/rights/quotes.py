"""What searches in the audit trail quote of an erased patient, taken out (ADR 0033).

Who searched, when, what for and by which parameters stays; the values that named the patient go,
and a sealed record of each says so. The chain is as provable as before (audit/quoted.py).
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from fhir_server.audit.quoted import queries, redacted
from fhir_server.audit.sealer import Sealer
from fhir_server.fhir.codec import encode, parse
from fhir_server.interactions.write import Submission, draft, put
from fhir_server.operations.record import every_match
from fhir_server.rights.erasure import Ordered, forget
from fhir_server.rights.extent import EVER, Extent, Extract, every_version
from fhir_server.rights.proof import IDENTIFYING
from fhir_server.search.expression import Query
from fhir_server.search.terms import fold
from fhir_server.storage.port import ResourceStore, Stored, Transaction, Unit

NAMING = frozenset({
    "name", "family", "given", "phonetic", "identifier", "phone", "email", "telecom", "address",
    "address-city", "address-postalcode", "_text", "_content", "_filter",
})  # fmt: skip
"""Search parameters that take what identifies a person."""
WITH_THEM = frozenset({"birthdate", "death-date", "gender"})
"""Those that go too where one of NAMING goes: together they may name somebody."""
TAKEN_OUT = "(erased)"
SHORTEST = 2
_DAYS = ("birthDate", "deceasedDateTime")
_DAY_LENGTH = len("1990-05-01")
_MOST_ROUNDS = 500
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PARAMETERS = re.compile(r"&(?=[^&=]*=)")
"""Where the next parameter begins. The trail quotes values decoded, so one may have an & in it."""


@dataclass(frozen=True)
class Names:
    """What identified the erased patient and nobody who remains, folded as the index folds, and
    the days that they alone were born or died on: beside a name that others bear too, one of those
    tells who was meant."""

    texts: frozenset[str]
    days: frozenset[str] = frozenset()

    def redact(self, query: str) -> str:
        """The search without the values that name the patient."""
        path, mark, parameters = query.partition("?")  # a value may have another
        pairs = [each.partition("=") for each in _PARAMETERS.split(parameters)]
        is_named = any(_kind(name) in NAMING and self.is_named(value) for name, _, value in pairs)
        said = [
            f"{name}={TAKEN_OUT}" if self._goes(name, value, is_named) else f"{name}{equals}{value}"
            for name, equals, value in pairs
        ]
        return f"{path}{mark}{'&'.join(said)}"

    def is_named(self, value: str) -> bool:
        """Whether a value, as it was meant or sent, is or holds one of the texts, or is a part of
        one."""
        for part in (*value.split(","), *unquote_plus(value).split(",")):
            said = fold(part.rpartition("|")[2])
            if len(said) >= SHORTEST and any(said in each or each in said for each in self.texts):
                return True
        return False

    def _goes(self, name: str, value: str, is_named: bool) -> bool:
        kind = _kind(name)
        if kind in WITH_THEM:
            return is_named or not self.days.isdisjoint(_DAY.findall(value))
        return kind in NAMING and self.is_named(value)


def _kind(name: str) -> str:
    """The parameter at the end of a chain, without its modifier; a reference that is asked for by
    an identifier takes one."""
    last = unquote_plus(name).rpartition(".")[2]
    if last.startswith("_has:") or last.endswith(":identifier"):
        return last.rpartition(":")[2]
    return last.partition(":")[0]


async def names_of(store: ResourceStore, extent: Extent) -> Names:
    """What identifies the Patient in any version; asked before the erasure."""
    own = set(extent.own) | set(extent.former)
    gone: set[str] = set()
    kept: set[str] = set()
    days: dict[bool, set[str]] = {True: set(), False: set()}
    async for stored in every_version(store, replace(EVER, types=("Patient",))):
        if not stored.is_deleted:
            patient, is_own = parse(stored.body), stored.key in own
            (gone if is_own else kept).update(_identifying(patient))
            days[is_own] |= {patient.get(name, "")[:_DAY_LENGTH] for name in _DAYS}
    texts = frozenset(each for each in gone - kept if len(each) >= SHORTEST)
    return Names(texts, frozenset(days[True] - days[False] - {""}))


def _identifying(patient: dict[str, Any]) -> set[str]:
    found = [_texts(patient[name]) for name in IDENTIFYING if name in patient]
    return {fold(each) for texts in found for each in texts}


def _texts(value: object) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                if name not in ("system", "use", "rank", "type", "period"):
                    yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)


@dataclass(frozen=True)
class Trail:
    """The audit trail of a store, and what it takes to write in it: the injected now, the terms
    that events are found by, and who seals."""

    store: ResourceStore
    extract: Extract
    clock: Callable[[], datetime]
    sealer: Sealer
    tenant: None = None
    writer: None = None

    async def seal_all(self) -> None:
        """Seal what waits in the journal; a server's own sealer may be at it too. On a server that
        is never quiet it ends after some rounds, which are more than waited at first."""
        for _ in range(_MOST_ROUNDS):
            if not await self.store.journal(1):
                return
            await self.sealer.seal_once()


async def take_out(trail: Trail, names: Names, ordered: Ordered) -> int:
    """Take the names out of every sealed AuditEvent that quotes them; how many that were. What
    waits is sealed first, and the records of it afterwards."""
    if not names.texts and not names.days:
        return 0
    await trail.seal_all()
    found = [stored async for stored in _quoting(trail.store, names)]
    taken = [await trail.store.transaction(_unit(trail, each, names, ordered)) for each in found]
    await trail.seal_all()
    return sum(taken)


async def _quoting(store: ResourceStore, names: Names) -> AsyncIterator[Stored]:
    async for stored in every_match(store, Query("AuditEvent", limit=500)):
        if b'"query"' not in stored.body:
            continue
        said = queries(parse(stored.body))
        if any(names.redact(each) != each for each in said):
            yield stored


def _unit(trail: Trail, judged: Stored, names: Names, ordered: Ordered) -> Unit[bool]:
    async def unit(transaction: Transaction) -> bool:
        current = await transaction.get(judged.key)
        if current is None or current.version != judged.version:
            return False
        event = parse(current.body)
        changed = redacted(event, names.redact)
        if changed == event:
            return False  # sealed before searches were committed to: it can't be changed
        made = draft(trail, Submission(judged.key, changed, encode(changed), "PUT"), current)
        await put(transaction, made)
        await forget(transaction, judged.key)
        await transaction.journal(ordered.noted(judged.key, None))
        return True

    return unit
