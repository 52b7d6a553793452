"""A patient's reports made with AI, newest first, as one line each."""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.fhir.recalls import is_recalled
from fhir_server.fhir.report_status import SIGNED
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import show_concept
from smart_app.presenters.times import show_time

AI_ASSERTED_CODE = "AIAST"
"""DiagnosticReport.status of what a clinician has signed."""


@dataclass(frozen=True)
class ReportLine:
    """One earlier report."""

    id: str
    title: str
    status: str
    is_signed: bool
    is_recalled: bool
    when: str
    conclusion: str


def report_status(report: Resource) -> str:
    """The watermark word for a DiagnosticReport: its status, or that it was recalled."""
    if is_recalled(report):
        return _("RECALLED")
    words = {
        "preliminary": _("PRELIMINARY"),
        "registered": _("PRELIMINARY"),
        "partial": _("PRELIMINARY"),
        "final": _("FINAL"),
        "amended": _("AMENDED"),
        "corrected": _("AMENDED"),
        "appended": _("AMENDED"),
        "cancelled": _("CANCELLED"),
        "entered-in-error": _("ENTERED IN ERROR"),
    }
    return words.get(report["status"], _("STATUS NOT KNOWN"))


def is_signed(report: Resource) -> bool:
    """Whether a clinician has signed the report."""
    return report["status"] in SIGNED


def made_with_ai(resource: Resource) -> bool:
    """Whether a resource is labelled as asserted by AI."""
    labels = resource.get("meta", {}).get("security", ())
    return any(label.get("code") == AI_ASSERTED_CODE for label in labels)


def report_lines(reports: Iterable[Resource]) -> tuple[ReportLine, ...]:
    """The reports made with AI, newest first."""
    chosen = [r for r in reports if made_with_ai(r)]
    chosen.sort(key=_when, reverse=True)
    return tuple(
        ReportLine(
            id=report["id"],
            title=show_concept(report.get("code")),
            status=report_status(report),
            is_signed=is_signed(report),
            is_recalled=is_recalled(report),
            when=show_time(_when(report)),
            conclusion=report.get("conclusion", ""),
        )
        for report in chosen
    )


def _when(report: Resource) -> str:
    return str(report.get("issued") or report.get("effectiveDateTime") or "")
