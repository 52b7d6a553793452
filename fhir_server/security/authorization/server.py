"""What every endpoint of the authorization server is given, and the few things they all do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from starlette.requests import Request

from fhir_server.audit.journal import AuditTrail
from fhir_server.findings import Status, nothing_known
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.charts import Charts
from fhir_server.security.authorization.clients import KIND as CLIENT
from fhir_server.security.authorization.clients import Client, client_from, every_client
from fhir_server.security.authorization.key_sets import KeySets
from fhir_server.security.authorization.metrics import AuthorizationMetrics
from fhir_server.security.authorization.openid_client import OpenIdClient
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.users import User
from fhir_server.security.keys import KeyRing
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import Counters
from fhir_server.security.tokens import TokenVerifier
from fhir_server.storage.port import ResourceStore, Unit, VersionConflict

T = TypeVar("T")
_ATTEMPTS = 5
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class AuthorizationServer:
    """One issuer and the FHIR base that it protects. `new_id` makes ids, `new_secret` random
    secrets of 256 bits; `verifier` reads this server's own access tokens; `charts` is how patients
    are found for who has to choose one; `rules` is what is asked of people who sign in; `openid`
    the clients of its other providers, by id; `key_sets` are those that clients publish at an
    address; with `takes_registrations` clients register themselves; `metrics` counts
    what is given and refused; `status` is what the operator's page shows."""

    store: ResourceStore
    keys: KeyRing
    verifier: TokenVerifier
    counters: Counters
    charts: Charts
    issuer: str
    fhir_base: str
    lifetimes: Lifetimes
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    new_secret: Callable[[], str]
    rules: SignInRules
    openid: Mapping[str, OpenIdClient]
    key_sets: KeySets
    takes_registrations: bool = True
    metrics: AuthorizationMetrics = field(default_factory=AuthorizationMetrics)
    status: Status = nothing_known

    def now(self) -> float:
        """The injected now, in seconds since 1970."""
        return self.clock().timestamp()

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this server by https."""
        return self.issuer.startswith("https://")


async def find_client(server: AuthorizationServer, client_id: str | None) -> Client | None:
    """The client with the id, if it is registered and may work."""
    client = await find_registration(server, client_id)
    return client if client is not None and client.is_active else None


async def find_registration(server: AuthorizationServer, client_id: str | None) -> Client | None:
    """The client with the id, be it one that waits for approval or was refused."""
    record = await server.store.record(CLIENT, client_id) if client_id else None
    return None if record is None else client_from(record)


async def is_registered_origin(store: ResourceStore, origin: str) -> bool:
    """Whether some registered client that may work lives on the web origin (CORS)."""
    clients = await every_client(store)
    return any(client.is_active and origin in client.origins for client, _ in clients)


async def commit(server: AuthorizationServer, unit: Unit[T]) -> T:
    """Run a unit that loads what it decides on. When somebody else was first with a record that
    it expected, it is run again and sees why."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await server.store.transaction(unit)
        except VersionConflict:
            continue
    return await server.store.transaction(unit)


def trail(
    server: AuthorizationServer, request: Request, principal: Principal | None = None
) -> AuditTrail:
    """The audit trail of a request."""
    return AuditTrail(
        principal=principal,
        clock=server.clock,
        new_id=server.new_id,
        base_url=server.fhir_base,
        address=address_of(request),
        request_id=request_id(server, request),
    )


async def journal(server: AuthorizationServer, entry: bytes) -> None:
    """Write one audit record in a unit of its own: for refusals, which change nothing else."""
    await server.store.note(entry)


async def journal_refusal(
    server: AuthorizationServer,
    request: Request,
    interaction: str,
    *,
    status: int,
    detail: str,
    client: Client | None = None,
) -> None:
    """Write down that a request was refused, and why."""
    server.metrics.refused(interaction, status)
    principal = None if client is None else client_principal(client)
    entry = trail(server, request, principal).entry(
        interaction=interaction, outcome="refused", status=status, detail=detail
    )
    await journal(server, entry)


def request_id(server: AuthorizationServer, request: Request) -> str:
    """The id that the front door gave the request, or one made here; the same on each call."""
    if not hasattr(request.state, "request_id"):
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else server.new_id()
    return str(request.state.request_id)


def address_of(request: Request) -> str | None:
    """The network address that the request came from."""
    return request.client.host if request.client else None


def client_principal(client: Client) -> Principal:
    """A client acting for itself."""
    return Principal(
        client.id, client.id, client.name, frozenset(), None, "", None, None, None, client.tenant
    )


def user_principal(user: User, client_id: str, *, session: str | None) -> Principal:
    """A user acting through a client, or at this server's own pages (client id empty)."""
    return Principal(
        user.id,
        client_id,
        user.name,
        user.roles,
        user.fhir_user,
        scopes="",
        patient=None,
        encounter=None,
        session=session,
        tenant=user.tenant,
    )
