"""The way of a signed report back to its record system: its state, and another try."""

from collections.abc import Sequence

from starlette.background import BackgroundTask
from starlette.responses import Response

from fhir_server.fhir.assessment import TASK_CODES
from smart_app.charts import load_report
from smart_app.ehr import outbox
from smart_app.ehr.sending import attach, send_report, sendable
from smart_app.fhir_client import Resource
from smart_app.launch.own_scopes import SENDING
from smart_app.pages.acting import now_of, signer
from smart_app.parts import Parts
from smart_app.presenters.sending import SendingView, sending_view
from smart_app.problems import Problem
from smart_app.sessions import Session
from smart_app.signing import Signer
from smart_app.visit import Visit


def types_to_send(visit: Visit) -> Sequence[str]:
    """What of a report this launch could send to its record system."""
    origin = visit.session.origin
    if origin is None:
        return ()
    return sendable(visit.parts.config.issuer(origin.fhir_base), origin.scope)


def task_for(visit: Visit, report: Resource, who: Signer) -> Resource | None:
    """The Task that sends the report; None where nothing may be sent."""
    origin, types = visit.session.origin, types_to_send(visit)
    if origin is None or not types:
        return None
    return outbox.about(outbox.sending_task(report["id"], origin, types, who), report)


async def state_of(visit: Visit, report_id: str) -> SendingView | None:
    """Where the report stands; None in a chart of our own."""
    origin = visit.session.origin
    if origin is None:
        return None
    task = await _task_of(visit, report_id)
    return sending_view(task, origin.name, types_to_send(visit))


async def send_again(visit: Visit) -> Response:
    """Ask for a signed report to be sent (again), with the permission of this launch."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed or visit.session.origin is None:
        raise Problem("not-found")
    who = signer(visit)
    task = await _task_of(visit, loaded.view.id)
    if task is None:
        wanted = task_for(visit, loaded.resource, who)
        if wanted is None:
            raise Problem("not-permitted")
        condition = f"identifier={outbox.SENDING_OF}|{loaded.view.id}"
        task = await visit.fhir.create(wanted, if_none_exist=condition)
    elif task["status"] == "failed":
        task = await visit.fhir.update(outbox.asked_again(task, now_of(visit)))
    response = visit.see(f"reports/{loaded.view.id}")
    if task["status"] == "requested":
        response.background = await sending(visit.parts, visit.session, task)
    return response


async def sending(parts: Parts, session: Session, task: Resource) -> BackgroundTask:
    """What sends a Task after the answer, with the tokens of this session."""
    await attach(parts, task["id"], session.grant)
    return BackgroundTask(send_report, parts, task)


async def sending_of(visit: Visit, report_id: str) -> BackgroundTask | None:
    """What sends a report that was just signed, after the answer; None where it is not to be."""
    if not types_to_send(visit):
        return None
    task = await _task_of(visit, report_id)
    return None if task is None else await sending(visit.parts, visit.session, task)


async def send_waiting(parts: Parts, session: Session) -> BackgroundTask | None:
    """What sends, after the answer, the reports of this chart that waited for a launch."""
    if session.origin is None or session.patient is None:
        return None
    query = {
        "patient": session.patient,
        "code": f"{TASK_CODES}|{SENDING}",
        "status": "requested",
    }
    waiting = await parts.in_chart(session.patient).search("Task", query)
    for task in waiting:
        await attach(parts, task["id"], session.grant)

    async def send() -> None:
        for task in waiting:
            await send_report(parts, task)

    return BackgroundTask(send) if waiting else None


async def _task_of(visit: Visit, report_id: str) -> Resource | None:
    query = {"patient": visit.patient, "identifier": f"{outbox.SENDING_OF}|{report_id}"}
    found = await visit.fhir.search("Task", query)
    return found[0] if found else None
