"""The app on the real parts: authorization server, guarded FHIR server and embedded store, with
the AI worker run by hand, in one process."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
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
from fhir_server.security.authorization.app import (
    authorization_server,
    create_authorization,
    create_discovery,
)
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.charts import Charts
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.users import User, hash_password, register_user
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.keys import open_key_ring
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.storage.sqlite.store import SqliteStore
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Worker
from smart_app.app import create_app
from smart_app.issuers import AppConfig, Issuer
from smart_app.launch.scopes import registered_scope
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

    def worker(self, smear: Any) -> Worker:
        """A worker that reads images with `smear`."""
        return Worker(self.as_worker, Analysts(smear, SafeAnalyst()))


@asynccontextmanager
async def app_world(folder: Path) -> AsyncIterator[AppWorld]:
    """Open a world with two patients and dr.amina; the store lies in `folder`."""
    store = SqliteStore.open(folder / "store.sqlite", _now)
    key = ECKey.generate_key("P-384", {"kid": "app"}, private=True)
    await _fill(store, key)
    keys = await open_key_ring(store)
    server = authorization_server(
        store,
        keys,
        MemoryCounters(_now),
        Charts(LiveSearch(lambda _: _extract(), registry()), CursorSealer(b"k" * 32)),
        origin=ORIGIN,
        lifetimes=Lifetimes(),
        clock=_now,
    )

    async def authenticate(headers: Mapping[str, str]) -> Principal | None:
        return await server.verifier.verify(headers.get("authorization"))

    async def nobody(headers: Mapping[str, str]) -> Principal | None:
        return None

    guarded = _fhir(store, authenticate, is_open=False)
    unguarded = _fhir(store, nobody, is_open=True)
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

    http = httpx.AsyncClient(transport=httpx.ASGITransport(server_side), base_url=ORIGIN)
    issuer = Issuer("Demo", FHIR, "medsage-app", key.as_dict(private=True), (EHR_ORIGIN,))
    app = create_app(AppConfig(ORIGIN, (issuer,), b"s" * 32), http)
    application = Starlette(routes=[Mount("/app", app), Mount("/", server_side)])
    bare = httpx.ASGITransport(unguarded, root_path="/fhir")
    async with http, httpx.AsyncClient(transport=bare, base_url=FHIR) as worker_http:
        client = FhirClient(worker_http, FHIR, CallerToken(None))
        for patient in PATIENTS:
            path = f"{FHIR}/{patient['resourceType']}/{patient['id']}"
            answer = await worker_http.put(
                path,
                content=orjson.dumps(patient),
                headers={"content-type": "application/fhir+json"},
            )
            assert answer.status_code == 201, answer.text
        yield AppWorld(application, store, key, client)
    await store.close()


@cache
def _extract() -> Any:
    return with_guard_terms(Extractor(registry(), FHIR), FHIR)


def _fhir(store: SqliteStore, authenticate: Any, *, is_open: bool) -> Any:
    async def no_origin(origin: str) -> bool:
        return False

    return RequestIds(
        FhirApplication(
            FhirParts(
                store=store,
                search=LiveSearch(lambda _: _extract(), registry()),
                validator=validator(),
                cursors=CursorSealer(b"k" * 32),
                authenticate=authenticate,
                allows_origin=no_origin,
                metrics=FhirMetrics(CollectorRegistry()),
                clock=_now,
                new_id=_new_id,
                facts=ServerFacts(FHIR, "0.1.0", _now(), True),
                max_body_bytes=30_000_000,
                is_open=is_open,
            )
        ),
        _new_id,
    )


def _new_id() -> str:
    return str(uuid.uuid4())


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
        await register_user(tx, user, hash_password(PASSWORD))

    await store.transaction(unit)
