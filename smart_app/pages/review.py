"""S9 and S11: own reading first, then the AI result; edit the conclusion; sign."""

from collections.abc import Mapping

from starlette.responses import Response

from smart_app.auditing import audit_event
from smart_app.charts import LoadedReport, load_banner, load_drawings, load_report
from smart_app.feedback import feedback_observation, feedback_of, judged_in
from smart_app.fhir_client import Resource
from smart_app.launch.keys import signature_over
from smart_app.notices import load_notices
from smart_app.pages.acting import now_of, signer
from smart_app.pages.feedback import MOST_COMMENT, choices, chosen_reasons, feedback_shown
from smart_app.pages.sending import sending_of, state_of, task_for
from smart_app.presenters.report import Finding, ReportView, finding
from smart_app.problems import Problem
from smart_app.reading import (
    READING_OF_REPORT,
    agreement_words,
    answer_words,
    answers_for,
    final_finding,
    first_reading,
    reading_key,
)
from smart_app.signing import (
    Signer,
    final_report,
    signature_provenance,
    signed_transaction,
)
from smart_app.visit import Visit

MOST_TEXT = 8000


async def show(visit: Visit) -> Response:
    """The report: signed as it stands, or for review in its two steps."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if loaded.view.is_signed:
        banner = await load_banner(visit)
        return await visit.page(
            "report.html",
            banner=banner,
            report=loaded.view,
            loaded=loaded,
            notices=await load_notices(visit, loaded),
            drawn=await load_drawings(visit, loaded),
            sending=await state_of(visit, loaded.view.id),
            feedback=await feedback_shown(visit, loaded),
        )
    return await _review(visit, loaded)


async def read_first(visit: Visit) -> Response:
    """Store the clinician's own reading; it is locked from then on."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if loaded.view.is_withdrawn:
        raise Problem("withdrawn")
    if loaded.view.is_further:
        raise Problem("further")
    reader = signer(visit).reference
    answer = visit.text("reading") or None
    if visit.text("bypass") == "yes" and loaded.view.is_danger:
        answer = None
    elif answer is None:
        return await _review(visit, loaded, "reading")
    elif answer not in answers_for(loaded.view.images):
        raise Problem("bad-form")
    observation = first_reading(loaded.resource, reader, answer, now_of(visit))
    key = reading_key(loaded.resource, reader)
    await visit.fhir.create(observation, if_none_exist=f"identifier={READING_OF_REPORT}|{key}")
    return visit.see(f"reports/{loaded.view.id}")


async def save(visit: Visit) -> Response:
    """Keep the edited conclusion and choices, and go on to signing."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    fields = {
        name: visit.text(name)[:MOST_TEXT]
        for name in ("conclusion", "finding", "agreement", "acknowledged")
    }
    fields |= {"reasons": chosen_reasons(visit), "comment": visit.text("comment")[:MOST_COMMENT]}
    await visit.drafts.keep_conclusion(loaded.view.id, fields)
    if visit.request.headers.get("accept") == "application/json":
        return Response(status_code=204)
    if await _own_reading(visit, loaded.resource) is None:
        return visit.see(f"reports/{loaded.view.id}")
    missing = _missing(loaded, fields)
    if missing:
        return await _review(visit, loaded, *missing)
    return visit.see(f"reports/{loaded.view.id}/sign")


async def ask(visit: Visit) -> Response:
    """The page that asks for the signature: who, whom, and what."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    return await _ask(visit, loaded, 200)


async def sign(visit: Visit) -> Response:
    """Sign: report, finding, Provenance and AuditEvent in one transaction."""
    loaded = await load_report(visit, visit.request.path_params["report"])
    if loaded.view.is_recalled:
        raise Problem("recalled")
    if loaded.view.is_withdrawn:
        raise Problem("withdrawn")
    if loaded.view.is_further:
        raise Problem("further")
    if loaded.view.is_signed or visit.text("version") != loaded.view.version:
        raise Problem("conflict")
    if visit.text("examined") != "yes":
        return await _ask(visit, loaded, 422)
    fields = await visit.drafts.conclusion(loaded.view.id)
    reading = await _own_reading(visit, loaded.resource)
    if _missing(loaded, fields) or reading is None:
        return visit.see(f"reports/{loaded.view.id}")
    bundle = _signed(visit, loaded, reading, fields)
    response = visit.see(f"reports/{loaded.view.id}")
    await visit.fhir.transaction(bundle)
    response.background = await sending_of(visit, loaded.view.id)
    return response


def _signed(
    visit: Visit, loaded: LoadedReport, reading: Resource, fields: Mapping[str, str]
) -> Resource:
    who, report = signer(visit), loaded.resource
    url = f"urn:uuid:{visit.parts.new_id()}"
    with_reading = {
        **report,
        "result": [
            *report.get("result", ()),
            {"reference": f"Observation/{reading['id']}"},
        ],
    }
    chosen = final_finding(report, who.reference, fields, who.when)
    final = final_report(with_reading, who, chosen, conclusion=fields["conclusion"], url=url)
    issuer = visit.parts.config.issuer(visit.session.fhir_base)
    if issuer is None or issuer.private_jwk is None:
        raise Problem("unknown-issuer")
    jws = signature_over(final, issuer.private_jwk, signer=who.reference, when=who.when)
    sent = task_for(visit, final, who)
    evidence = (
        signature_provenance(final, who, jws),
        audit_event("signature", final, visit.patient, who),
        *_feedback(loaded, fields, who),
        *((sent,) if sent else ()),
    )
    return signed_transaction(final, chosen, evidence, finding_url=url)


def _feedback(loaded: LoadedReport, fields: Mapping[str, str], who: Signer) -> list[Resource]:
    """The feedback on the AI result that is signed along; none where no AI gave an opinion."""
    judged = judged_in(loaded.results)
    if judged is None:
        return []
    return [feedback_observation(loaded.resource, judged, feedback_of(fields), who)]


async def _ask(visit: Visit, loaded: LoadedReport, status: int) -> Response:
    fields = await visit.drafts.conclusion(loaded.view.id)
    reading = await _own_reading(visit, loaded.resource)
    view = loaded.view
    if _is_read_only(view) or view.is_signed or _missing(loaded, fields) or reading is None:
        return visit.see(f"reports/{loaded.view.id}")
    return await visit.page(
        "sign.html",
        status,
        banner=await load_banner(visit),
        report=loaded.view,
        reading=finding(reading),
        finding=answer_words(fields["finding"]),
        agreement=agreement_words(fields["agreement"]),
        conclusion=fields["conclusion"],
        signer=signer(visit),
    )


async def _review(visit: Visit, loaded: LoadedReport, *missing: str) -> Response:
    reading = await _own_reading(visit, loaded.resource)
    shown: Finding | None = finding(reading) if reading else None
    fields = dict(await visit.drafts.conclusion(loaded.view.id))
    is_revealed = await shows_result(visit, loaded)
    return await visit.page(
        "review.html",
        422 if missing else 200,
        banner=await load_banner(visit),
        report=loaded.view,
        loaded=loaded,
        drawn=await load_drawings(visit, loaded) if is_revealed else (),
        reading=shown,
        disagrees=loaded.view.disagrees_with(shown.code) if shown else False,
        answers=[(code, answer_words(code)) for code in answers_for(loaded.view.images)],
        **choices(),
        fields={"conclusion": loaded.view.conclusion, **fields},
        missing=missing,
        notices=await load_notices(visit, loaded),
        can_sign=_can_sign(visit) and not _is_read_only(loaded.view),
    )


def _is_read_only(view: ReportView) -> bool:
    return view.is_recalled or view.is_withdrawn or view.is_further


def _can_sign(visit: Visit) -> bool:
    is_practitioner = (visit.session.fhir_user or "").startswith("Practitioner")
    return is_practitioner and visit.allows("DiagnosticReport", "u")


async def shows_result(visit: Visit, loaded: LoadedReport) -> bool:
    """Whether the AI result may be shown: the report is signed, the own reading is made, or this
    account makes none; never a draft that the patient does not permit any more."""
    if loaded.view.is_withdrawn:
        return False
    if loaded.view.is_signed or loaded.view.is_further or not _can_sign(visit):
        return True
    return await _own_reading(visit, loaded.resource) is not None


def _missing(loaded: LoadedReport, fields: Mapping[str, str]) -> list[str]:
    lacks = []
    if fields.get("finding") not in answers_for(loaded.view.images):
        lacks.append("finding")
    lacks += feedback_of(fields).lacks
    if not fields.get("conclusion"):
        lacks.append("conclusion")
    needs_word = loaded.view.is_danger or loaded.view.disagrees_with(fields.get("finding", ""))
    if needs_word and fields.get("acknowledged") != "yes":
        lacks.append("acknowledged")
    return lacks


async def _own_reading(visit: Visit, report: Resource) -> Resource | None:
    user = visit.session.fhir_user
    if user is None:
        return None
    key = reading_key(report, user)
    query = {"patient": visit.patient, "identifier": f"{READING_OF_REPORT}|{key}"}
    found = await visit.fhir.search("Observation", query)
    return found[0] if found else None
