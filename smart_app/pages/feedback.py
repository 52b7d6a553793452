"""Feedback on the AI result of a signed report: given, or changed, by whoever signed it."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from fhir_server.fhir.feedback import AGREEMENTS, FEEDBACK_OF_REPORT, REASONS
from smart_app.auditing import audit_event
from smart_app.charts import LoadedReport, load_banner, load_report
from smart_app.feedback import (
    Feedback,
    amendment,
    feedback_observation,
    feedback_of,
    judged_in,
    read_feedback,
    reason_words,
)
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.pages.acting import signer
from smart_app.problems import Problem
from smart_app.reading import agreement_words, reading_key
from smart_app.signing import created
from smart_app.visit import Visit

MOST_COMMENT = 500


@dataclass(frozen=True)
class ShownFeedback:
    """The reader's own feedback in words, and whether they may change it."""

    words: str
    can_change: bool


def choices() -> dict[str, list[tuple[str, str]]]:
    """What the forms offer: agreements and reasons, each with its words."""
    return {
        "agreements": [(code, agreement_words(code)) for code in AGREEMENTS],
        "reasons": [(code, reason_words(code)) for code in REASONS],
    }


def chosen_reasons(visit: Visit) -> str:
    """The reasons ticked in the form, as one word each."""
    ticked = {str(value) for value in visit.form.getlist("reasons")}
    return " ".join(reason for reason in REASONS if reason in ticked)


async def feedback_shown(visit: Visit, loaded: LoadedReport) -> ShownFeedback | None:
    """What the signed report's page says to whoever signed it; None for everybody else, and where
    no AI gave an opinion."""
    if judged_in(loaded.results) is None or not _is_signer(visit, loaded.resource):
        return None
    stored = await _own(visit, loaded.resource)
    words = _("none yet") if stored is None else _words(read_feedback(stored))
    return ShownFeedback(words, visit.allows("Observation", "cu"))


async def show(visit: Visit) -> Response:
    """The form, filled with what was said before."""
    loaded = await _signed_by_reader(visit)
    return await _page(visit, loaded, await _own(visit, loaded.resource))


async def save(visit: Visit) -> Response:
    """Store the feedback, or its next version if it is still the one that the form showed."""
    loaded = await _signed_by_reader(visit)
    judged = judged_in(loaded.results)
    if judged is None:
        raise Problem("not-found")
    stored = await _own(visit, loaded.resource)
    if _version(stored) != visit.text("feedback_version"):
        raise Problem("conflict")
    fields = {
        "agreement": visit.text("agreement"),
        "reasons": chosen_reasons(visit),
        "comment": visit.text("comment")[:MOST_COMMENT],
    }
    said = feedback_of(fields)
    if said.lacks:
        return await _page(visit, loaded, stored, fields, said.lacks)
    await visit.fhir.transaction(_written(visit, loaded, judged, stored, said))
    return visit.see(f"reports/{loaded.view.id}")


def _written(
    visit: Visit, loaded: LoadedReport, judged: Resource, stored: Resource | None, said: Feedback
) -> Resource:
    who = signer(visit)
    event = audit_event("ai-feedback", loaded.resource, visit.patient, who)
    if stored is not None:
        return amendment(stored, said, who, event)
    first = created(feedback_observation(loaded.resource, judged, said, who))
    key = reading_key(loaded.resource, who.reference)
    first["request"]["ifNoneExist"] = f"identifier={FEEDBACK_OF_REPORT}|{key}"
    return {"resourceType": "Bundle", "type": "transaction", "entry": [first, created(event)]}


async def _page(
    visit: Visit,
    loaded: LoadedReport,
    stored: Resource | None,
    fields: dict[str, str] | None = None,
    missing: tuple[str, ...] = (),
) -> Response:
    values: dict[str, Any] = {"fields": fields or _fields(stored), "missing": missing}
    return await visit.page(
        "feedback.html",
        422 if missing else 200,
        banner=await load_banner(visit),
        report=loaded.view,
        version=_version(stored),
        **choices(),
        **values,
    )


async def _signed_by_reader(visit: Visit) -> LoadedReport:
    """The report; a Problem unless it is of this chart, signed, and by the reader."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if not loaded.view.is_signed or not _is_signer(visit, loaded.resource):
        raise Problem("not-permitted")
    if judged_in(loaded.results) is None:
        raise Problem("not-found")
    return loaded


def _is_signer(visit: Visit, report: Resource) -> bool:
    user = visit.session.fhir_user
    return any(each.get("reference") == user for each in report.get("resultsInterpreter", ()))


async def _own(visit: Visit, report: Resource) -> Resource | None:
    """The reader's feedback on the report, None when there is none."""
    key = reading_key(report, signer(visit).reference)
    query = {"patient": visit.patient, "identifier": f"{FEEDBACK_OF_REPORT}|{key}"}
    found = await visit.fhir.search("Observation", query)
    return found[0] if found else None


def _fields(stored: Resource | None) -> dict[str, str]:
    if stored is None:
        return {}
    said = read_feedback(stored)
    return {
        "agreement": said.agreement,
        "reasons": " ".join(said.reasons),
        "comment": said.comment,
    }


def _words(said: Feedback) -> str:
    words = [agreement_words(said.agreement)] if said.agreement in AGREEMENTS else []
    return "; ".join((*words, *map(reason_words, said.reasons), *filter(None, [said.comment])))


def _version(stored: Resource | None) -> str:
    return "" if stored is None else str(stored["meta"]["versionId"])
