"""The clinician's app as one ASGI application, to be mounted at `/app`.

    app = create_app(AppConfig(base_url, issuers, secret), http)

`http` reaches the FHIR and authorization servers, over the network or in process.
"""

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from smart_app.fhir_client import FhirFailure
from smart_app.headers import STATIC_HEADERS, page_headers
from smart_app.issuers import AppConfig
from smart_app.parts import Parts
from smart_app.problems import Problem, explain
from smart_app.rendering import environment, static_files
from smart_app.routes import OPEN, WITHIN, OpenPage, SessionPage
from smart_app.sealing import SealedStore
from smart_app.sessions import MemorySessionStore, Sessions, SessionStore
from smart_app.visit import arrive

log = logging.getLogger("medsage.app")


def create_app(
    config: AppConfig,
    http: httpx.AsyncClient,
    *,
    store: SessionStore | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Starlette:
    """The app; sessions lie in memory unless a `store` is given. `clock` gives aware times."""
    memory = MemorySessionStore(lambda: clock().timestamp())
    parts = Parts(
        config=config,
        http=http,
        sessions=Sessions(SealedStore(store or memory, config.secret), config.session_seconds),
        clock=clock,
        new_id=new_id,
        templates=environment(config.root),
        configurations={},
    )
    routes = [Route(path, _open_page(parts, page), methods=[m]) for m, path, page in OPEN]
    routes += [
        Route("/s/{sid}" + path, _session_page(parts, page), methods=[m])
        for m, path, page in WITHIN
    ]
    routes.append(Route("/static/{path:path}", _static))
    routes.append(Route("/{path:path}", _open_page(parts, _unknown)))
    return Starlette(routes=routes)


async def _unknown(parts: Parts, request: Request) -> Response:
    raise Problem("not-found")


def _open_page(parts: Parts, page: OpenPage) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            return await page(parts, request)
        except Exception as error:  # the one place where failures become pages
            return _failed(parts, request, error)

    return endpoint


def _session_page(parts: Parts, page: SessionPage) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            return await page(await arrive(parts, request))
        except Exception as error:  # the one place where failures become pages
            return _failed(parts, request, error)

    return endpoint


async def _static(request: Request) -> Response:
    found = static_files().get(request.path_params["path"])
    if found is None:
        return Response(status_code=404)
    content, media_type, _version = found
    return Response(content, media_type=media_type, headers=dict(STATIC_HEADERS))


def _failed(parts: Parts, request: Request, error: Exception) -> Response:
    reference = parts.new_id()
    problem = _as_problem(error)
    told = explain(problem.cause)
    if problem.cause == "failed":
        log.error("page failed", exc_info=error, extra={"reference": reference})
    else:
        log.info("page refused: %s", problem.cause, extra={"reference": reference})
    if request.headers.get("accept") == "application/json":
        return JSONResponse({"error": problem.cause, "title": told.title}, told.status)
    sid = request.path_params.get("sid")
    body = parts.templates.get_template("problem.html").render(
        told=told,
        cause=problem.cause,
        details=problem.details,
        reference=reference,
        when=parts.clock().isoformat(timespec="seconds"),
        back=f"{parts.root}/s/{sid}/" if sid and told.status not in {401, 502} else "",
    )
    # Any registered record system may show the failure of a launch in its frame: it has no PHI.
    ancestors = {origin for issuer in parts.config.issuers for origin in issuer.frame_ancestors}
    return HTMLResponse(body, told.status, headers=page_headers(sorted(ancestors), ()))


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if not isinstance(error, FhirFailure):
        return Problem("failed")
    causes = {0: "ehr-unreachable", 401: "reconnect", 403: "not-permitted", 404: "not-found"}
    causes |= {409: "conflict", 410: "not-found", 412: "conflict", 413: "too-large"}
    causes |= {400: "rejected", 422: "rejected"}
    cause = causes.get(error.status, "ehr-unreachable")
    told = error.problems if cause == "rejected" else ()
    return Problem(cause, tuple(f"{text} ({where})" if where else text for text, where in told))
