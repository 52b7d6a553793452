"""Patient home and the list of the patient's AI reports."""

import asyncio

from starlette.responses import Response

from fhir_server.fhir.assessment import ASSESSMENT, TASK_CODES
from smart_app.charts import load_banner
from smart_app.ehr.gaps import gap_lines
from smart_app.presenters.chart import open_tasks, vital_lines
from smart_app.presenters.history import report_lines
from smart_app.presenters.times import show_time
from smart_app.recalls import recall_lines, recalls_of_chart
from smart_app.sections import section
from smart_app.visit import Visit

VITALS_SHOWN = "60"


async def home(visit: Visit) -> Response:
    """S4: latest vital signs, running analyses, earlier reports; each loads by itself."""
    if visit.session.patient is None:
        return visit.see("patients")
    who, search = visit.patient, visit.fhir.search
    code = f"{TASK_CODES}|{ASSESSMENT['code']}"
    shown, vitals, tasks, reports, recalls = await asyncio.gather(
        load_banner(visit),
        section(
            search(
                "Observation",
                {"patient": who, "category": "vital-signs", "_sort": "-date",
                 "_count": VITALS_SHOWN},
            )
        ),
        section(search("Task", {"patient": who, "code": code})),
        section(search("DiagnosticReport", {"patient": who, "_sort": "-date"})),
        recalls_of_chart(visit),
    )  # fmt: skip
    recalled = recall_lines(visit, recalls.items)
    return await visit.page(
        "chart.html",
        banner=shown,
        vitals=vitals,
        vital_lines=vital_lines(vitals.items),
        tasks=tasks,
        open_tasks=open_tasks(tasks.items),
        reports=reports,
        lines=report_lines(reports.items)[:5],
        recalls=recalls,
        lines_recalled=[line for line in recalled if line.is_open],
        origin=visit.session.origin,
        copied=show_time(visit.session.origin.copied) if visit.session.origin else "",
        missing=gap_lines(visit.session.origin) if visit.session.origin else (),
        can_start=visit.allows("Task", "c") and visit.allows("Observation", "c"),
    )


async def history(visit: Visit) -> Response:
    """S14: all reports made with AI, newest first."""
    query = {"patient": visit.patient, "_sort": "-date"}
    shown, reports = await asyncio.gather(
        load_banner(visit), section(visit.fhir.search("DiagnosticReport", query))
    )
    return await visit.page(
        "history.html", banner=shown, reports=reports, lines=report_lines(reports.items)
    )
