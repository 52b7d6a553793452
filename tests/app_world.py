"""The app on the real parts: authorization server, guarded FHIR server and embedded store, with
the AI worker run by hand, in one process."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import orjson
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from fhir_server.rest.capability import ServerFacts
from fhir_server.rest.dispatch import FhirApplication, FhirParts
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.rest.middleware import RequestIds
from fhir_server.search.extract import Extractor
from fhir_server.search.live import LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.registry import Registry
from fhir_server.security.authorization.app import (
    authorization_server,
    create_authorization,
    create_discovery,
)
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.charts import Charts
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.users import (
    PasswordHash,
    User,
    hash_password,
    register_user,
)
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.keys import open_key_ring
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.security.rulebook import Rulebook, prepare
from fhir_server.storage.sqlite.store import SqliteStore
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Worker
from smart_app.app import create_app
from smart_app.issuers import AppConfig, Issuer, none_registered
from smart_app.launch.own_scopes import registered_scope
from smart_app.sessions import MemorySessionStore
from tests.fhir_world import registry, validator

ORIGIN = "http://localhost:5000"
FHIR = f"{ORIGIN}/fhir"
EHR_ORIGIN = "http://127.0.0.1:5000"
PASSWORD = "correct horse battery"
PATIENTS: tuple[dict[str, Any], ...] = (
    {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Okafor", "given": ["Chidi"]}],
        "gender": "male",
        "birthDate": "1990-05-17",
    },
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Mwangi", "given": ["Grace"]}]},
    {
        "resourceType": "Practitioner",
        "id": "dr-amina",
        "name": [{"family": "Njoroge", "given": ["Amina"], "prefix": ["Dr"]}],
    },
)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class AppWorld:
    """`application` is everything on one origin; `as_worker` reaches FHIR without a guard."""

    application: Starlette
    store: SqliteStore
    key: ECKey
    as_worker: FhirClient
    app: Starlette

    def worker(self, smear: Any) -> Worker:
        """A worker that reads images with `smear`."""
        return Worker(self.as_worker, Analysts(smear, SafeAnalyst()))


@dataclass
class Surroundings:
    """What else a world has: other servers by origin, record systems that may launch, and so many
    processes of the app, which share nothing but their sessions and answer in turn."""

    others: dict[str, Any] = field(default_factory=dict)
    foreign: Callable[[], Sequence[Issuer]] = none_registered
    clock: Callable[[], datetime] = _now
    analyses_an_hour: int = 2
    processes: int = 1


ALONE = Surroundings()


@asynccontextmanager
async def app_world(
    folder: Path, origin: str = ORIGIN, around: Surroundings = ALONE
) -> AsyncIterator[AppWorld]:
    """Open a world with two patients and dr.amina at `origin`; the store lies in `folder`."""
    store = SqliteStore.open(folder / "store.sqlite", _now)
    key = ECKey.generate_key("P-384", {"kid": "app"}, private=True)
    await _fill(store, key)
    await prepare(store, is_indexed=True)
    keys = await open_key_ring(store)
    base = f"{origin}/fhir"
    server = authorization_server(
        store,
        keys,
        MemoryCounters(around.clock),
        Charts(
            LiveSearch(lambda _: _extract(base), registry()),
            CursorSealer(b"k" * 32),
            Rulebook(store, _now),
        ),
        origin=origin,
        lifetimes=Lifetimes(),
        clock=around.clock,
    )

    async def authenticate(headers: Mapping[str, str]) -> Principal | None:
        return await server.verifier.verify(headers.get("authorization"))

    async def nobody(headers: Mapping[str, str]) -> Principal | None:
        return None

    guarded = _fhir(store, authenticate, base, is_open=False)
    unguarded = _fhir(store, nobody, base, is_open=True)
    inner = Starlette(
        routes=[
            Route("/fhir/.well-known/smart-configuration", create_discovery(server)),
            Mount("/auth", create_authorization(server)),
        ]
    )

    async def server_side(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith("/fhir") and not path.endswith("/smart-configuration"):
            await guarded({**scope, "root_path": "/fhir"}, receive, send)
        else:
            await inner(scope, receive, send)

    mounts = {at: httpx.ASGITransport(other) for at, other in around.others.items()}
    mounts[origin] = httpx.ASGITransport(server_side)
    own_side = httpx.ASGITransport(server_side)
    http = httpx.AsyncClient(transport=own_side, base_url=origin, mounts=mounts)
    apps = _apps(_config(origin, key, around), http, around)
    application = Starlette(routes=[Mount("/app", _in_turn(apps)), Mount("/", server_side)])
    bare = httpx.ASGITransport(unguarded, root_path="/fhir")
    async with http, httpx.AsyncClient(transport=bare, base_url=base) as worker_http:
        client = FhirClient(worker_http, base, CallerToken(None))
        await _put_patients(worker_http, base)
        yield AppWorld(application, store, key, client, apps[0])
    await store.close()


def _apps(config: AppConfig, http: httpx.AsyncClient, around: Surroundings) -> list[Starlette]:
    sessions = MemorySessionStore(lambda: around.clock().timestamp())
    return [
        create_app(config, http, store=sessions, clock=around.clock)
        for _ in range(around.processes)
    ]


def _in_turn(apps: Sequence[Starlette]) -> Any:
    turns = cycle(apps)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await next(turns)(scope, receive, send)

    return answer


def _config(origin: str, key: ECKey, around: Surroundings) -> AppConfig:
    private = key.as_dict(private=True)
    issuer = Issuer("Demo", f"{origin}/fhir", "medsage-app", private, (EHR_ORIGIN,))
    most = around.analyses_an_hour
    return AppConfig(origin, (issuer,), b"s" * 32, foreign=around.foreign, analyses_an_hour=most)


async def _put_patients(http: httpx.AsyncClient, base: str) -> None:
    for patient in PATIENTS:
        path = f"{base}/{patient['resourceType']}/{patient['id']}"
        headers = {"content-type": "application/fhir+json"}
        answer = await http.put(path, content=orjson.dumps(patient), headers=headers)
        assert answer.status_code == 201, answer.text


@cache
def _extract(base: str) -> Any:
    return with_guard_terms(Extractor(registry(), base), base)


class _Undescribed(FhirApplication):
    """Without its CapabilityStatement, which is most of the time that a world takes to open."""

    def _capabilities_of(self, registry: Registry) -> bytes:
        return b"{}"


def _fhir(store: SqliteStore, authenticate: Any, base: str, *, is_open: bool) -> Any:
    async def no_origin(origin: str) -> bool:
        return False

    return RequestIds(
        _Undescribed(
            FhirParts(
                store=store,
                rulebook=Rulebook(store, _now),
                search=LiveSearch(lambda _: _extract(base), registry()),
                validator=validator(),
                cursors=CursorSealer(b"k" * 32),
                authenticate=authenticate,
                allows_origin=no_origin,
                metrics=FhirMetrics(CollectorRegistry()),
                clock=_now,
                new_id=_new_id,
                facts=ServerFacts(base, "0.1.0", _now(), True),
                max_body_bytes=30_000_000,
                is_open=is_open,
            )
        ),
        _new_id,
    )


def _new_id() -> str:
    return str(uuid.uuid4())


@cache
def _hashed() -> PasswordHash:
    return hash_password(PASSWORD)


async def _fill(store: SqliteStore, key: ECKey) -> None:
    clients = (
        Client(
            "medsage-app",
            "MedSAGE app",
            registered_scope(),
            frozenset({"authorization_code", "refresh_token", "client_credentials"}),
            redirect_uris=(f"{ORIGIN}/app/callback",),
            launch_uri=f"{ORIGIN}/app/launch",
            frame_origins=(EHR_ORIGIN,),
            jwks={"keys": [key.as_dict(private=False)]},
            is_preapproved=True,
        ),
        Client(
            "medsage-ehr",
            "Record system",
            "openid fhirUser user/Patient.rs",
            redirect_uris=(f"{EHR_ORIGIN}/ehr/callback",),
            jwks={"keys": [key.as_dict(private=False)]},
            is_preapproved=True,
            is_ehr=True,
        ),
    )
    user = User("dr.amina", "Dr Amina Njoroge", frozenset({"doctor"}), "Practitioner/dr-amina")

    async def unit(tx: Any) -> None:
        for client in clients:
            await register_client(tx, client)
        await register_user(tx, user, _hashed())

    await store.transaction(unit)
