"""Emergency access whose time is over: taken away, and its end written down, behind the requests.
It counted no longer from the moment that it was over."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.emergencies import KIND, Emergency, emergency_from, end
from fhir_server.storage.port import ResourceStore, Transaction, VersionConflict

REST_SECONDS = 15.0
_log = structlog.get_logger("medsage.security")


@dataclass(frozen=True)
class EmergencyEnds:
    """`trail` writes in the server's own name."""

    store: ResourceStore
    clock: Callable[[], datetime]
    trail: AuditTrail

    async def run(self) -> None:
        """Look until cancelled; a failure is logged and tried again."""
        while True:
            try:
                await self.look()
            except VersionConflict:
                _log.info("another process was first to end emergency access")
            except Exception as failure:  # the next look makes up for it
                _log.error("ending emergency access failed", error=type(failure).__name__)
            await asyncio.sleep(REST_SECONDS)

    async def look(self) -> int:
        """End what is over; how many that were."""
        known = [emergency_from(record) for record in await self.store.records(KIND)]
        over = [each for each in known if each.until <= self.clock().timestamp()]
        return sum([await self._end(each) for each in over])

    async def _end(self, over: Emergency) -> bool:
        about = replace(self.trail, emergencies=frozenset({over.patient}))

        async def unit(transaction: Transaction) -> bool:
            if await end(transaction, over.id) is None:
                return False
            entry = about.entry(
                interaction="emergency-end",
                outcome="success",
                status=200,
                patient=over.patient,
                detail=f"the time of user {over.user} was over",
            )
            await transaction.journal(entry)
            return True

        return await self.store.transaction(unit)
