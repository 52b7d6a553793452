"""S16: cases that two readers read differently get a third one, who decides (ADR 0022, 0034)."""

from starlette.responses import Response

from smart_app.adjudicating import Queue, has_read, load_case, load_queue, store
from smart_app.charts import LoadedReport, load_banner, load_report
from smart_app.governing import require_governance
from smart_app.pages.acting import now_of, signer
from smart_app.pages.start import bound_to
from smart_app.presenters.report import finding
from smart_app.problems import Problem
from smart_app.reading import SMEAR_ANSWERS, answer_words
from smart_app.sections import section
from smart_app.visit import Visit


async def queue(visit: Visit) -> Response:
    """The cases that wait for a third reader, from the newest reports on; `from` goes on where
    another page ended."""
    require_governance(visit)
    start = visit.request.query_params.get("from", "")

    async def asked() -> list[Queue]:
        return [await load_queue(visit, start)]

    found = await section(asked())
    queue = next(iter(found.items), None)
    return await visit.page("adjudication.html", found=found, queue=queue, is_first=not start)


async def open_case(visit: Visit) -> Response:
    """Open the chart of a case as a session of its own, at the page that asks for the reading."""
    require_governance(visit)
    patient = await visit.fhir.read("Patient", visit.text("patient"))
    session = bound_to(visit.session, patient["id"])
    await visit.parts.sessions.open(session)
    report = visit.fhir.key(f"DiagnosticReport/{visit.text('report')}")[1]
    opened = Visit(visit.parts, visit.request, session, visit.fhir)
    return opened.see(f"reports/{report}/adjudicate")


async def show(visit: Visit) -> Response:
    """The images and the question; after the own reading, what all readers said."""
    require_governance(visit)
    return await _show(visit, await _signed(visit), is_missing=False)


async def save(visit: Visit) -> Response:
    """Store the third reading."""
    require_governance(visit)
    loaded = await _signed(visit)
    case, _readings = await load_case(visit, loaded.resource)
    signer(visit)  # refuses whoever is nobody that a reading could name
    if has_read(visit, case) or not visit.allows("Observation", "c"):
        raise Problem("not-permitted")
    if not case.waits_for_third:
        raise Problem("conflict")
    answer = visit.text("reading")
    if not answer:
        return await _show(visit, loaded, is_missing=True)
    if answer not in SMEAR_ANSWERS:
        raise Problem("bad-form")
    await store(visit, loaded.resource, answer, now_of(visit))
    return visit.see(f"reports/{loaded.view.id}/adjudicate")


async def _signed(visit: Visit) -> LoadedReport:
    """The report; before it is signed, first readings are still being made."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed or not loaded.view.images:
        raise Problem("not-found")
    return loaded


async def _show(visit: Visit, loaded: LoadedReport, *, is_missing: bool) -> Response:
    case, readings = await load_case(visit, loaded.resource)
    is_reader = has_read(visit, case)
    return await visit.page(
        "adjudicate.html",
        422 if is_missing else 200,
        banner=await load_banner(visit),
        report=loaded.view,
        is_missing=is_missing,
        has_read=is_reader,
        is_asked=case.waits_for_third and not is_reader,
        # Who has not read it yet sees nothing that others said of it.
        said=[finding(reading) for reading in readings] if is_reader else [],
        is_settled=case.label is not None,
        waits=case.waits_for_third,
        answers=[(code, answer_words(code)) for code in SMEAR_ANSWERS],
    )
