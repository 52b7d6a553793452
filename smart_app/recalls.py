"""AI results that were recalled: the Tasks that ask a clinician to look again, as lines.

A recalled report bears a tag (fhir_server.fhir.recalls); why, and who is asked, stands in a Task.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.fhir.assessment import TASK_CODES
from fhir_server.fhir.recalls import RECALL_REVIEW
from smart_app.fhir_client import Resource
from smart_app.presenters.times import show_time
from smart_app.sections import Section, section
from smart_app.visit import Visit

CODE = f"{TASK_CODES}|{RECALL_REVIEW['code']}"


@dataclass(frozen=True)
class RecallLine:
    """One request to look again: which report, of which patient, why, since when, and whether the
    person at the screen is asked."""

    task: str
    report: str
    patient: str
    reason: str
    when: str
    is_open: bool
    is_own: bool


async def recalls_of_chart(visit: Visit) -> Section[Resource]:
    """The Tasks of this chart's patient."""
    return await section(visit.fhir.search("Task", {"patient": visit.patient, "code": CODE}))


async def recalls_of_user(visit: Visit) -> Section[Resource]:
    """The open Tasks of whoever signed in, over all patients that they may see."""
    if not visit.session.fhir_user:
        return Section("empty")
    query = {"owner": visit.session.fhir_user, "code": CODE, "status": "requested"}
    return await section(visit.fhir.search("Task", query))


def recall_lines(visit: Visit, tasks: Iterable[Resource]) -> tuple[RecallLine, ...]:
    """The Tasks as lines, the newest first."""
    chosen = sorted(tasks, key=lambda task: str(task.get("authoredOn", "")), reverse=True)
    return tuple(_line(visit, task) for task in chosen)


def _line(visit: Visit, task: Resource) -> RecallLine:
    return RecallLine(
        task=task["id"],
        report=_id(visit, task.get("focus")),
        patient=_id(visit, task.get("for")),
        reason=task.get("reasonCode", {}).get("text", ""),
        when=show_time(task.get("authoredOn")),
        is_open=task["status"] == "requested",
        is_own=task.get("owner", {}).get("reference") == visit.session.fhir_user,
    )


def _id(visit: Visit, reference: Resource | None) -> str:
    text = (reference or {}).get("reference", "")
    return visit.fhir.key(text)[1] if text else ""
