"""A unit's transaction under the guard: the old and the new version of every write are checked."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NoReturn

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import FhirError, error, forbidden, not_found
from fhir_server.fhir.withdrawn import NOT_PERMITTED
from fhir_server.search.expression import EVERYTHING, NOTHING, Expression, Query
from fhir_server.security.access import OPEN_ACCESS, Access
from fhir_server.security.analysis import is_open_analysis, subjects_of
from fhir_server.security.consent_filter import patient_keys
from fhir_server.security.consents import is_in_force, read_consent
from fhir_server.security.judge import Judge
from fhir_server.security.labels import bears_restricted
from fhir_server.security.rule_state import change, note_labelled
from fhir_server.security.scopes import Action
from fhir_server.security.subscribers import TYPE, note_owner
from fhir_server.security.visibility import passes
from fhir_server.storage.port import (
    Draft,
    HistoryPage,
    Key,
    Page,
    Past,
    Record,
    Stored,
    Terms,
    Transaction,
)

APPEND_ONLY = frozenset({"AuditEvent"})
OFFERED_RECORDS = frozenset({"commit", "idempotency"})
"""Kinds of records that interactions keep; they name resources, and say nothing of them."""
_SUPPRESSED = (
    "The patient's consent, or a restriction of processing, does not permit the writing of this"
)
WRITING: tuple[Action, ...] = ("u", "d")


def not_offered(what: str) -> NoReturn:
    """Raise: interactions of a caller have no business with this part of the store."""
    raise RuntimeError(f"the guarded store does not offer {what} to a caller")


class GuardedTransaction:
    """A Transaction for one caller. Call `finish` at the end of the unit: it judges the new
    versions, which may depend on others written in the same unit."""

    def __init__(self, transaction: Transaction, judge: Judge) -> None:
        self._inner = transaction
        self._judge = judge
        self._written: list[tuple[Key, Action, Terms]] = []
        self._labelled: set[str] = set()
        self._consents: set[str] = set()
        self._analysed: set[str] = set()

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        """As the store's; what the caller may write but not read comes without its body."""
        found = await self._judge.readable(self._inner, key, version)
        if found is not None:
            return found
        for action in WRITING:
            view = self._judge.access.filter(key.type, action)
            if await self._judge.sees_current(self._inner, key, view):
                hidden = await self._inner.get(key, version)
                return hidden and replace(hidden, body=b"")
        return None

    async def find(self, query: Query) -> Page:
        return await self._inner.find(self._judge.narrowed(query))

    async def count(self, query: Query) -> int:
        return await self._inner.count(self._judge.narrowed(query))

    async def history(self, past: Past) -> HistoryPage:
        not_offered("history inside a unit")

    async def put(self, draft: Draft, expected: int) -> None:
        """FhirError 403 for what the caller may not write, 404 for what it can't see."""
        stored = draft.stored
        action = _action(stored)
        view = self._judge.access.filter(stored.key.type, action)
        if view == NOTHING:
            raise forbidden(f"No permission to write {stored.key.type} ({action})")
        if stored.key.type in APPEND_ONLY and (expected or stored.is_deleted):
            raise forbidden(f"{stored.key.type} can't be changed or deleted")
        if view != EVERYTHING:
            await self._check_old(stored.key, action, expected, view)
            if not stored.is_deleted:
                self._written.append((stored.key, action, draft.terms))
        self._note_rules(draft)
        self._note_analysis(draft)
        await self._inner.put(draft, expected)
        if stored.key.type == TYPE:
            await note_owner(self._inner, self._judge.access, stored)

    async def keep(self, stored: Stored) -> None:
        """FhirError 403 for what the caller may not write, 404 for what it can't see."""
        key = stored.key
        view = self._judge.access.filter(key.type, "u")
        if view == NOTHING:
            raise forbidden(f"No permission to write {key.type} (u)")
        if key.type in APPEND_ONLY:
            raise forbidden(f"{key.type} can't be changed or deleted")
        if view != EVERYTHING:
            await self._check_old(key, "u", stored.version, view)
        await self._inner.keep(stored)
        if key.type == TYPE:
            await note_owner(self._inner, self._judge.access, stored)

    async def finish(self) -> None:
        """FhirError 403 unless each new version lies within what the caller may write; 422 for an
        analysis that the patient does not permit, told to those alone who may see the patient.
        What changes the rules of access is known to every process with the commit."""
        for key, action, terms in self._written:
            if not await self._passes(self._judge.access, key.type, action, terms):
                raise await self._outside(key.type, action, terms)
        if self._analysed:
            refused = filter(self._judge.access.analysis.refuses, self._analysed)
            if await self._seen(list(refused)):
                raise error(422, "suppressed", NOT_PERMITTED, "Task.for")
        if self._labelled:
            await note_labelled(self._inner, self._labelled)
        if self._consents:
            await change(self._inner, consents=sorted(self._consents))

    async def reserve(self, name: str) -> None:
        await self._inner.reserve(name)

    async def journal(self, entry: bytes) -> None:
        await self._inner.journal(entry)

    async def record(self, kind: str, id: str) -> Record | None:
        if kind not in OFFERED_RECORDS:
            not_offered(f"records of the kind {kind}")
        return await self._inner.record(kind, id)

    async def put_record(self, record: Record, expected: int | None = None) -> None:
        if record.kind not in OFFERED_RECORDS:
            not_offered(f"records of the kind {record.kind}")
        await self._inner.put_record(record, expected)

    async def delete_record(self, kind: str, id: str) -> None:
        not_offered("records")

    async def put_terms(self, key: Key, version: int, terms: Terms) -> None:
        not_offered("indexing")

    async def forget(self, key: Key) -> None:
        not_offered("forgetting")

    async def seal(self, positions: Sequence[str]) -> None:
        not_offered("the audit journal")

    async def _passes(self, access: Access, type: str, action: Action, terms: Terms) -> bool:
        return await passes(access.filter(type, action), terms, self._inner.find)

    async def _outside(self, type: str, action: Action, terms: Terms) -> FhirError:
        """Why the caller may not write it. That it is for what a patient said is told to those
        alone who may see all patients whom it names."""
        keys = patient_keys(type)
        named = [value for param, value in terms.terms if param in keys]
        ids = [each.removeprefix("Patient/") for each in named if each.startswith("Patient/")]
        patients = frozenset(id for id in ids if "/" not in id)
        is_told = bool(patients) and await self._seen(patients) == patients
        if is_told and await self._passes(self._judge.access.unconsented, type, action, terms):
            return error(403, "suppressed", f"{_SUPPRESSED} {type} by this caller")
        return forbidden(f"This {type} lies outside what the caller may write")

    async def _seen(self, patients: Collection[str]) -> frozenset[str]:
        """Those of the patients (ids) whom the caller may see."""
        keys = [Key("Patient", id) for id in patients]
        found = [await self._judge.readable(self._inner, key, None) for key in keys]
        return frozenset(each.key.id for each in found if each is not None)

    def _note_analysis(self, draft: Draft) -> None:
        stored = draft.stored
        is_task = stored.key.type == "Task" and not stored.is_deleted
        if is_task and is_open_analysis(parse(stored.body)):
            self._analysed |= subjects_of("Task", draft.terms)

    def _note_rules(self, draft: Draft) -> None:
        """FhirError 422 for a Consent that would not be honoured. With open access none is, and
        any may be kept."""
        stored = draft.stored
        if bears_restricted(stored.key.type, draft.terms.terms):
            self._labelled.add(stored.key.type)
        if stored.key.type == "Consent":
            self._consents.add(stored.key.id)
            if self._judge.access is OPEN_ACCESS or stored.is_deleted:
                return
            if is_in_force(resource := parse(stored.body)):
                read_consent(resource)

    async def _check_old(self, key: Key, action: Action, expected: int, view: Expression) -> None:
        if not expected:
            # An id of the caller's choice would tell whether somebody else's resource has it.
            if action != "c":
                raise not_found(key)
            return
        if await self._judge.sees_current(self._inner, key, view):
            return
        if await self._judge.readable(self._inner, key, None) is None:
            raise not_found(key)
        raise forbidden(f"{key} lies outside what the caller may write")


def _action(stored: Stored) -> Action:
    """SMART 2.2: an update that creates is still an update."""
    match stored.method:
        case "POST":
            return "c"
        case "PUT":
            return "u"
        case "DELETE":
            return "d"
    raise ValueError(f"method {stored.method!r}")
