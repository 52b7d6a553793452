"""A signed report to keep: as a PDF, or as FHIR (JSON). Downloads are logged before they start."""

import asyncio

from starlette.responses import Response

from fhir_server.fhir import codec
from smart_app.auditing import audit_event
from smart_app.charts import LoadedReport, load_banner, load_report
from smart_app.fhir_client import Resource
from smart_app.headers import PRIVATE
from smart_app.notices import load_notices
from smart_app.pages.acting import signer
from smart_app.pdf import CantPrint, report_pdf
from smart_app.problems import Problem
from smart_app.visit import Visit


async def download(visit: Visit) -> Response:
    """The report in the form asked for, as a file."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed:
        raise Problem("not-found")
    what = "pdf" if visit.text("what") == "pdf" else "json"
    made = (
        await _pdf(visit, loaded) if what == "pdf" else codec.encode(await _bundle(visit, loaded))
    )
    event = audit_event("download", loaded.resource, visit.patient, signer(visit))
    event["entity"][-1]["description"] = what
    await visit.fhir.create(event)
    types = {"pdf": "application/pdf", "json": "application/fhir+json"}
    headers = {
        **PRIVATE,
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="malaria-assessment.{what}"',
        "content-security-policy": "default-src 'none'; sandbox",
    }
    return Response(made, media_type=types[what], headers=headers)


async def _pdf(visit: Visit, loaded: LoadedReport) -> bytes:
    if loaded.missing:
        raise Problem("incomplete")
    try:
        banner, notices = await load_banner(visit), await load_notices(visit, loaded)
        return await asyncio.to_thread(report_pdf, banner, loaded.view, notices.texts)
    except CantPrint as problem:
        raise Problem("no-glyph", (" ".join(problem.characters),)) from problem


async def _bundle(visit: Visit, loaded: LoadedReport) -> Resource:
    """A collection of patient, report and results, under their addresses here."""
    if loaded.missing:
        raise Problem("incomplete")
    patient = await visit.fhir.read("Patient", visit.patient)
    base = visit.session.fhir_base.rstrip("/")
    entries = [
        {"fullUrl": f"{base}/{each['resourceType']}/{each['id']}", "resource": each}
        for each in (loaded.resource, patient, *loaded.results)
    ]
    now = visit.parts.clock().isoformat(timespec="milliseconds")
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": now.replace("+00:00", "Z"),
        "entry": entries,
    }
