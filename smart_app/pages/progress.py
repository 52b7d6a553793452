"""S8: where the analysis stands; events carry ids only, the page itself asks for the rest."""

import asyncio
from collections.abc import AsyncIterator

import orjson
from starlette.responses import JSONResponse, Response, StreamingResponse

from smart_app.charts import load_banner
from smart_app.fhir_client import FhirFailure
from smart_app.presenters.progress import Progress, progress
from smart_app.problems import Problem
from smart_app.visit import Visit

POLL_SECONDS = 0.7
SLOW_POLL_SECONDS = 3.0
HEARTBEAT_SECONDS = 15.0
STREAM_SECONDS = 600.0


async def show(visit: Visit) -> Response:
    """The steps as HTML; a result that is there already is shown at once."""
    state = await _state(visit)
    if state.report is not None:
        return visit.see(_next(visit, state))
    return await visit.page(
        "progress.html",
        banner=await load_banner(visit),
        state=state,
        task=visit.request.path_params["task"],
    )


async def steps(visit: Visit) -> Response:
    """The same as JSON, for the page's script."""
    state = await _state(visit)
    body = {
        "version": state.version,
        "over": state.is_over,
        "slow": state.is_slow,
        "steps": [
            {"name": s.name, "state": s.state, "text": s.text, "time": s.time} for s in state.steps
        ],
        "next": visit.url(_next(visit, state)) if state.is_over else None,
    }
    return JSONResponse(body, headers={"cache-control": "no-store"})


async def events(visit: Visit) -> Response:
    """Server-sent events: one `step` event for each new version of the Task."""
    await _state(visit)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_stream(visit), media_type="text/event-stream", headers=headers)


async def _stream(visit: Visit) -> AsyncIterator[bytes]:
    seen = visit.request.headers.get("last-event-id", "")
    task, waited, silent = visit.request.path_params["task"], 0.0, 0.0
    yield b"retry: 3000\n\n"
    while waited < STREAM_SECONDS and not await visit.request.is_disconnected():
        try:
            state = await _state(visit)
        except (FhirFailure, Problem):
            return
        if state.version != seen:
            seen, silent = state.version, 0.0
            body = {"task": task, "version": state.version, "over": state.is_over}
            yield b"event: step\nid: %s\ndata: %s\n\n" % (seen.encode(), orjson.dumps(body))
        if state.is_over or visit.parts.config.is_ending():
            # The browser comes back, and another process answers it.
            return
        pause = POLL_SECONDS if waited < 30 else SLOW_POLL_SECONDS
        await asyncio.sleep(pause)
        waited, silent = waited + pause, silent + pause
        if silent >= HEARTBEAT_SECONDS:
            silent = 0.0
            yield b": still here\n\n"


async def _state(visit: Visit) -> Progress:
    task = await visit.own("Task", visit.request.path_params["task"])
    return progress(task, now=visit.parts.clock())


def _next(visit: Visit, state: Progress) -> str:
    if state.report is not None:
        return f"reports/{visit.fhir.key(state.report)[1]}"
    return f"tasks/{visit.request.path_params['task']}"
