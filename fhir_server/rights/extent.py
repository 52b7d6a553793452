"""What a store holds about one patient, deleted and former versions too.

The index knows current versions alone, so the whole history is read once. Nothing of the access
rules applies: this is asked by whoever has the store itself.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fhir_server.fhir.codec import encode, parse
from fhir_server.operations.record import patients_of
from fhir_server.storage.port import Key, Past, ResourceStore, Stored, Terms

BATCH = 500
KEPT_TYPES = frozenset({"AuditEvent"})
"""They say who did what and when, and stay."""

Extract = Callable[[dict[str, Any]], Terms]


@dataclass(frozen=True)
class Extent:
    """Keys by what becomes of them. `own`: belong to this patient alone, the Patient last.
    `former`: did once, and now belong to nobody or somebody else. `shared`: belong to other
    patients too. `naming`: belong to no patient, but name this one."""

    own: tuple[Key, ...]
    former: tuple[Key, ...]
    shared: tuple[Key, ...]
    naming: tuple[Key, ...]


@dataclass
class _Seen:
    """What the versions of one key say, newest first."""

    has_current: bool = False
    """The newest version is one of those that name the patient; False also when deleted."""
    is_deleted: bool = False
    patients: set[str] = field(default_factory=set)
    """To whom the newest version with content belongs; of a deleted resource the last one."""
    has_former: bool = False


async def extent_of(store: ResourceStore, extract: Extract, patient: Key) -> Extent:
    """Everything that names the patient in any version, sorted by what it is to them."""
    seen: dict[Key, _Seen] = {}
    newest: set[Key] = set()
    deleted: set[Key] = set()
    async for stored in every_version(store):
        key = stored.key
        is_newest = key not in newest
        newest.add(key)
        if stored.is_deleted:
            if is_newest:
                deleted.add(key)
            continue
        if key.type in KEPT_TYPES or not _names(stored, patient):
            continue
        found = seen.setdefault(key, _Seen(is_deleted=key in deleted))
        if is_newest or (found.is_deleted and not found.patients):
            found.has_current = True
            found.patients = set(patients_of(key, extract(parse(stored.body))))
        else:
            found.has_former = True
    return await _with_provenance(store, _sorted(seen, patient), patient)


def _sorted(seen: dict[Key, _Seen], patient: Key) -> Extent:
    own: list[Key] = []
    former: list[Key] = []
    shared: list[Key] = []
    naming: list[Key] = []
    for key, found in sorted(seen.items()):
        if not found.has_current:
            former.append(key)
        elif found.patients == {str(patient)}:
            own.append(key)
        elif str(patient) in found.patients:
            shared.append(key)
        else:
            naming.append(key)
    own.sort(key=lambda key: key == patient)
    return Extent(tuple(own), tuple(former), tuple(shared), tuple(naming))


async def _with_provenance(store: ResourceStore, extent: Extent, patient: Key) -> Extent:
    """A Provenance belongs to the record when all that it is about does, though it may name
    the patient nowhere."""
    own = set(extent.own)
    about: list[Key] = []
    async for stored in every_version(store, "Provenance"):
        key = stored.key
        if stored.is_deleted or key in own or key in about:
            continue
        targets = {_target(each) for each in parse(stored.body).get("target", ())}
        if targets and targets <= own:
            about.append(key)
    if not about:
        return extent
    naming = tuple(key for key in extent.naming if key not in about)
    return Extent((*sorted(about), *extent.own), extent.former, extent.shared, naming)


def _target(reference: dict[str, Any]) -> Key | None:
    path = str(reference.get("reference", "")).partition("/_history/")[0].split("/")
    return Key(path[-2], path[-1]) if len(path) > 1 else None


async def every_version(store: ResourceStore, type: str | None = None) -> AsyncIterator[Stored]:
    """All versions there are, newest first, deletions too."""
    before = None
    while True:
        types = None if type is None else (type,)
        page = await store.history(Past(types=types, limit=BATCH, before=before))
        for stored in page.versions:
            yield stored
        if page.next is None:
            return
        before = page.next


def _names(stored: Stored, patient: Key) -> bool:
    """Whether the resource is the patient, or refers to them anywhere."""
    if stored.key == patient:
        return True
    return any(_pattern(patient).search(body) for body in _readings(stored.body))


def _readings(body: bytes) -> Iterator[bytes]:
    yield body
    if b"\\" in body:  # a reference may be written with escapes
        yield encode(parse(body))


@lru_cache(maxsize=8)
def _pattern(patient: Key) -> re.Pattern[bytes]:
    return re.compile(re.escape(str(patient)).encode() + rb"(?![A-Za-z0-9\-.])")
