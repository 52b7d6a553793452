"""S19: the versions of AI models, and the decisions on them by two people (ADR 0021, 0034).

The server decides who may; its refusal is told on the page of the version, in its own words.
"""

import asyncio
import re
from typing import Any

from starlette.responses import Response

from fhir_server.fhir.model_versions import MOST_SHARE, standing_of
from smart_app.fhir_client import FhirFailure, Resource, call
from smart_app.governing import (
    load_comparisons,
    load_holds,
    load_people,
    load_progress,
    load_trail,
    load_versions,
    parameters,
    require_governance,
    words_of,
)
from smart_app.language import gettext as _
from smart_app.presenters.drift import hold_views, progress_lines
from smart_app.presenters.versions import (
    comparison_views,
    decisions,
    people_in,
    version_view,
    version_views,
)
from smart_app.problems import Problem
from smart_app.visit import Visit

MOST_REASON = 1000
_SHARE = re.compile(r"[0-9]{1,3}")


async def show_all(visit: Visit) -> Response:
    """All versions, holds in force, and how far the candidate training set is."""
    require_governance(visit)
    versions, readings, progress = await asyncio.gather(
        load_versions(visit), load_holds(visit), load_progress(visit)
    )
    counted, lines = progress_lines(progress.items)
    return await visit.page(
        "versions.html",
        versions=versions,
        views=version_views(versions.items, visit.session.fhir_user),
        readings=readings,
        holds=hold_views(readings.items, {}),
        progress=progress,
        counted=counted,
        progress_lines=lines,
    )


async def show(visit: Visit) -> Response:
    """One version: where it stands, what waits, its comparisons, recalls and decisions."""
    require_governance(visit)
    return await _show(visit, await _device(visit), ())


async def propose(visit: Visit) -> Response:
    """Propose a step, for another person to approve."""
    to, share = visit.text("to"), visit.text("share")
    if share and not _SHARE.fullmatch(share):
        text = _("Write the share as a whole number, 0 to %(most)s") % {"most": MOST_SHARE}
        return await _show(visit, await _device(visit), (text,))
    parts: list[tuple[str, str, Any]] = [("to", "Code", to), ("reason", "String", _reason(visit))]
    if to == "candidate":
        parts.append(("share", "Integer", int(share or "0")))
    verdict = visit.text("verdict")
    if to == "active" and verdict:
        parts.append(("verdict", "Reference", {"reference": f"MeasureReport/{verdict}"}))
    return await _decide(visit, "model-propose", parts)


async def approve(visit: Visit) -> Response:
    """Approve the proposal that was read."""
    return await _decide(visit, "model-approve", [("version", "Id", visit.text("version"))])


async def decline(visit: Visit) -> Response:
    """Take a proposal away: somebody else's, or one's own."""
    parts = [("version", "Id", visit.text("version")), ("reason", "String", _reason(visit))]
    return await _decide(visit, "model-decline", parts)


async def retire(visit: Visit) -> Response:
    """Take a version out of use at once."""
    if visit.text("sure") != "yes":
        return await _show(visit, await _device(visit), (_("Confirm that it goes out of use"),))
    return await _decide(visit, "model-retire", [("reason", "String", _reason(visit))])


async def _decide(visit: Visit, operation: str, parts: list[tuple[str, str, Any]]) -> Response:
    require_governance(visit)
    given = [part for part in parts if part[2] != ""]
    device = visit.request.path_params["device"]
    try:
        await call(visit.fhir, f"Device/{device}/${operation}", parameters(*given))
    except FhirFailure as refused:
        return await _show(visit, await _device(visit), words_of(refused))
    return visit.see(f"versions/{device}")


async def _device(visit: Visit) -> Resource:
    require_governance(visit)
    return await visit.fhir.read("Device", visit.request.path_params["device"])


async def _show(visit: Visit, device: Resource, refusals: tuple[str, ...]) -> Response:
    if standing_of(device) is None:
        raise Problem("not-found")
    reference = f"Device/{device['id']}"
    comparisons, trail = await asyncio.gather(
        load_comparisons(visit, reference), load_trail(visit, reference)
    )
    people = await load_people(visit, people_in(device, trail.items))
    return await visit.page(
        "version.html",
        422 if refusals else 200,
        view=version_view(device, visit.session.fhir_user, people),
        refusals=refusals,
        comparisons=comparisons,
        compared=comparison_views(comparisons.items),
        trail=trail,
        decided=decisions(trail.items, people),
        most_share=MOST_SHARE,
        given={name: visit.text(name) for name in ("reason", "share")},
    )


def _reason(visit: Visit) -> str:
    return " ".join(visit.text("reason").split())[:MOST_REASON]
