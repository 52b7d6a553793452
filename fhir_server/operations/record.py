"""What belongs to the record of a patient or an encounter: the resources of the compartment, each
once, and what they refer to outside it (R4 Patient $everything, Encounter $everything).

Nothing is held but one batch: the order is focus, then members by type and id, then supporting
resources by type and id, so that any place in it can be gone on from. The supporting resources
are found by reading the members again and keeping the lowest references after the place.
"""

import heapq
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.compartments import SHARED_TYPES, compartments, patient_parameters
from fhir_server.fhir.dates import microseconds, time_range
from fhir_server.fhir.definitions import resource_types
from fhir_server.interactions.context import Context
from fhir_server.operations.care_dates import within
from fhir_server.search import compartment, terms
from fhir_server.search.expression import Expression, HasRange, Query, all_of, any_of
from fhir_server.search.plan import Scope, criterion
from fhir_server.security.guard_terms import SECURITY_CONTEXT
from fhir_server.storage.port import Key, ResourceStore, Stored, Terms, Transaction

BATCH = 200
"""How many resources are read at a time."""

MOST_REFERENCES = 5000
"""How many references of the members are kept in one reading of them."""

UNASKED = frozenset({"AuditEvent"})
"""Types that come only when `_type` names them: each look at a record would add to it."""

FOCUS, MEMBER, SUPPORTING = "1", "2", "3"
Place = tuple[str, str, str]
"""Stage, type and id: where in the order a resource stands."""

_REFERENCE = re.compile(rb'"(reference|url)"\s*:\s*"([^"\\#]*)["#]')
_ESCAPED = re.compile(rb'"(?:reference|url)"\s*:\s*"[^"]*\\')


@dataclass(frozen=True)
class Wanted:
    """A record, as far as it is asked for. `focus` None: of every patient that the caller may
    see; `types` None: of every type. `start`, `end` and `since` are as in the operation."""

    compartment: str
    focus: Stored | None
    types: frozenset[str] | None = None
    since: str | None = None
    start: str | None = None
    end: str | None = None
    own_patients: frozenset[str] = field(default_factory=frozenset)

    def has(self, type: str) -> bool:
        """Whether resources of the type are asked for."""
        return type not in UNASKED if self.types is None else type in self.types

    def is_recent(self, stored: Stored) -> bool:
        """Whether it was updated since the moment asked for."""
        return self.since is None or microseconds(stored.updated) >= time_range(self.since).low


async def resources(
    context: Context, wanted: Wanted, after: Place | None = None
) -> AsyncIterator[tuple[Place, Stored]]:
    """The resources in their order, from after the place on."""
    focus = wanted.focus
    is_asked = focus is not None and wanted.has(focus.key.type) and wanted.is_recent(focus)
    if focus is not None and is_asked and after is None:
        yield (FOCUS, *focus.key), focus
    # What is read from the beginning and whole need not be read again for what it refers to.
    is_whole = after is None and wanted.types is None and wanted.since is None
    noted = _References(context, wanted, None) if is_whole else None
    if after is None or after[0] != SUPPORTING:
        place = Key(*after[1:]) if after and after[0] == MEMBER else None
        async for stored in _members(context, wanted, place, is_scan=False):
            if noted is not None:
                noted.note(stored)
            yield (MEMBER, *stored.key), stored
    place = Key(*after[1:]) if after and after[0] == SUPPORTING else None
    async for stored in _supporting(context, wanted, place, noted):
        yield (SUPPORTING, *stored.key), stored


async def _members(
    context: Context, wanted: Wanted, after: Key | None, *, is_scan: bool
) -> AsyncIterator[Stored]:
    """The members of the compartment, the focus left out; with `is_scan` those of every type and
    age, for what they refer to."""
    for type in sorted({*compartments()[wanted.compartment], wanted.compartment}):
        is_past = after is not None and type < after.type
        is_asked = type not in UNASKED if is_scan else wanted.has(type)
        if is_past or not is_asked or not context.access.permits(type, "s"):
            continue
        start = (after.id,) if after is not None and after.type == type else None
        where = _where(context, wanted, type, is_scan=is_scan)
        async for stored in every_match(
            context.store, Query(type, where, limit=BATCH, after=start)
        ):
            if wanted.focus is None or stored.key != wanted.focus.key:
                yield stored


async def every_match(store: ResourceStore | Transaction, query: Query) -> AsyncIterator[Stored]:
    """All matches of the query, read page by page."""
    while True:
        page = await store.find(query)
        for stored in page.matches:
            yield stored
        if page.next is None:
            return
        query = replace(query, after=page.next)


def _where(context: Context, wanted: Wanted, type: str, *, is_scan: bool) -> Expression:
    scope = Scope(context.registry, context.clock(), context.base_url)
    tests = [_membership(wanted, type), within(scope, type, wanted.start, wanted.end)]
    if wanted.since is not None and not is_scan:
        tests.append(criterion(scope, type, "_lastUpdated", f"ge{wanted.since}"))
    return all_of(tests)


def _membership(wanted: Wanted, type: str) -> Expression:
    if wanted.focus is not None:
        return compartment.members((wanted.focus.key.type, wanted.focus.key.id), type)
    if type == wanted.compartment:
        return all_of(())
    prefix = f"{wanted.compartment}/"
    codes = compartments()[wanted.compartment].get(type, ())
    end = terms.next_after(prefix)
    return any_of(HasRange(terms.key(type, code), prefix, end) for code in codes)


async def _supporting(
    context: Context, wanted: Wanted, after: Key | None, noted: "_References | None"
) -> AsyncIterator[Stored]:
    """What the members refer to and does not belong to any other patient."""
    while True:
        keys = (noted or await _read_again(context, wanted, after)).lowest()
        for start in range(0, len(keys), BATCH):
            known = await context.store.get_many(keys[start : start + BATCH])
            found = [known[key] for key in sorted(known)]
            for stored in (each for each in found if _supports(context, wanted, each)):
                yield stored
        if len(keys) < MOST_REFERENCES:
            return
        after, noted = keys[-1], None


async def _read_again(context: Context, wanted: Wanted, after: Key | None) -> "_References":
    noted = _References(context, wanted, after)
    async for stored in _members(context, wanted, None, is_scan=True):
        noted.note(stored)
    return noted


class _References:
    """The lowest keys after a place that the focus and the members refer to."""

    def __init__(self, context: Context, wanted: Wanted, after: Key | None) -> None:
        self._base = context.base_url.rstrip("/") + "/"
        self._wanted = wanted
        self._after = after
        self._found: set[Key] = set()
        if wanted.focus is not None:
            self.note(wanted.focus)

    def note(self, stored: Stored) -> None:
        """Add what the resource refers to."""
        for key in _named_in(stored.body, self._base):
            if self._wanted.has(key.type) and (self._after is None or key > self._after):
                self._found.add(key)
        if len(self._found) > 2 * MOST_REFERENCES:
            self._found = set(self.lowest())

    def lowest(self) -> list[Key]:
        """At most MOST_REFERENCES of them, in order."""
        return heapq.nsmallest(MOST_REFERENCES, self._found)


def _named_in(body: bytes, base: str) -> Iterator[Key]:
    """The resources of this server that a stored resource refers to by their place, and the
    Binary that an attachment is."""
    if _ESCAPED.search(body):
        body = encode(parse(body))
    for name, text in _REFERENCE.findall(body):
        type, _, rest = text.decode().removeprefix(base).partition("/")
        id = rest.partition("/_history/")[0]
        is_meant = name == b"reference" or type == "Binary"
        if is_meant and type in resource_types() and id and "/" not in id:
            yield Key(type, id)


def _supports(context: Context, wanted: Wanted, stored: Stored) -> bool:
    """Whether it goes with the record: it is no member itself, and belongs to no other patient."""
    if stored.is_deleted or not wanted.is_recent(stored):
        return False
    if stored.key.type in SHARED_TYPES:
        return True
    found = context.extract(parse(stored.body))
    if wanted.focus is not None and _is_member(wanted, stored.key, found):
        return False
    patients = patients_of(stored.key, found)
    return not patients or bool(patients & wanted.own_patients)


def _is_member(wanted: Wanted, key: Key, found: Terms) -> bool:
    focus = wanted.focus
    if focus is None or key == focus.key:
        return True
    codes = compartments()[wanted.compartment].get(key.type, ())
    names = {terms.key(key.type, code) for code in codes}
    return any(param in names and value == str(focus.key) for param, value in found.terms)


def patients_of(key: Key, found: Terms) -> frozenset[str]:
    """The patients, as references, to whom a resource with these terms belongs."""
    if key.type == "Patient":
        return frozenset({str(key)})
    names = {terms.key(key.type, code) for code in patient_parameters(key.type)}
    names |= {SECURITY_CONTEXT} if key.type == "Binary" else set()
    named = {value for param, value in found.terms if param in names}
    return frozenset(value for value in named if value.startswith("Patient/"))
