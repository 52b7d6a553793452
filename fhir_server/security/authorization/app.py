"""The authorization server as ASGI applications, made of plain values and ports."""

import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx2
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fhir_server.findings import Status, nothing_known
from fhir_server.security.authorization import (
    account,
    account_security,
    admin,
    admin_clients,
    metadata,
    registration,
)
from fhir_server.security.authorization.admin_status import show_status
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.authorize_endpoint import authorize
from fhir_server.security.authorization.charts import Charts
from fhir_server.security.authorization.consent import answer_consent, show_consent
from fhir_server.security.authorization.emergency import answer_emergency, show_emergency
from fhir_server.security.authorization.emergency_call import (
    begin_access,
    end_access,
    list_access,
)
from fhir_server.security.authorization.external import finish_external, start_external
from fhir_server.security.authorization.introspection import introspect
from fhir_server.security.authorization.key_sets import Fetch, KeySets
from fhir_server.security.authorization.launch_endpoint import launch
from fhir_server.security.authorization.metrics import AuthorizationMetrics
from fhir_server.security.authorization.openid_client import OpenIdClient
from fhir_server.security.authorization.pages import (
    NOT_FOUND,
    problem_page,
    stylesheet,
    stylesheet_path,
)
from fhir_server.security.authorization.picker.encounters import choose_encounter, show_encounters
from fhir_server.security.authorization.picker.patients import choose_patient, show_patients
from fhir_server.security.authorization.revoke_endpoint import revoke
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    is_registered_origin,
    request_id,
)
from fhir_server.security.authorization.sign_in import show_login, sign_in
from fhir_server.security.authorization.sign_in_steps import STEPS, show_step
from fhir_server.security.authorization.sign_out import sign_out
from fhir_server.security.authorization.style import STYLE_PATH, style
from fhir_server.security.authorization.token_endpoint import token
from fhir_server.security.authorization.userinfo import userinfo
from fhir_server.security.checked_fetch import CheckedFetch, Reach
from fhir_server.security.keys import KeyRing
from fhir_server.security.rate_limit import Counters
from fhir_server.security.tokens import TokenVerifier
from fhir_server.storage.port import ResourceStore, StoreUnavailable, VersionConflict

PUBLIC = CheckedFetch(Reach())
Endpoint = Callable[[AuthorizationServer, Request], Awaitable[Response]]
_log = logging.getLogger("fhir_server.authorization")
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT_SECONDS = "600"
_PAGES: tuple[tuple[str, Endpoint, Endpoint | None], ...] = (
    ("/login", show_login, sign_in),
    *((f"/{step}", show_step, answer) for step, answer in STEPS.items()),
    ("/external", start_external, None),
    ("/external-callback", finish_external, None),
    ("/consent", show_consent, answer_consent),
    ("/patient", show_patients, choose_patient),
    ("/encounter", show_encounters, choose_encounter),
    ("/emergency", show_emergency, answer_emergency),
    ("/account", account.show_account, account.change_account),
    ("/account/password", account_security.show_password, account_security.change_password),
    (
        "/account/second-factor",
        account_security.show_second_factor,
        account_security.change_second_factor,
    ),
    ("/admin/users", admin.show_users, None),
    ("/admin/new-user", admin.show_new_user, admin.create_user),
    ("/admin/user", admin.show_user, admin.change_user),
    ("/admin/clients", admin_clients.show_clients, admin_clients.decide_client),
    ("/admin/sessions", admin.show_sessions, admin.end_any_session),
    ("/admin/status", show_status, None),
    ("/emergency", show_emergency, answer_emergency),
)
"""Pages for people: path, what shows it, what its forms are answered by."""


def _now() -> datetime:
    return datetime.now(UTC)


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _new_id() -> str:
    return str(uuid.uuid4())


def authorization_server(
    store: ResourceStore,
    keys: KeyRing,
    counters: Counters,
    charts: Charts,
    *,
    origin: str,
    lifetimes: Lifetimes,
    clock: Callable[[], datetime] = _now,
    rules: SignInRules | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    fetch: Fetch = PUBLIC,
    takes_registrations: bool = True,
    metrics: AuthorizationMetrics | None = None,
    status: Status = nothing_known,
) -> AuthorizationServer:
    """The server of the issuer `{origin}/auth` for the FHIR base `{origin}/fhir`; `origin` has
    no final slash. `rules` says what is asked of people who sign in; `transport` replaces the
    network on the way to other OpenID providers. `fetch` reads the key sets that clients
    publish; `takes_registrations` lets clients register themselves, to be approved. `metrics`
    counts what is given and refused; `status` is what the operator's page shows."""
    asked = rules or SignInRules()
    issuer, fhir_base = f"{origin}/auth", f"{origin}/fhir"
    verifier = TokenVerifier(store, keys, issuer=issuer, audience=fhir_base, clock=clock)
    return AuthorizationServer(
        store=store,
        keys=keys,
        verifier=verifier,
        counters=counters,
        charts=charts,
        issuer=issuer,
        fhir_base=fhir_base,
        lifetimes=lifetimes,
        clock=clock,
        new_id=_new_id,
        new_secret=_new_secret,
        rules=asked,
        openid={
            provider.id: OpenIdClient(
                provider, f"{issuer}/external-callback", lambda: clock().timestamp(), transport
            )
            for provider in asked.providers
        },
        key_sets=KeySets(fetch, clock),
        takes_registrations=takes_registrations,
        metrics=metrics or AuthorizationMetrics(),
        status=status,
    )


def create_authorization(server: AuthorizationServer) -> ASGIApp:
    """The application to mount at `/auth`."""

    def bound(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            return await endpoint(server, request)

        return call

    async def not_found(request: Request, _: Exception) -> Response:
        return problem_page(NOT_FOUND, request_id(server, request))

    application = Starlette(
        routes=[
            Route("/authorize", bound(authorize), methods=["GET", "POST"]),
            *(Route(path, bound(show), methods=["GET"]) for path, show, _ in _PAGES),
            *(Route(path, bound(act), methods=["POST"]) for path, _, act in _PAGES if act),
            Route("/token", bound(token), methods=["POST"]),
            Route("/token", bound(_preflight), methods=["OPTIONS"]),
            Route("/revoke", bound(revoke), methods=["POST"]),
            Route("/revoke", bound(_preflight), methods=["OPTIONS"]),
            Route("/introspect", bound(introspect), methods=["POST"]),
            Route("/userinfo", bound(userinfo), methods=["GET", "POST"]),
            Route("/userinfo", bound(_preflight), methods=["OPTIONS"]),
            Route("/register", bound(registration.register), methods=["POST"]),
            Route("/register/{client_id}", bound(registration.read), methods=["GET"]),
            Route("/register/{client_id}", bound(registration.update), methods=["PUT"]),
            Route("/register/{client_id}", bound(registration.remove), methods=["DELETE"]),
            Route("/launch", bound(launch), methods=["POST"]),
            Route("/emergency-access", bound(list_access), methods=["GET"]),
            Route("/emergency-access", bound(begin_access), methods=["POST"]),
            Route("/emergency-access/{id}", bound(end_access), methods=["DELETE"]),
            Route("/logout", bound(sign_out), methods=["GET", "POST"]),
            Route("/jwks", bound(_jwks), methods=["GET"]),
            Route("/.well-known/openid-configuration", bound(_openid), methods=["GET"]),
            Route(f"/{stylesheet_path()}", stylesheet, methods=["GET"]),
            Route(STYLE_PATH, style, methods=["GET"]),
        ],
        exception_handlers={404: not_found, VersionConflict: _busy, StoreUnavailable: _away},
    )
    # A redirect to the path without its slash would lead to whatever host the request names.
    application.router.redirect_slashes = False
    return application


async def _busy(_: Request, __: Exception) -> Response:
    return _later(1)


async def _away(_: Request, failure: Exception) -> Response:
    _log.error("the store can't be reached (%s)", failure)
    return _later(5)


def _later(seconds: int) -> Response:
    body = {"error": "temporarily_unavailable", "error_description": "try again"}
    headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}
    return Response(orjson.dumps(body), 503, headers, media_type="application/json")


def create_discovery(server: AuthorizationServer) -> ASGIApp:
    """The application that answers `[FHIR base]/.well-known/smart-configuration`, wherever it is
    mounted: JSON whatever the Accept header, without a token, to any origin."""

    async def discovery(_: Request) -> Response:
        return _document(_discovered(server, metadata.smart_configuration))

    return Starlette(routes=[Route("/{path:path}", discovery, methods=["GET"])])


async def _jwks(server: AuthorizationServer, _: Request) -> Response:
    await server.keys.refresh()
    return _document(server.keys.public_keys())


async def _openid(server: AuthorizationServer, _: Request) -> Response:
    return _document(_discovered(server, metadata.openid_configuration))


def _discovered(
    server: AuthorizationServer, document: Callable[[str], dict[str, object]]
) -> dict[str, object]:
    found = document(server.issuer)
    if not server.takes_registrations:
        del found["registration_endpoint"]
    return found


async def _preflight(server: AuthorizationServer, request: Request) -> Response:
    """Lets the registered apps' own pages call the endpoints for clients."""
    origin = request.headers.get("origin", "")
    if not await is_registered_origin(server.store, origin):
        return Response(status_code=403)
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
        "Vary": "Origin",
    }
    return Response(status_code=204, headers=headers)


def _document(document: dict[str, object]) -> Response:
    headers = {**_ANY_ORIGIN, "Cache-Control": "public, max-age=300"}
    return Response(orjson.dumps(document), 200, headers, media_type="application/json")
