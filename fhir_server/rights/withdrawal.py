"""A patient who withdraws consent, or whose record is restricted, while an analysis is open.

The guard keeps the record from the analysis with its next request. This tells those who wait for
it: open Tasks are cancelled with the reason, and drafts that nobody has signed are marked, until
the patient permits it again. It looks when the rules have changed, and at rest now and then, for
what was asked in the same moment.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.assessment import ASSESSMENT, FINDINGS, REPORT_OF_TASK
from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.fhir.withdrawn import is_withdrawn, marked_withdrawn, withdrawn_task
from fhir_server.interactions.write import Submission, draft, put
from fhir_server.operations.record import every_match
from fhir_server.search.expression import EVERYTHING, Expression, Query, all_of, any_of
from fhir_server.search.plan import Scope, criterion
from fhir_server.security.analysis import ANALYST, OPEN, Permissions, permissions, subjects_of
from fhir_server.security.consent_filter import of_patients
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import ResourceStore, Stored, Terms, Transaction, VersionConflict

Resource = dict[str, Any]
WAIT_SECONDS = 0.5
REST_SECONDS = 15.0
_TASK = f"{ASSESSMENT['system']}|{ASSESSMENT['code']}"
_BY_AI = (("code", f"{FINDINGS}|malaria-assessment-ai"), ("identifier", f"{REPORT_OF_TASK}|"))
"""By either a report is that of an analysis; a further model's has a code of its own."""
_AT_ONCE = 200
_NEW = timedelta(seconds=180)
"""How long a draft is new: longer than a transaction lasts (90 s), the clocks of two processes lie
apart (30) and the looks at rest do."""
_log = structlog.get_logger("medsage.rights")


@dataclass
class Withdrawals:
    """`audit` writes in the server's own name; `scope()` is what searches are planned in."""

    store: ResourceStore
    extract: Callable[[Resource], Terms]
    scope: Callable[[], Scope]
    clock: Callable[[], datetime]
    audit: AuditTrail
    rulebook: Rulebook
    tenant: None = field(default=None, init=False)
    writer: None = field(default=None, init=False)
    _told: Permissions | None = field(default=None, init=False)
    """What patients said when it was last looked at; None: never yet."""

    async def run(self) -> None:
        """Look until cancelled; a failure is logged and tried again."""
        seen: tuple[int, int] | None = None
        waited = REST_SECONDS
        while True:
            try:
                rules = await self.rulebook.rules()
                now = (rules.revision, rules.span(self.clock()))
                if now != seen or waited >= REST_SECONDS:
                    await self.look()
                    seen, waited = now, 0.0
            except VersionConflict:
                _log.info("another process was first to tell of a withdrawal")
            except Exception as failure:  # the next look makes up for it
                _log.error("telling of withdrawals failed", error=type(failure).__name__)
            await asyncio.sleep(WAIT_SECONDS)
            waited += WAIT_SECONDS

    async def look(self) -> int:
        """Cancel and mark what is open of patients who refuse; how many resources changed. Of
        Tasks, all that are open are looked at; of drafts, all at first and then those of patients
        who have changed what they say, and the newest: one may have been judged by the rules
        before, and stored after they were looked at."""
        said = permissions(await self.rulebook.of(ANALYST), self.scope().registry)
        changed = 0
        async for stored in self._found("Task", ("code", _TASK), ("status", ",".join(OPEN))):
            task = parse(stored.body)
            if said.refuse(self._patients(stored, task)):
                changed += await self._change(stored, withdrawn_task(task, self.clock()))
        async for stored in self._drafts(said):
            report = parse(stored.body)
            is_refused = said.refuse(self._patients(stored, report))
            if is_refused != is_withdrawn(report):
                changed += await self._change(stored, marked_withdrawn(report, is_refused))
        self._told = said
        return changed

    def _patients(self, stored: Stored, resource: Resource) -> frozenset[str]:
        """The ids of those whom it is about."""
        return subjects_of(stored.key.type, self.extract(resource))

    async def _drafts(self, said: Permissions) -> AsyncIterator[Stored]:
        by_ai = any_of(criterion(self.scope(), "DiagnosticReport", *each) for each in _BY_AI)
        draft = ("status", "preliminary")
        if self._told is None:
            async for stored in self._found("DiagnosticReport", draft, of=by_ai):
                yield stored
            return
        ids = sorted(said.changed_since(self._told))
        for start in range(0, len(ids), _AT_ONCE):
            some = of_patients("DiagnosticReport", ids[start : start + _AT_ONCE])
            async for stored in self._found("DiagnosticReport", draft, of=all_of([by_ai, some])):
                yield stored
        newest = ("_lastUpdated", f"ge{instant(self.clock() - _NEW)}")
        async for stored in self._found("DiagnosticReport", draft, newest, of=by_ai):
            yield stored

    async def _found(
        self, type: str, *criteria: tuple[str, str], of: Expression = EVERYTHING
    ) -> AsyncIterator[Stored]:
        scope = self.scope()
        where = all_of([of, *(criterion(scope, type, name, value) for name, value in criteria)])
        async for stored in every_match(self.store, Query(type, where, limit=_AT_ONCE)):
            yield stored

    async def _change(self, judged: Stored, wanted: Resource) -> bool:
        """Write it unless the resource has changed since; the newer one is judged by itself."""

        async def unit(transaction: Transaction) -> bool:
            current = await transaction.get(judged.key)
            if current is None or current.version != judged.version:
                return False
            made = draft(self, Submission(judged.key, wanted, encode(wanted), "PUT"), current)
            await put(transaction, made)
            entry = self.audit.entry(
                interaction="update",
                outcome="success",
                status=200,
                key=judged.key,
                version=made.stored.version,
                patient=next(iter(self._patients(judged, wanted)), None),
                detail="the patient's consent or a restriction of processing has changed",
            )
            await transaction.journal(entry)
            return True

        return await self.store.transaction(unit)
