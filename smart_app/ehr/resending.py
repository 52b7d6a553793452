"""Reports that wait are sent when their time has come, after a restart too: the Tasks say which."""

import asyncio
import logging

from fhir_server.fhir.assessment import TASK_CODES
from smart_app.ehr import outbox
from smart_app.ehr.sending import send_report
from smart_app.fhir_client import FhirFailure
from smart_app.launch.own_scopes import SENDING, sending_access
from smart_app.parts import Parts
from smart_app.problems import Problem

log = logging.getLogger("medsage.app")
POLL_SECONDS = 20.0


async def send_forever(parts: Parts) -> None:
    """Until it is cancelled: look for what is due, send it, rest."""
    while True:
        if any(not issuer.is_own for issuer in parts.config.all_issuers):
            await send_due(parts)
        await asyncio.sleep(POLL_SECONDS)


async def send_due(parts: Parts) -> int:
    """Send what is due now; how many that was."""
    own = parts.in_own_name(sending_access())
    query = {"code": f"{TASK_CODES}|{SENDING}", "status": "requested,in-progress"}
    try:
        found = await own.search("Task", query)
    except FhirFailure as failure:
        log.warning("waiting reports can't be listed: %s", failure.status)
        return 0
    due = [task for task in found if outbox.is_due(task, parts.clock())]
    for task in due:
        try:
            await send_report(parts, task)
        except Problem as problem:  # what it needs can't be had now: it stays due
            log.warning("a report waits: %s", problem.cause)
    return len(due)
