"""The simulated EHR as an ASGI application, to be mounted at `/ehr`."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.simulated_ehr import pages, sign_in
from deploy.simulated_ehr.oauth import Server, private_key
from deploy.simulated_ehr.rendering import SimulatedEhr, stylesheet, stylesheet_path
from deploy.simulated_ehr.sessions import Sessions

Endpoint = Callable[[SimulatedEhr, Request], Awaitable[Response]]


def _now() -> datetime:
    return datetime.now(UTC)


def create_simulated_ehr(
    http: httpx.AsyncClient,
    key: Mapping[str, Any],
    *,
    server_origin: str,
    origins: Sequence[str],
    app_origin: str,
    client_id: str = "medsage-ehr",
    app_id: str = "medsage-app",
    clock: Callable[[], datetime] = _now,
) -> ASGIApp:
    """The application. `http` reaches the server at `server_origin` (`/auth`, `/fhir`); `key` is
    the EHR's private P-384 JWK; each of `origins`, the addresses that it is opened at, is
    registered as `{origin}/ehr/callback` and, for signing out, `{origin}/ehr/`."""
    server = Server(
        http=http,
        issuer=f"{server_origin}/auth",
        fhir_base=f"{server_origin}/fhir",
        client_id=client_id,
        key=private_key(key),
        clock=clock,
        new_secret=secrets.token_urlsafe,
    )
    sessions = Sessions(clock, secrets.token_urlsafe)
    ehr = SimulatedEhr(server, sessions, tuple(origins), app_id, app_origin)

    def bound(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            return await endpoint(ehr, request)

        return call

    routes: dict[str, Endpoint] = {
        "/": sign_in.start,
        "/sign-in": sign_in.sign_in,
        "/callback": sign_in.callback,
        "/sign-out": sign_in.sign_out,
        "/patients": pages.patients,
        "/chart/{patient}": pages.chart,
        "/chart/{patient}/medsage": pages.framed,
        "/chart/{patient}/window": pages.window,
        "/charts/{patient}/{second}": pages.side_by_side,
    }
    application = Starlette(
        routes=[
            Route(stylesheet_path(), stylesheet),
            *(Route(path, bound(endpoint), methods=["GET"]) for path, endpoint in routes.items()),
        ]
    )
    # It would lead to whatever host the request names.
    application.router.redirect_slashes = False
    return application
