"""S5 and S7: what the clinician knows, then check the answers and start the analysis."""

import asyncio
from dataclasses import replace

from starlette.responses import JSONResponse, Response

from fhir_server import spans
from fhir_server.fhir.assessment import (
    CANONICAL,
    HISTORY_CODES,
    SYMPTOM_CODES,
    TRAVEL_DATES,
    VITAL_SIGNS,
    Image,
    Intake,
    Parties,
    submission,
)
from smart_app.charts import load_banner
from smart_app.drafts import Draft, Submissions
from smart_app.ehr.quota import take_one
from smart_app.fhir_client import FhirFailure, Resource
from smart_app.presenters.body_size import CONFIRM_SIZE
from smart_app.presenters.intake import IntakeView, intake_view
from smart_app.presenters.uploads import cell_count
from smart_app.problems import Problem
from smart_app.visit import Visit

SUBMISSION = f"{CANONICAL}/identifier/submission"
FIELDS = (
    *VITAL_SIGNS,
    *(f"confirm_{name}" for name in VITAL_SIGNS),
    CONFIRM_SIZE,
    *SYMPTOM_CODES,
    *HISTORY_CODES,
    *TRAVEL_DATES,
    "blood_group",
    "symptoms_text",
    "onset",
)


async def show(visit: Visit) -> Response:
    """The form, as far as it was filled in before."""
    draft = await visit.drafts.intake(visit.parts.new_id())
    return await _form(visit, draft, 200)


async def save(visit: Visit) -> Response:
    """Keep the answers; go on to the images when nothing needs correcting."""
    draft = await _kept(visit)
    if (await _view(visit, draft)).problems:
        return await _form(visit, draft, 422)
    return visit.see("images")


async def autosave(visit: Visit) -> Response:
    """Keep the answers as they are, for the script that saves while typing."""
    await _kept(visit)
    return JSONResponse({"saved": visit.parts.clock().isoformat(timespec="seconds")})


async def check(visit: Visit) -> Response:
    """All answers on one page, each with a way back to change it."""
    draft = await visit.drafts.intake(visit.parts.new_id())
    return await _check(visit, draft, 200)


async def start(visit: Visit) -> Response:
    """Send the assessment as one transaction; a double click finds the first one's Task."""
    submissions = Submissions(visit.parts.sessions, visit.session.sid)
    known = await submissions.task_of(visit.text("draft"))
    if known is not None:
        return visit.see(f"tasks/{known}")
    draft = await visit.drafts.intake(visit.parts.new_id())
    if draft.id != visit.text("draft"):
        raise Problem("bad-form")
    view = await _view(visit, draft)
    confirmed = not draft.images or visit.text("confirm_slides") == "yes"
    if view.problems or not (draft.images or view.says_something) or not confirmed:
        return await _check(visit, draft, 422)
    if not await submissions.claim(draft):
        return visit.see("check")
    try:
        most = visit.parts.config.analyses_an_hour
        await take_one(visit.parts.sessions.store, visit.session, most)
        task = await _send(visit, draft, view)
    finally:
        await submissions.release(draft)
    await submissions.sent(draft, task)
    return visit.see(f"tasks/{task}")


async def _kept(visit: Visit) -> Draft:
    draft = await visit.drafts.intake(visit.parts.new_id())
    fields = {name: visit.text(name)[:5000] for name in FIELDS if visit.text(name)}
    changed = replace(draft, fields=fields)
    await visit.drafts.keep(changed)
    return changed


async def _view(visit: Visit, draft: Draft) -> IntakeView:
    born = (await visit.chart()).get("birthDate")
    return intake_view(draft.fields, today=visit.parts.clock().date(), born=born)


async def _form(visit: Visit, draft: Draft, status: int) -> Response:
    banner, view = await asyncio.gather(load_banner(visit), _view(visit, draft))
    return await visit.page("intake.html", status, banner=banner, view=view)


async def _check(visit: Visit, draft: Draft, status: int) -> Response:
    banner, view = await asyncio.gather(load_banner(visit), _view(visit, draft))
    return await visit.page(
        "check.html",
        status,
        banner=banner,
        view=view,
        draft=draft,
        count=cell_count(draft, visit.parts.config.cell_check),
        is_enough=bool(draft.images or view.says_something),
        was_refused=status != 200,
    )


async def _send(visit: Visit, draft: Draft, view: IntakeView) -> str:
    session = visit.session
    images = []
    for image in draft.images:
        content = await visit.drafts.content(image.id)
        if content is None:
            raise Problem("bad-form", (image.title,))
        images.append(Image(content, image.content_type, image.title))
    intake = Intake(
        authored=visit.parts.clock(),
        vitals=view.measured,
        blood_group=view.blood_group or None,
        symptoms=view.answers,
        symptoms_text=view.text,
        onset=view.onset or None,
        images=images,
        history=view.told,
        travel=view.travel_days,
        trace=spans.current(),
    )
    parties = Parties(
        patient=f"Patient/{visit.patient}",
        requester=session.fhir_user,
        encounter=f"Encounter/{session.encounter}" if session.encounter else None,
    )
    bundle = submission(intake, parties, visit.parts.new_id)
    return await _store_once(visit, bundle, draft.id)


async def _store_once(visit: Visit, bundle: Resource, draft_id: str) -> str:
    """Store a submission once, even when an earlier try ended after the commit; the Task's id."""
    identifier = {"system": SUBMISSION, "value": draft_id}
    query = {"identifier": f"{SUBMISSION}|{draft_id}", "patient": visit.patient}
    earlier = await visit.fhir.search("Task", query)
    if earlier:
        return str(earlier[0]["id"])
    bundle["entry"][-1]["resource"]["identifier"] = [identifier]
    answer = await visit.fhir.transaction(bundle)
    location = answer["entry"][-1]["response"].get("location", "")
    segments = location.split("/_history/")[0].split("/")
    if segments[-2:-1] != ["Task"]:
        raise FhirFailure(500, (("the answer to the submission names no Task", ""),))
    return str(segments[-1])
