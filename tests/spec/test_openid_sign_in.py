"""Sign-in at another OpenID provider (OpenID Connect Core 1.0, section 3.1): against a second
authorization server of our own, and against one that misbehaves."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.routing import Mount

from fhir_server.audit.journal import AuditTrail
from fhir_server.security.authorization import people
from fhir_server.security.authorization.app import authorization_server, create_authorization
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.clients import Client, register_client
from fhir_server.security.authorization.links import link_user
from fhir_server.security.authorization.openid_client import OpenIdClient
from fhir_server.security.authorization.people import Desk
from fhir_server.security.authorization.providers import (
    BadProvider,
    Provider,
    RoleRule,
    read_providers,
)
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.users import User, user_from
from fhir_server.security.keys import open_key_ring
from fhir_server.security.rate_limit import MemoryCounters
from fhir_server.storage.sqlite.store import SqliteStore
from tests.smart_world import (
    FHIR,
    ISSUER,
    PASSWORD,
    SmartWorld,
    answer_of,
    charts,
    hidden_fields,
    smart_world,
)

ID_ORIGIN = "https://id.test"
CALLBACK = f"{ISSUER}/external-callback"
CLINIC = Provider(
    "clinic",
    "Clinic <ID>",
    f"{ID_ORIGIN}/auth",
    "medsage",
    (RoleRule("sub", "dr.amina", "nurse"), RoleRule("groups", "heads", "admin")),
    scope="openid profile",
    parameters={"aud": f"{ID_ORIGIN}/fhir"},
    fhir_user_claim="person",
)


def use(world: SmartWorld, provider: Provider, transport: httpx2.AsyncBaseTransport) -> None:
    """Give a world's server a provider, as a start with other settings would."""
    rules = replace(world.server.rules, providers=(provider,))
    client = OpenIdClient(provider, CALLBACK, world.server.now, transport)
    object.__setattr__(world.server, "rules", rules)
    object.__setattr__(world.server, "openid", {provider.id: client})


@asynccontextmanager
async def second_server(world: SmartWorld, folder: Path) -> AsyncIterator[Starlette]:
    """Another authorization server of our own, where MedSAGE is a client and the same people have
    accounts."""
    store = SqliteStore.open(folder / "id.sqlite", world.clock)
    client = Client(
        "medsage",
        "MedSAGE",
        "openid profile fhirUser",
        redirect_uris=(CALLBACK,),
        post_logout_redirect_uris=(f"{ISSUER}/logout",),
        is_preapproved=True,
    )
    await store.transaction(lambda tx: register_client(tx, client))
    for name in ("dr.amina", "dr.kofi"):
        record = await world.store.record("user", name)
        assert record is not None
        await store.transaction(lambda tx, record=record: tx.put_record(record))
    server = authorization_server(
        store,
        await open_key_ring(store),
        MemoryCounters(world.clock),
        charts(store, world.clock),
        origin=ID_ORIGIN,
        lifetimes=Lifetimes(),
        clock=world.clock,
    )
    yield Starlette(routes=[Mount("/auth", create_authorization(server))])
    await store.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def at_clinic(application: Starlette, url: str, user: str) -> str:
    """Sign in at the second server; where it sends the browser back to."""
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url=ID_ORIGIN) as browser:
        answer = await browser.get(url)
        page = await browser.get("/auth/" + answer.headers["location"])
        form = hidden_fields(page) | {"username": user, "password": PASSWORD}
        return str((await browser.post("/auth/login", data=form)).headers["location"])


async def roles_of(world: SmartWorld, id: str) -> frozenset[str]:
    record = await world.store.record("user", id)
    assert record is not None
    return user_from(record).roles


async def test_a_person_signs_in_at_the_second_server_and_comes_back_to_the_app(
    world: SmartWorld, tmp_path: Path
) -> None:
    async with second_server(world, tmp_path) as clinic:
        use(world, CLINIC, httpx2.ASGITransport(clinic))
        asked = await world.authorize()
        page = await world.browser.get("/auth/" + asked.headers["location"])
        assert "Sign in with Clinic &lt;ID&gt;" in page.text
        (link,) = [part.split('"')[0] for part in page.text.split('href="') if "external?" in part]
        started = await world.browser.get("/auth/" + link.replace("&amp;", "&"))
        sent = dict(parse_qsl(urlsplit(started.headers["location"]).query))
        assert sent["code_challenge_method"] == "S256"
        assert {"state", "nonce", "code_challenge"} <= sent.keys()
        back = await at_clinic(clinic, started.headers["location"], "dr.amina")
        assert back.startswith(CALLBACK)
        done = await world.browser.get(back)
        tokens = await world.redeem(answer_of(done)["code"])
        who = await world.who(tokens.json()["access_token"])
        assert (who.subject, who.name, who.roles) == ("clinic:dr.amina", "Dr amina", {"nurse"})
        replayed = await world.browser.get(back)
        assert replayed.status_code == 400

        page = await world.browser.get("/auth/logout")
        gone = await world.browser.post("/auth/logout", data=hidden_fields(page))
        (there,) = [p.split('"')[0] for p in gone.text.split('href="') if "id_token_hint" in p]
        assert there.startswith(f"{ID_ORIGIN}/auth/logout?")
        transport = httpx.ASGITransport(clinic)
        async with httpx.AsyncClient(transport=transport) as browser:
            ended = await browser.get(there.replace("&amp;", "&"))
        assert ended.headers["location"] == f"{ISSUER}/logout"
    (entry,) = await world.journal("user-create")
    assert entry["detail"] == "first sign-in at clinic; roles: nurse"
    (entry,) = [e for e in await world.journal("login") if e["outcome"] == "success"]
    assert entry["detail"] == "provider clinic"


async def test_who_has_no_role_in_the_table_is_told_so_and_not_let_in(
    world: SmartWorld, tmp_path: Path
) -> None:
    async with second_server(world, tmp_path) as clinic:
        use(world, CLINIC, httpx2.ASGITransport(clinic))
        started = await world.browser.get("/auth/external?provider=clinic")
        refused = await world.browser.get(
            await at_clinic(clinic, started.headers["location"], "dr.kofi")
        )
    assert refused.status_code == 403
    assert "You have no role in MedSAGE" in refused.text
    assert await world.store.record("user", "clinic:dr.kofi") is None
    assert (await world.authorize()).headers["location"].startswith("login?")


KEY = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)


@dataclass
class Impostor:
    """A provider that answers what a test wants."""

    world: SmartWorld
    nonce: str = ""
    claims: dict[str, Any] | None = None
    sign: Callable[[dict[str, Any]], str] | None = None
    metadata: dict[str, Any] | None = None
    asked: list[httpx2.Request] | None = None

    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.answer)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked = [*(self.asked or []), request]
        path = request.url.path.rpartition("/")[2]
        if path == "openid-configuration":
            return httpx2.Response(200, json=self._discovery())
        if path == "jwks":
            return httpx2.Response(200, json={"keys": [KEY.as_dict(private=False)]})
        return httpx2.Response(
            200, json={"access_token": "x", "token_type": "Bearer", "id_token": self._token()}
        )

    def _discovery(self) -> dict[str, Any]:
        issuer = CLINIC.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            **(self.metadata or {}),
        }

    def _token(self) -> str:
        now = int(self.world.clock().timestamp())
        claims = {
            "iss": CLINIC.issuer,
            "sub": "8f3a",
            "aud": "medsage",
            "exp": now + 300,
            "iat": now,
            "nonce": self.nonce,
            "name": "Dr Remote",
            "groups": ["staff", "heads"],
            **(self.claims or {}),
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, KEY, ["RS256"])


async def come_back(
    world: SmartWorld, provider: Impostor, browser: httpx.AsyncClient | None = None, **query: str
) -> httpx.Response:
    """From the start to the provider and back, as if the person had signed in there."""
    browser = browser or world.browser
    started = await browser.get("/auth/external?provider=clinic")
    sent = dict(parse_qsl(urlsplit(started.headers["location"]).query))
    provider.nonce = sent["nonce"]
    return await browser.get(
        "/auth/external-callback", params={"state": sent["state"], "code": "c", **query}
    )


@pytest.fixture
def impostor(world: SmartWorld) -> Impostor:
    made = Impostor(world)
    use(world, CLINIC, made.transport())
    return made


async def test_a_right_answer_of_a_provider_with_groups_gives_the_role(
    world: SmartWorld, impostor: Impostor
) -> None:
    impostor.claims = {"person": "Practitioner/remote"}
    assert (await come_back(world, impostor)).headers["location"] == "login"
    record = await world.store.record("user", "clinic:8f3a")
    assert record is not None
    expected = User("clinic:8f3a", "Dr Remote", frozenset({"admin"}), "Practitioner/remote")
    assert user_from(record) == expected
    assert (await world.browser.get("/auth/admin/users")).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.test"},
        {"aud": "another-app"},
        {"aud": ["medsage", "another-app"]},
        {"azp": "another-app"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"iat": None},
        {"nonce": "x"},
        {"nonce": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
    ],
    ids=str,
)
async def test_a_claim_that_is_not_right_lets_nobody_in(
    world: SmartWorld, impostor: Impostor, claims: dict[str, Any]
) -> None:
    impostor.claims = claims
    refused = await come_back(world, impostor)
    assert refused.status_code == 502
    assert await world.store.record("user", "clinic:8f3a") is None
    (entry,) = await world.journal("login")
    assert f"{next(iter(claims))} is not right" in entry["detail"] or "azp" in entry["detail"]


def _signed(header: dict[str, str], claims: dict[str, Any], secret: bytes | None) -> str:
    """A JWT made by hand: joserfc makes none that is as wrong."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    mac = b"" if secret is None else hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _unsigned(claims: dict[str, Any]) -> str:
    return _signed({"alg": "none"}, claims, None)


def _by_public_key(claims: dict[str, Any]) -> str:
    return _signed({"alg": "HS256", "kid": "k1"}, claims, KEY.as_pem(private=False))


@pytest.mark.parametrize(
    "sign",
    [
        _unsigned,
        _by_public_key,
        lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, OTHER_KEY, ["RS256"]),
        lambda claims: jwt.encode({"alg": "RS512", "kid": "k1"}, claims, KEY, ["RS512"]),
        lambda claims: "rubbish",
    ],
    ids=["none", "HS256 with the public key", "another key", "an algorithm not listed", "rubbish"],
)
async def test_a_token_that_is_not_signed_as_it_must_be_lets_nobody_in(
    world: SmartWorld, impostor: Impostor, sign: Callable[[dict[str, Any]], str]
) -> None:
    impostor.sign = sign
    assert (await come_back(world, impostor)).status_code == 502
    (entry,) = await world.journal("login")
    assert "not signed as it must be" in entry["detail"]


async def test_an_answer_in_another_browser_or_with_another_state_lets_nobody_in(
    world: SmartWorld, impostor: Impostor
) -> None:
    started = await world.browser.get("/auth/external?provider=clinic")
    sent = dict(parse_qsl(urlsplit(started.headers["location"]).query))
    impostor.nonce = sent["nonce"]
    params = {"state": sent["state"], "code": "c"}
    async with world.new_browser() as victim:
        await victim.get("/auth/login")
        assert (await victim.get("/auth/external-callback", params=params)).status_code == 400
    for wrong in ({}, {"state": "guessed", "code": "c"}):
        assert (await world.browser.get("/auth/external-callback", params=wrong)).status_code == 400
    # The other browser's try has used the state up.
    assert (await world.browser.get("/auth/external-callback", params=params)).status_code == 400


async def test_an_answer_in_the_name_of_another_issuer_is_refused(
    world: SmartWorld, impostor: Impostor
) -> None:
    assert (await come_back(world, impostor, iss="https://evil.test")).status_code == 502
    assert (await come_back(world, impostor, iss=CLINIC.issuer)).status_code == 303


async def test_a_provider_that_promises_its_name_must_give_it(
    world: SmartWorld, impostor: Impostor
) -> None:
    impostor.metadata = {"authorization_response_iss_parameter_supported": True}
    assert (await come_back(world, impostor)).status_code == 502
    assert (await come_back(world, impostor, iss=CLINIC.issuer)).status_code == 303


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.test"},
        {"token_endpoint": "http://id.test/token"},
        {"jwks_uri": None},
    ],
    ids=str,
)
async def test_a_discovery_document_that_is_not_right_sends_nobody_away(
    world: SmartWorld, impostor: Impostor, metadata: dict[str, Any]
) -> None:
    impostor.metadata = metadata
    assert (await world.browser.get("/auth/external?provider=clinic")).status_code == 502


async def test_a_refusal_at_the_provider_is_told(world: SmartWorld, impostor: Impostor) -> None:
    refused = await come_back(world, impostor, error="access_denied")
    assert refused.status_code == 502
    assert "did not work" in refused.text
    assert (await world.browser.get("/auth/external?provider=other")).status_code == 404


async def test_the_client_secret_goes_in_the_header_the_provider_asks_for(
    world: SmartWorld, impostor: Impostor
) -> None:
    use(world, replace(CLINIC, client_secret="s3cret"), impostor.transport())
    await come_back(world, impostor)
    assert impostor.asked is not None
    by_header = [r.headers.get("authorization", "") for r in impostor.asked if r.method == "POST"]
    assert by_header[0].startswith("Basic ")
    impostor.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    use(world, replace(CLINIC, client_secret="s3cret"), impostor.transport())
    await come_back(world, impostor)
    (posted,) = [r for r in impostor.asked if r.method == "POST"][1:]
    assert "authorization" not in posted.headers
    assert "client_secret=s3cret" in posted.content.decode()
    assert "s3cret" not in repr(world.server.rules)


async def test_roles_follow_the_provider_at_each_sign_in(
    world: SmartWorld, impostor: Impostor
) -> None:
    boss = User("boss", "Boss", frozenset({"admin"}))
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    record = await world.store.record("user", "dr.amina")
    assert record is not None
    await people.create_user(Desk(world.store, trail, None), boss, record.value["password"])
    rules = (*CLINIC.roles, RoleRule("groups", "staff", "nurse"))
    use(world, replace(CLINIC, roles=rules), impostor.transport())
    await come_back(world, impostor)
    assert await roles_of(world, "clinic:8f3a") == {"admin", "nurse"}
    async with world.new_browser() as other:
        impostor.claims = {"groups": "staff"}
        await come_back(world, impostor, other)
    assert await roles_of(world, "clinic:8f3a") == {"nurse"}
    assert (await world.browser.get("/auth/account")).status_code == 303  # the admin's session
    impostor.claims = {"groups": []}
    assert (await come_back(world, impostor)).status_code == 403


async def test_a_disabled_person_is_not_let_in_by_the_provider(
    world: SmartWorld, impostor: Impostor
) -> None:
    await come_back(world, impostor)
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    record = await world.store.record("user", "clinic:8f3a")
    assert record is not None
    boss = User("boss", "Boss", frozenset({"admin"}))
    await people.create_user(Desk(world.store, trail, None), boss, record.value["password"])
    await people.disable_user(Desk(world.store, trail, "boss"), "clinic:8f3a")
    refused = await come_back(world, impostor)
    assert refused.status_code == 403
    assert "disabled" in refused.text
    await people.enable_user(Desk(world.store, trail, "boss"), "clinic:8f3a")
    form = hidden_fields(await world.browser.get("/auth/login"))
    for password in ("", " ", "clinic:8f3a"):
        typed = form | {"username": "clinic:8f3a", "password": password}
        assert (await world.browser.post("/auth/login", data=typed)).status_code == 400


async def test_an_equal_name_or_address_links_nobody(world: SmartWorld, impostor: Impostor) -> None:
    impostor.claims = {"name": "Dr amina", "email": "dr.amina", "preferred_username": "dr.amina"}
    await come_back(world, impostor)
    assert await roles_of(world, "dr.amina") == {"doctor"}
    assert await roles_of(world, "clinic:8f3a") == {"admin"}


async def test_a_linked_user_keeps_the_roles_given_here(
    world: SmartWorld, impostor: Impostor
) -> None:
    trail = AuditTrail(None, world.clock, world.server.new_id, FHIR)
    desk = Desk(world.store, trail, None)
    await link_user(desk, "dr.amina", CLINIC.issuer, "8f3a")
    with pytest.raises(people.RefusedChange, match="linked"):
        await link_user(desk, "dr.kofi", CLINIC.issuer, "8f3a")
    assert (await come_back(world, impostor)).status_code == 303
    assert "Dr amina" in (await world.browser.get("/auth/login")).text
    assert await roles_of(world, "dr.amina") == {"doctor"}


async def test_our_second_factor_is_asked_for_unless_the_provider_asks_for_one(
    world: SmartWorld, impostor: Impostor
) -> None:
    rules = SignInRules(second_factor_roles=frozenset({"admin"}))
    object.__setattr__(world.server, "rules", rules)
    use(world, CLINIC, impostor.transport())
    answer = await come_back(world, impostor)
    assert answer.headers["location"].startswith("enrol?")
    use(world, replace(CLINIC, asks_second_factor=True), impostor.transport())
    assert (await come_back(world, impostor)).headers["location"] == "login"


GOOD = {
    "id": "clinic",
    "name": "Clinic",
    "issuer": "https://id.test",
    "client_id": "medsage",
    "roles": [{"claim": "groups", "value": "doctors", "role": "doctor"}],
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issuer": "http://id.test"}, "issuer"),
        ({"id": "The Clinic"}, "id"),
        ({"scope": "profile"}, "scope"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"roles": []}, "roles"),
        ({"roles": [{"claim": "g", "value": "x", "role": "service"}]}, "roles"),
        ({"roles": [{"claim": "g"}]}, "roles"),
        ({"clientid": "x"}, "clientid"),
        ({"client_id": None}, "client_id"),
    ],
)
def test_a_provider_that_is_not_sound_is_refused_by_name(
    changes: dict[str, Any], says: str
) -> None:
    assert read_providers(json.dumps([GOOD]))[0].roles[0].role == "doctor"
    given = {n: v for n, v in (GOOD | changes).items() if v is not None}
    with pytest.raises(BadProvider, match=says):
        read_providers(json.dumps([given]))


def test_the_setting_must_be_a_list_without_repeats() -> None:
    for text, says in (("{", "JSON"), ("{}", "list"), (json.dumps([GOOD, GOOD]), "same id")):
        with pytest.raises(BadProvider, match=says):
            read_providers(text)
