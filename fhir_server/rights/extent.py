"""What a store holds about one patient, deleted and former versions too.

The index knows current versions alone, so the whole history is read once. Nothing of the access
rules applies: this is asked by whoever has the store itself.
"""

import re
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.operations.record import patients_of
from fhir_server.rights.contents import Contents, readings
from fhir_server.storage.port import Key, Past, ResourceStore, Stored, Terms, Transaction

BATCH = 500
EVER = Past(limit=BATCH)
"""All versions of everything."""
KEPT_TYPES = frozenset({"AuditEvent"})
"""They say who did what and when, and stay."""

Extract = Callable[[dict[str, Any]], Terms]


@dataclass(frozen=True)
class Extent:
    """Keys by what becomes of them. `own`: belong to this patient alone, the Patient last.
    `former`: did once, and now belong to nobody or somebody else. `shared`: belong to other
    patients too, or are a Binary of nobody's that others' resources have as well. `naming`:
    belong to no patient, but name this one."""

    own: tuple[Key, ...]
    former: tuple[Key, ...]
    shared: tuple[Key, ...]
    naming: tuple[Key, ...]


Told = Callable[[str, int, int | None], None]
"""Hears how far a long run is: what is being done, how much is done, and of how much."""


def silent(what: str, done: int, total: int | None) -> None:
    """Nobody listens."""


async def extent_of(
    store: ResourceStore, extract: Extract, patient: Key, told: Told = silent
) -> Extent:
    """Everything that names the patient in any version, sorted by what it is to them: the newest
    version with content decides, of a deleted resource the last one before."""
    seen: dict[Key, frozenset[str] | None] = {}
    met: set[Key] = set()
    contents = Contents()
    async for stored in every_version(store, told=told):
        key = stored.key
        if stored.is_deleted or key.type in KEPT_TYPES:
            continue
        is_newest = key not in met
        met.add(key)
        contents.note(stored)
        if _names(stored, patient):
            named = patients_of(key, extract(parse(stored.body))) if is_newest else None
            seen.setdefault(key, named)
    extent = await _with_contents(store, extract, _sorted(seen, patient), contents)
    return await _with_provenance(store, extent)


def _sorted(seen: dict[Key, frozenset[str] | None], patient: Key) -> Extent:
    """By the patients to whom the newest version belongs; None: only earlier ones name this one."""
    own: list[Key] = []
    former: list[Key] = []
    shared: list[Key] = []
    naming: list[Key] = []
    for key, patients in sorted(seen.items(), key=lambda each: each[0]):
        if patients is None:
            former.append(key)
        elif patients == {str(patient)}:
            own.append(key)
        elif str(patient) in patients:
            shared.append(key)
        else:
            naming.append(key)
    own.sort(key=lambda key: key == patient)
    return Extent(tuple(own), tuple(former), tuple(shared), tuple(naming))


async def _with_contents(
    store: ResourceStore, extract: Extract, extent: Extent, contents: Contents
) -> Extent:
    """A Binary that is nobody's belongs to the record when it is the content of nothing else."""
    own, known = frozenset(extent.own), {*extent.own, *extent.former, *extent.shared}
    theirs: list[Key] = []
    shared: list[Key] = []
    for key in sorted(contents.of(own) - known):
        is_nobodys = not await patients_ever(store, extract, key)
        (theirs if is_nobodys and contents.is_alone_in(key, own) else shared).append(key)
    naming = tuple(key for key in extent.naming if key not in {*theirs, *shared})
    # First: an erasure that is cut off finds them by what they are the content of.
    return Extent((*theirs, *extent.own), extent.former, (*extent.shared, *shared), naming)


async def _with_provenance(store: ResourceStore, extent: Extent) -> Extent:
    """A Provenance belongs to the record when all that it is about does, though it may name
    the patient nowhere."""
    own = set(extent.own)
    about: list[Key] = []
    met: set[Key] = set()
    async for stored in every_version(store, replace(EVER, types=("Provenance",))):
        key = stored.key
        if stored.is_deleted or key in own or key in met:
            continue
        met.add(key)
        if _is_about(stored, own):
            about.append(key)
    if not about:
        return extent
    naming = tuple(key for key in extent.naming if key not in about)
    return Extent((*sorted(about), *extent.own), extent.former, extent.shared, naming)


def _is_about(provenance: Stored, keys: Set[Key]) -> bool:
    """Whether a Provenance is about some of these and nothing else."""
    targets = {target_of(each) for each in parse(provenance.body).get("target", ())}
    return bool(targets) and targets <= keys


def belongs(extract: Extract, patient: Key, stored: Stored, own: Set[Key]) -> bool:
    """Whether what was found to be `own` still is, in this version of it."""
    if stored.is_deleted:
        return True
    patients = patients_of(stored.key, extract(parse(stored.body)))
    if patients == {str(patient)} or (stored.key.type == "Binary" and not patients):
        return True
    return stored.key.type == "Provenance" and _is_about(stored, own)


def target_of(reference: dict[str, Any]) -> Key | None:
    """The resource that a reference names, whatever the version; None when it names none."""
    path = str(reference.get("reference", "")).partition("/_history/")[0].split("/")
    return Key(path[-2], path[-1]) if len(path) > 1 else None


async def every_version(
    store: ResourceStore | Transaction, past: Past = EVER, told: Told = silent
) -> AsyncIterator[Stored]:
    """All versions of what is asked for, newest first, deletions too."""
    count = 0
    while True:
        page = await store.history(past)
        for stored in page.versions:
            yield stored
        count += len(page.versions)
        told("versions read", count, None)
        if page.next is None:
            return
        past = replace(past, before=page.next)


async def patients_ever(
    store: ResourceStore | Transaction, extract: Extract, key: Key
) -> frozenset[str]:
    """The patients, as references, to whom any version of the resource belonged."""
    found: frozenset[str] = frozenset()
    async for stored in every_version(store, replace(EVER, key=key)):
        if not stored.is_deleted:
            found |= patients_of(key, extract(parse(stored.body)))
    return found


def _names(stored: Stored, patient: Key) -> bool:
    """Whether the resource is the patient, or refers to them anywhere."""
    if stored.key == patient:
        return True
    return any(_pattern(patient).search(body) for body in readings(stored.body))


@lru_cache(maxsize=8)
def _pattern(patient: Key) -> re.Pattern[bytes]:
    return re.compile(re.escape(str(patient)).encode() + rb"(?![A-Za-z0-9\-.])")
