"""A whole authorization server over a real SQLite store, with clients, users and a patient, for
the tests of SMART and OAuth."""

import base64
import hashlib
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import orjson
from argon2 import PasswordHasher
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.routing import Mount, Route

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
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.security.authorization.users import PasswordHash, User, register_user
from fhir_server.security.checked_fetch import Fetched, Unreachable
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.keys import CURRENT, KIND, open_key_ring
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.security.rulebook import Rulebook, prepare
from fhir_server.storage.port import Draft, Key, Record, ResourceStore, Stored, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.fhir_world import registry

ORIGIN = "https://medsage.test"
FHIR = f"{ORIGIN}/fhir"
ISSUER = f"{ORIGIN}/auth"
EHR_ORIGIN = "https://ehr.test"
PASSWORD = "correct horse battery"
VERIFIER = "v" * 64
BEARER_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
APP_SCOPES = (
    "openid fhirUser profile launch launch/patient launch/encounter online_access "
    "patient/*.cruds user/*.rs"
)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@cache
def ec_key(name: str) -> ECKey:
    """A P-384 key with the name as its kid."""
    return ECKey.generate_key("P-384", {"kid": name}, private=True)


@cache
def rsa_key(name: str) -> RSAKey:
    """An RSA key of 2048 bits with the name as its kid."""
    return RSAKey.generate_key(2048, {"kid": name}, private=True)


@cache
def password_hash() -> PasswordHash:
    """Of PASSWORD; cheap to check, so that a suite of hundreds of sign-ins stays quick."""
    return PasswordHash(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD))


def _public(*keys: ECKey | RSAKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def challenge_of(verifier: str) -> str:
    """The S256 code_challenge, computed by the RFC's words."""
    hashed = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def clients() -> list[Client]:
    """The registered clients: first-party app, public app, third-party app, service, EHR."""
    return [
        Client(
            "app",
            "MedSAGE app",
            APP_SCOPES + " offline_access",
            redirect_uris=("https://app.test/callback",),
            launch_uri="https://app.test/launch",
            post_logout_redirect_uris=("https://app.test/bye",),
            frame_origins=(EHR_ORIGIN,),
            jwks=_public(ec_key("app")),
            is_preapproved=True,
        ),
        Client(
            "public-app",
            "Browser app",
            "openid fhirUser launch patient/Observation.rs offline_access",
            redirect_uris=("https://public.test/callback",),
            launch_uri="https://public.test/launch",
            is_preapproved=True,
        ),
        Client(
            "third",
            "Third party <b>app</b>",
            "openid fhirUser launch patient/Observation.rs user/Patient.rs",
            redirect_uris=("https://third.test/callback",),
            launch_uri="https://third.test/launch",
            frame_origins=(EHR_ORIGIN,),
            jwks=_public(ec_key("third")),
        ),
        Client(
            "service",
            "Analysis worker",
            "system/Task.rus system/Observation.cruds",
            grant_types=frozenset({"client_credentials"}),
            jwks=_public(ec_key("service"), rsa_key("service-rsa")),
        ),
        Client(
            "ehr",
            "Record system",
            "openid fhirUser online_access user/Patient.rs user/Encounter.rs",
            redirect_uris=(f"{EHR_ORIGIN}/ehr/callback",),
            post_logout_redirect_uris=(f"{EHR_ORIGIN}/ehr/",),
            jwks=_public(ec_key("ehr")),
            is_preapproved=True,
            is_ehr=True,
        ),
    ]


async def _fill(tx: Transaction) -> None:
    for client in clients():
        await register_client(tx, client)
    for name in ("amina", "kofi"):
        user = User(f"dr.{name}", f"Dr {name}", frozenset({"doctor"}), f"Practitioner/dr-{name}")
        await register_user(tx, user, password_hash())
    resources = (
        {"resourceType": "Patient", "id": "p1"},
        {"resourceType": "Patient", "id": "p2"},
        {"resourceType": "Encounter", "id": "e1", "subject": {"reference": "Patient/p1"}},
    )
    for resource in resources:
        await put(tx, resource)


async def put(tx: Transaction, resource: dict[str, Any]) -> None:
    """Write a resource as its first version, with all that it can be found by."""
    key = Key(resource["resourceType"], resource["id"])
    stored = Stored(key, 1, datetime(2026, 3, 1, tzinfo=UTC), orjson.dumps(resource))
    await tx.put(Draft(stored, extract()(resource)), expected=0)


@cache
def extract() -> Any:
    """The extractor of this FHIR base."""
    return with_guard_terms(Extractor(registry(), FHIR), FHIR)


def search() -> LiveSearch:
    """The search parameters of this FHIR base."""
    return LiveSearch(lambda _: extract(), registry())


def charts(store: ResourceStore, clock: Clock) -> Charts:
    """How charts are looked for here."""
    return Charts(search(), CursorSealer(b"k" * 32), Rulebook(store, clock))


@dataclass
class Web:
    """What lies at the addresses where clients publish their keys; the fetches are counted."""

    pages: dict[str, Fetched | Unreachable] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, url: str) -> Fetched:
        self.asked.append(url)
        page = self.pages.get(url, Unreachable("answered with status 404"))
        if isinstance(page, Unreachable):
            raise page
        return page

    def publish(self, url: str, *keys: ECKey | RSAKey, **headers: str) -> None:
        """Put the public keys at the address; `cache_control="…"` and the like are headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[url] = Fetched(orjson.dumps(_public(*keys)), named)


_KEYS: dict[str, Any] = {}


@dataclass
class SmartWorld:
    """The server, its store and clock, and one browser."""

    server: AuthorizationServer
    store: ResourceStore
    clock: Clock
    application: Starlette
    browser: httpx.AsyncClient
    web: Web

    def new_browser(self, **headers: str) -> httpx.AsyncClient:
        """Another browser, with its own cookies."""
        transport = httpx.ASGITransport(self.application, client=("10.0.0.9", 1234))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)

    def asking(self, client_id: str = "app", **changes: str | None) -> dict[str, str]:
        """The parameters of a right authorization request, changed; None leaves one out."""
        client = next(client for client in clients() if client.id == client_id)
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": client.redirect_uris[0],
            "scope": "openid fhirUser online_access user/Patient.rs",
            "state": "st ate&1",
            "aud": FHIR,
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    async def authorize(
        self,
        client_id: str = "app",
        browser: httpx.AsyncClient | None = None,
        **changes: str | None,
    ) -> httpx.Response:
        """GET /auth/authorize without following the redirect."""
        asked = self.asking(client_id, **changes)
        return await (browser or self.browser).get("/auth/authorize", params=asked)

    async def sign_in(
        self, user: str = "dr.amina", browser: httpx.AsyncClient | None = None, url: str = ""
    ) -> httpx.Response:
        """Fill in and send the sign-in form."""
        browser = browser or self.browser
        form = hidden_fields(await browser.get(url or "/auth/login"))
        form |= {"username": user, "password": PASSWORD}
        return await browser.post("/auth/login", data=form)

    async def code(
        self,
        client_id: str = "app",
        browser: httpx.AsyncClient | None = None,
        **changes: str | None,
    ) -> str:
        """A code, signed in first if need be."""
        answer = await self.authorize(client_id, browser, **changes)
        if answer.headers["location"].startswith("login"):
            answer = await self.sign_in(browser=browser, url="/auth/" + answer.headers["location"])
        return answer_of(answer)["code"]

    def assertion(self, client_id: str, key: Any = None, alg: str = "", **changes: Any) -> str:
        """A client assertion, right unless changed; None leaves a claim out."""
        key = key or ec_key(client_id)
        now = int(self.clock().timestamp())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": f"{ISSUER}/token",
            "iat": now,
            "exp": now + 240,
            "jti": str(uuid.uuid4()),
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        alg = alg or ("RS384" if isinstance(key, RSAKey) else "ES384")
        return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, claims, key, [alg])

    def proof(self, client_id: str, **changes: Any) -> dict[str, str]:
        """The form fields that authenticate a client."""
        if client_id == "public-app":
            return {"client_id": client_id}
        assertion = self.assertion(client_id, **changes)
        return {"client_assertion_type": BEARER_TYPE, "client_assertion": assertion}

    async def token(self, client: str = "app", **form: str | None) -> httpx.Response:
        """POST /auth/token, authenticated unless `form` brings its own proof."""
        fields: dict[str, str | None] = {**self.proof(client), **form}
        sent = {name: value for name, value in fields.items() if value is not None}
        return await self.browser.post("/auth/token", data=sent)

    async def redeem(self, code: str, client_id: str = "app", **form: str | None) -> httpx.Response:
        """Exchange a code."""
        client = next(client for client in clients() if client.id == client_id)
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uris[0],
            "code_verifier": VERIFIER,
            **form,
        }
        return await self.token(client_id, **fields)

    async def tokens(self, client_id: str = "app", **changes: str | None) -> dict[str, Any]:
        """The token response of a whole authorization."""
        answer = await self.redeem(await self.code(client_id, **changes), client_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def refresh(self, refresh_token: str, client_id: str = "app", **form: str | None) -> Any:
        """Exchange a refresh token."""
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, **form}
        return await self.token(client_id, **fields)

    async def ehr_token(self) -> str:
        """An access token of the EHR, with dr.amina signed in there."""
        tokens = await self.tokens("ehr", scope="openid online_access user/Patient.rs")
        return str(tokens["access_token"])

    async def launch(self, token: str, app: str = "app", **body: Any) -> httpx.Response:
        """Ask for a launch of patient p1 as the EHR does."""
        asked = {"client_id": app, "patient": "p1", **body}
        headers = {"Authorization": f"Bearer {token}"}
        return await self.browser.post("/auth/launch", json=asked, headers=headers)

    async def launched_code(self, app: str = "app", **changes: str | None) -> str:
        """A code from a launch in a frame: a browser without cookies, and no sign-in page."""
        handle = (await self.launch(await self.ehr_token(), app)).json()["launch"]
        asked = {
            "launch": handle,
            "scope": "openid fhirUser launch online_access patient/Observation.rs",
            **changes,
        }
        async with self.new_browser() as frame:
            return answer_of(await self.authorize(app, frame, **asked))["code"]

    async def who(self, access_token: str) -> Principal:
        """The principal that the resource server sees."""
        return await self.server.verifier.verify(f"Bearer {access_token}")

    async def journal(self, interaction: str) -> list[dict[str, Any]]:
        """The audit records of one kind of interaction, oldest first."""
        entries = [orjson.loads(one.entry) for one in await self.store.journal(1000)]
        return [entry for entry in entries if entry["interaction"] == interaction]


def hidden_fields(answer: httpx.Response) -> dict[str, str]:
    """The hidden fields of the form on a page, and its boxes that are ticked."""
    assert answer.status_code < 500, answer.text
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.text)
    ticked = re.findall(r'type="checkbox"[^>]* name="([^"]+)" value="([^"]*)" checked', answer.text)
    return {name: unescape(value) for name, value in [*hidden, *ticked]}


def answer_of(answer: httpx.Response) -> dict[str, str]:
    """The parameters that were sent to the app by redirect."""
    assert answer.status_code in (302, 303), answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


@asynccontextmanager
async def smart_world(
    folder: Path, store: ResourceStore | None = None, *, takes_registrations: bool = True
) -> AsyncIterator[SmartWorld]:
    """Open a world in the folder, or on an empty store."""
    clock = Clock()
    store = store or SqliteStore.open(folder / "store.sqlite", clock)
    async with smart_world_over(store, clock, takes_registrations=takes_registrations) as world:
        yield world
    await store.close()


@asynccontextmanager
async def smart_world_over(
    store: ResourceStore, clock: Clock, *, takes_registrations: bool = True
) -> AsyncIterator[SmartWorld]:
    """A world over an empty store that goes by the clock."""
    if _KEYS:
        await store.transaction(lambda tx: tx.put_record(Record(KIND, CURRENT, _KEYS)))
    keys = await open_key_ring(store, clock)
    _KEYS.update((await store.record(KIND, CURRENT)).value)  # type: ignore[union-attr]
    await store.transaction(_fill)
    await prepare(store, is_indexed=True)
    web = Web()
    server = authorization_server(
        store,
        keys,
        MemoryCounters(clock),
        charts(store, clock),
        origin=ORIGIN,
        lifetimes=Lifetimes(),
        clock=clock,
        fetch=web,
        takes_registrations=takes_registrations,
    )
    application = Starlette(
        routes=[
            Route("/fhir/.well-known/smart-configuration", create_discovery(server)),
            Mount("/auth", create_authorization(server)),
        ]
    )
    transport = httpx.ASGITransport(application, client=("10.0.0.1", 1234))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
        yield SmartWorld(server, store, clock, application, browser, web)
