"""What the pages of a chart load from FHIR: banner, reports with their results, prescriptions."""

import asyncio
from dataclasses import dataclass

from fhir_server.fhir.assessment import BLOOD_GROUP, FINDINGS, LOINC, VITAL_SIGNS
from fhir_server.fhir.drawings import drawing_of
from smart_app.ehr.gaps import PARTLY
from smart_app.fhir_client import UNREADABLE, FhirFailure, Resource
from smart_app.language import gettext as _
from smart_app.prescribing import DECISION
from smart_app.presenters.drawings import ImageDrawings, image_drawings
from smart_app.presenters.patient import Banner, banner
from smart_app.presenters.prescription import PrescriptionView, prescription_view
from smart_app.presenters.report import ReportView, report_view
from smart_app.sections import section
from smart_app.visit import Visit


async def load_banner(visit: Visit) -> Banner:
    """The banner of the chart; only the Patient itself must be readable. Problem `kept-back` when
    the chart, which was there when it was opened, is not any more."""
    who = visit.patient
    weight = f"{LOINC}|{VITAL_SIGNS['weight'].loinc}"
    codes = f"{weight},{LOINC}|{BLOOD_GROUP['code']}"
    search = visit.fhir.search
    patient, allergies, observations = await asyncio.gather(
        visit.chart(),
        section(_allergies(visit)),
        section(search("Observation", {"patient": who, "code": codes, "_sort": "-date"})),
    )
    return banner(patient, allergies, observations, today=visit.parts.clock().date())


async def _allergies(visit: Visit) -> list[Resource]:
    """The allergies. Where they could not be copied, an empty list would say that there are none:
    the record system's own refusal is told instead."""
    gaps = dict(visit.session.origin.gaps) if visit.session.origin else {}
    gap = gaps.get("AllergyIntolerance")
    if gap is None:
        return await visit.fhir.search("AllergyIntolerance", {"patient": visit.patient})
    if gap != PARTLY:
        raise FhirFailure(403 if gap == "forbidden" else UNREADABLE)
    found = await visit.fhir.search("AllergyIntolerance", {"patient": visit.patient})
    return [*found, {"code": {"text": _("others that could not be copied: look at the chart")}}]


@dataclass(frozen=True)
class LoadedReport:
    """A report as stored and as shown; `missing` counts results that could not be loaded."""

    resource: Resource
    view: ReportView
    missing: int
    results: tuple[Resource, ...]


async def load_report(visit: Visit, report_id: str) -> LoadedReport:
    """A report of this chart with its results and images."""
    report = await visit.own("DiagnosticReport", report_id)
    results = [r["reference"] for r in report.get("result", ()) if "reference" in r]
    sent = (m for m in report.get("media", ()) if drawing_of(m) is None)
    media = [m["link"]["reference"] for m in sent]
    found = await asyncio.gather(*(_try_read(visit, ref) for ref in [*results, *media]))
    observations = [r for r in found[: len(results)] if r is not None]
    images = [r for r in found[len(results) :] if r is not None]
    missing = sum(r is None for r in found)
    view = report_view(report, observations, images)
    return LoadedReport(report, view, missing, tuple(observations))


async def load_drawings(visit: Visit, loaded: LoadedReport) -> tuple[ImageDrawings, ...]:
    """What the AI drew of the report's images; what can't be read is left out."""
    entries = loaded.resource.get("media", ())
    drawn = [m["link"]["reference"] for m in entries if drawing_of(m) is not None]
    found = await asyncio.gather(*(_try_read(visit, reference) for reference in drawn))
    images = [image.media for image in loaded.view.images]
    return image_drawings([media for media in found if media is not None], images)


async def _try_read(visit: Visit, reference: str) -> Resource | None:
    try:
        return await visit.fhir.read_reference(reference)
    except FhirFailure as failure:
        if failure.status == 0:
            raise
        return None


async def load_prescription(visit: Visit, report_id: str) -> PrescriptionView:
    """What was prescribed after a report of this chart."""
    who = visit.patient
    decision = {"patient": who, "code": f"{FINDINGS}|{DECISION}", "_sort": "-date"}
    requests, decisions = await asyncio.gather(
        visit.fhir.search("MedicationRequest", {"patient": who}),
        visit.fhir.search("Observation", decision),
    )
    return prescription_view(requests, decisions, report_id)
