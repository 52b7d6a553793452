"""S19: drift of the models by site, the holds of AI readings, and their release (ADR 0022)."""

from datetime import datetime

from starlette.responses import Response

from fhir_server.fhir.ai_holds import READINGS, Act, HoldRefused, release_entries
from smart_app.fhir_client import FhirFailure
from smart_app.governing import load_watch, require_governance, words_of
from smart_app.language import gettext as _
from smart_app.pages.acting import signer
from smart_app.presenters.drift import drift_views, hold_views
from smart_app.presenters.versions import version_views
from smart_app.problems import Problem
from smart_app.visit import Visit


async def show(visit: Visit) -> Response:
    """The newest figures of each site and version, and the holds in force; `until` asks for
    figures that were counted before then."""
    require_governance(visit)
    return await _show(visit, (), _until(visit.request.query_params.get("until", "")))


async def release(visit: Visit) -> Response:
    """End a hold that is still the one that was read, with a reason that is stored."""
    require_governance(visit)
    reading = await visit.fhir.read("HealthcareService", visit.text("reading"))
    if not any(i.get("system") == READINGS for i in reading.get("identifier", ())):
        raise Problem("not-found")
    if reading["meta"]["versionId"] != visit.text("version"):
        raise Problem("conflict")
    reason = " ".join(visit.text("reason").split())
    if not reason:
        return await _show(visit, (_("Say why the hold is released"),))
    act = Act(signer(visit).reference, visit.parts.clock())
    try:
        entries = release_entries(reading, reason, act, visit.parts.new_id)
        await visit.fhir.transaction(
            {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
    except HoldRefused as refused:
        return await _show(visit, (str(refused),))
    except FhirFailure as refused:
        return await _show(visit, words_of(refused))
    return visit.see("drift")


def _until(text: str) -> datetime | None:
    """The instant of the address; Problem `bad-form` for what is none."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError as wrong:
        raise Problem("bad-form") from wrong
    if found is not None and found.tzinfo is None:
        raise Problem("bad-form")
    return found


async def _show(visit: Visit, refusals: tuple[str, ...], until: datetime | None = None) -> Response:
    watch = await load_watch(visit, until)
    views = version_views(watch.versions.items, visit.session.fhir_user)
    named = {f"Device/{view.id}": f"{view.name} {view.version}" for view in views}
    return await visit.page(
        "drift.html",
        422 if refusals else 200,
        refusals=refusals,
        reports=watch.reports,
        readings=watch.readings,
        counted=watch.counted,
        is_newest=until is None,
        drifts=drift_views(watch.reports.items, watch.names, named),
        holds=hold_views(watch.readings.items, watch.names),
    )
