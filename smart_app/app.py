"""The clinician's app as one ASGI application, to be mounted at `/app`.

    app = create_app(AppConfig(base_url, issuers, secret), http)

`http` reaches the FHIR and authorization servers, over the network or in process.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smart_app.auditing import AppAudit
from smart_app.headers import STATIC_HEADERS
from smart_app.issuers import AppConfig
from smart_app.own_tokens import OwnTokens
from smart_app.parts import Parts
from smart_app.problems import Problem
from smart_app.refusals import refuse
from smart_app.rendering import environment, published_files
from smart_app.routes import OPEN, WITHIN, OpenPage, SessionPage
from smart_app.sealing import SealedStore
from smart_app.sessions import MemorySessionStore, Sessions, SessionStore
from smart_app.visit import arrive


def create_app(
    config: AppConfig,
    http: httpx.AsyncClient,
    *,
    store: SessionStore | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Starlette:
    """The app; sessions lie in memory unless a `store` is given. `clock` gives aware times. Its
    `state.parts` are for what goes on behind the requests (`smart_app.ehr.resending`)."""
    memory = MemorySessionStore(lambda: clock().timestamp())
    tokens = OwnTokens(http, clock)
    parts = Parts(
        config=config,
        http=http,
        sessions=Sessions(SealedStore(store or memory, config.secret), config.session_seconds),
        clock=clock,
        new_id=new_id,
        templates=environment(config.root),
        configurations={},
        audit=AppAudit(http, tokens),
        tokens=tokens,
    )
    routes = [Route(path, _open_page(parts, page), methods=[m]) for m, path, page in OPEN]
    routes += [
        Route("/s/{sid}" + path, _session_page(parts, page), methods=[m])
        for m, path, page in WITHIN
    ]
    routes.append(Route("/static/{path:path}", _static))
    routes.append(Route("/{path:path}", _open_page(parts, _unknown)))
    app = Starlette(routes=routes)
    app.state.parts = parts
    return app


async def _unknown(parts: Parts, request: Request) -> Response:
    raise Problem("not-found")


def _open_page(parts: Parts, page: OpenPage) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            return await page(parts, request)
        except Exception as error:  # the one place where failures become pages
            return refuse(parts, request, error)

    return endpoint


def _session_page(parts: Parts, page: SessionPage) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            return await page(await arrive(parts, request))
        except Exception as error:  # the one place where failures become pages
            return refuse(parts, request, error)

    return endpoint


async def _static(request: Request) -> Response:
    found = published_files().get(request.path_params["path"])
    if found is None:
        return Response(status_code=404)
    content, media_type = found
    return Response(content, media_type=media_type, headers=dict(STATIC_HEADERS))
