"""The proof of an erasure: what the erased versions said, looked for byte by byte.

A *trace* is a text of an erased version that no version that remains says too, nor the audit trail
of every write (its moment, and an id that the resource repeats). After the erasure the files of the
store are searched for all of them. One that is found may stand within another person's words by
chance, or in an audit record, which says what somebody searched for: such are told apart; all
others are left over, and the erasure is not whole.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from fhir_server.audit.quoted import queries
from fhir_server.fhir.codec import parse
from fhir_server.rights.extent import KEPT_TYPES, Extent, every_version
from fhir_server.search.terms import fold
from fhir_server.storage.port import Key, ResourceStore, Stored

SHORTEST = 12
"""Shorter texts stand in any file by chance; those that identify a person are SHORTEST_NAME."""
SHORTEST_NAME = 4
LONGEST = 400
"""Of a longer text the beginning is looked for."""
IDENTIFYING = frozenset({"name", "identifier", "telecom", "address", "contact"})
"""The elements of a Patient whose every text is a trace."""
JOURNAL_AT_ONCE = 1_000_000
_CHUNK = 4 * 1024 * 1024
# What names things rather than says something; it remains by itself.
_NAMES = frozenset({"id", "reference", "system", "code", "url", "resourceType", "use", "profile"})


@dataclass(frozen=True)
class Proof:
    """How many texts were looked for, and those found: within what `others` say, in `audit`
    records, and `left_over`."""

    looked_for: int
    others: frozenset[str] = frozenset()
    audit: frozenset[str] = frozenset()
    left_over: frozenset[str] = frozenset()


async def traces(store: ResourceStore, extent: Extent) -> frozenset[str]:
    """The texts of what is to be erased that nothing else says; asked before the erasure."""
    own, former = set(extent.own), set(extent.former)
    gone: set[str] = set()
    kept: set[str] = set()
    met: set[Key] = set()
    async for key, resource in _resources(store):
        # Of what is another's now, the newest version stays.
        is_erased = key in own or (key in former and key in met)
        met.add(key)
        (gone if is_erased else kept).update(_texts(resource))
        if is_erased:
            kept.update(_of_the_trail(resource))
    return frozenset(gone - kept)


def _of_the_trail(resource: dict[str, Any]) -> Iterator[str]:
    """What the audit trail says of each write, too, and keeps: its moment, and the id of what was
    written. That of a Patient may be what others call the person by: it is looked for."""
    yield resource.get("meta", {}).get("lastUpdated", "")
    if resource["resourceType"] != "Patient":
        yield resource["id"]


async def prove(
    store: ResourceStore,
    files: Sequence[Path],
    looked_for: frozenset[str],
    *,
    is_encrypted: bool = False,
) -> Proof:
    """Look for the texts in the files, and tell apart what is found. Where the store has no files
    here (MongoDB), or they show nothing but the index (`is_encrypted`), in all that it answers
    too: what says one of them is left over."""
    asks_the_store = is_encrypted or not files
    rest = set(found_in(files, looked_for))
    answered: set[str] = set()
    audit: set[str] = set()
    moments: set[str] = set()
    others: set[str] = set()
    for entry in await store.journal(JOURNAL_AT_ONCE):
        audit |= _within(looked_for - audit, entry.entry)
    async for stored in every_version(store):
        if stored.key.type in KEPT_TYPES:
            said = _within(looked_for - audit, stored.body + _quoted(stored))
            own = said and said & _moments(stored)
            moments |= own
            audit |= said - own
        else:
            others |= _within(rest - others, stored.body)
            if asks_the_store and not stored.is_deleted:
                answered |= looked_for & set(_texts(parse(stored.body)))
    return Proof(
        len(looked_for),
        frozenset(others),
        frozenset(audit - others),
        frozenset((rest - audit - moments - others) | answered),
    )


def _moments(stored: Stored) -> set[str]:
    """When what an AuditEvent tells of was done, and when it was sealed: whatever was written in
    the same millisecond says that too."""
    event = parse(stored.body)
    return {event.get("recorded", ""), event.get("meta", {}).get("lastUpdated", "")}


def _quoted(stored: Stored) -> bytes:
    """The searches that an AuditEvent quotes, as they were meant."""
    if b'"query"' not in stored.body:
        return b""
    said = "\n".join(unquote_plus(each) for each in queries(parse(stored.body)))
    return f"\n{said}\n{fold(said)}".encode()


def _within(texts: Set[str], content: bytes) -> set[str]:
    return {text for text in texts if any(way in content for way in _forms(text))}


async def _resources(store: ResourceStore) -> AsyncIterator[tuple[Key, dict[str, Any]]]:
    async for stored in every_version(store):
        if stored.key.type not in KEPT_TYPES and not stored.is_deleted:
            yield stored.key, parse(stored.body)


def _texts(resource: dict[str, Any]) -> Iterator[str]:
    is_patient = resource["resourceType"] == "Patient"
    for name, value in resource.items():
        shortest = SHORTEST_NAME if is_patient and name in IDENTIFYING else SHORTEST
        yield from _texts_in({name: value}, shortest)


def _texts_in(value: Any, shortest: int) -> Iterator[str]:
    match value:
        case str() if len(value) >= shortest:
            yield value[:LONGEST]
        case dict():
            for name, each in value.items():
                if name not in _NAMES:
                    yield from _texts_in(each, shortest)
        case list():
            for each in value:
                yield from _texts_in(each, shortest)


def found_in(files: Iterable[Path], looked_for: Iterable[str]) -> frozenset[str]:
    """Those of the texts that stand in any of the files, as written, as JSON escapes them or as
    the index folds them; blocking."""
    rest = set(looked_for)
    found: set[str] = set()
    for path in files:
        for chunk in _overlapping(path):
            found |= _within(rest - found, chunk)
    return frozenset(found)


@lru_cache(maxsize=65_536)
def _forms(text: str) -> frozenset[bytes]:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    folded = fold(text)
    ways = (text, escaped, folded if len(folded) >= SHORTEST_NAME else text)
    return frozenset(way.encode() for way in ways)


def _overlapping(path: Path) -> Iterator[bytes]:
    """The file in chunks that overlap by more than the longest text."""
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield before + chunk
            before = chunk[-8 * LONGEST :]
