"""S13: report and prescription for paper. Printing is logged before the print view is shown."""

from starlette.responses import Response

from smart_app.auditing import audit_event
from smart_app.charts import LoadedReport, load_banner, load_prescription, load_report
from smart_app.notices import load_notices
from smart_app.pages.acting import signer
from smart_app.problems import Problem
from smart_app.visit import Visit

TICKET_SECONDS = 600


async def log_print(visit: Visit) -> Response:
    """Leave the AuditEvent of a print, then go to the print view."""
    what = "prescription" if visit.text("what") == "prescription" else "report"
    loaded = await load_report(visit, visit.request.path_params["report"])
    _require_permitted(loaded)
    event = audit_event("print", loaded.resource, visit.patient, signer(visit))
    event["entity"][-1]["description"] = what
    await visit.fhir.create(event)
    await visit.parts.sessions.store.put(_ticket(visit, what), b"1", TICKET_SECONDS)
    return visit.see(f"reports/{loaded.view.id}/print/{what}")


async def show(visit: Visit) -> Response:
    """The print view, for those who came by the logged way."""
    what, report_id = (visit.request.path_params[name] for name in ("what", "report"))
    if await visit.parts.sessions.store.get(_ticket(visit, what)) is None:
        return visit.see(f"reports/{report_id}")
    loaded = await load_report(visit, report_id)
    _require_permitted(loaded)
    prescribed = await load_prescription(visit, report_id) if what == "prescription" else None
    return await visit.page(
        f"print-{what}.html",
        banner=await load_banner(visit),
        report=loaded.view,
        prescribed=prescribed,
        notices=await load_notices(visit, loaded),
        printed=visit.parts.clock().isoformat(),
        printer=signer(visit),
    )


def _require_permitted(loaded: LoadedReport) -> None:
    """A draft that the patient does not permit any more is not shown, on paper neither."""
    if loaded.view.is_withdrawn:
        raise Problem("withdrawn")


def _ticket(visit: Visit, what: str) -> str:
    report = visit.request.path_params["report"]
    return f"print:{visit.session.sid}:{report}:{what}"
