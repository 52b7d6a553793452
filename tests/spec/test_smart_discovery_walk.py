"""Discovery claims nothing that does not work: each member of both documents has a proof here,
which uses it as it is advertised; a member without one fails."""

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.security.authorization.client_secret import with_secret
from fhir_server.security.authorization.clients import register_client
from tests.smart_world import (
    ISSUER,
    SmartWorld,
    answer_of,
    clients,
    ec_key,
    hidden_fields,
    rsa_key,
    smart_world,
)

SMART = "/fhir/.well-known/smart-configuration"
OPENID = "/auth/.well-known/openid-configuration"
SECRET = "s" * 43
Prove = Callable[[SmartWorld, Any], Awaitable[None]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        app = next(client for client in clients() if client.id == "app")
        known = with_secret(replace(app, id="with-secret", jwks=None), SECRET)
        service = next(client for client in clients() if client.id == "service")
        for client in (known, replace(service, is_resource_server=True)):
            await opened.store.transaction(lambda tx, client=client: register_client(tx, client))
        yield opened


def _basic() -> dict[str, str]:
    pair = base64.b64encode(f"with-secret:{SECRET}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


async def _authenticated(
    world: SmartWorld, url: str, method: str, form: dict[str, str]
) -> httpx.Response:
    """POST the form as a client that uses the method."""
    proofs = {
        "private_key_jwt": world.proof("app"),
        "client_secret_basic": {},
        "none": {"client_id": "public-app"},
    }
    headers = _basic() if method == "client_secret_basic" else {}
    return await world.browser.post(url, data={**proofs[method], **form}, headers=headers)


def _methods(endpoint: str, form: dict[str, str], status: int) -> Prove:
    async def prove(world: SmartWorld, methods: list[str]) -> None:
        for method in methods:
            answer = await _authenticated(world, f"{ISSUER}/{endpoint}", method, form)
            assert answer.status_code == status, method
        for method in {"private_key_jwt", "client_secret_basic", "none"} - set(methods):
            answer = await _authenticated(world, f"{ISSUER}/{endpoint}", method, form)
            assert answer.json()["error"] == "invalid_client", method

    return prove


def _algorithms(endpoint: str, form: dict[str, str], status: int) -> Prove:
    async def prove(world: SmartWorld, algorithms: list[str]) -> None:
        keys = {"ES384": ec_key("service"), "RS384": rsa_key("service-rsa")}
        assert set(algorithms) == set(keys)
        for algorithm in algorithms:
            proof = world.proof("service", key=keys[algorithm], alg=algorithm)
            answer = await world.browser.post(f"{ISSUER}/{endpoint}", data={**proof, **form})
            assert answer.status_code == status, algorithm
        for other in ("RS256", "PS384"):
            proof = world.proof("service", key=rsa_key("service-rsa"), alg=other)
            answer = await world.browser.post(f"{ISSUER}/{endpoint}", data={**proof, **form})
            assert answer.json()["error"] == "invalid_client", other

    return prove


async def _issuer(world: SmartWorld, issuer: str) -> None:
    document = (await world.browser.get(f"{issuer}/.well-known/openid-configuration")).json()
    assert document["issuer"] == issuer
    claims = jwt.decode(
        (await world.tokens())["id_token"], world.server.keys.identity, ["RS256"]
    ).claims
    assert claims["iss"] == issuer


async def _jwks(world: SmartWorld, url: str) -> None:
    keys = KeySet.import_key_set((await world.browser.get(url)).json())
    jwt.decode((await world.tokens())["id_token"], keys, ["RS256"])


async def _authorize(world: SmartWorld, url: str) -> None:
    await world.sign_in()
    for method in ("GET", "POST"):
        sent = {"params" if method == "GET" else "data": world.asking()}
        assert "code" in answer_of(await world.browser.request(method, url, **sent))


async def _token(world: SmartWorld, url: str) -> None:
    form = {**world.proof("service"), "grant_type": "client_credentials", "scope": "system/Task.r"}
    assert (await world.browser.post(url, data=form)).json()["token_type"] == "Bearer"


async def _revocation(world: SmartWorld, url: str) -> None:
    tokens = await world.tokens()
    form = {**world.proof("app"), "token": tokens["access_token"]}
    assert (await world.browser.post(url, data=form)).status_code == 200
    with pytest.raises(Exception, match="revoked"):
        await world.who(tokens["access_token"])


async def _introspection(world: SmartWorld, url: str) -> None:
    form = {**world.proof("service"), "token": (await world.tokens())["access_token"]}
    assert (await world.browser.post(url, data=form)).json()["active"] is True


async def _registration(world: SmartWorld, url: str) -> None:
    body = {
        "client_name": "New",
        "redirect_uris": ["https://new.test/callback"],
        "scope": "openid",
        "token_endpoint_auth_method": "none",
    }
    made = (await world.browser.post(url, json=body)).json()
    headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
    answer = await world.browser.get(made["registration_client_uri"], headers=headers)
    assert answer.json()["client_id"] == made["client_id"]


async def _userinfo(world: SmartWorld, url: str) -> None:
    headers = {"Authorization": f"Bearer {(await world.tokens())['access_token']}"}
    assert (await world.browser.get(url, headers=headers)).json()["sub"] == "dr.amina"


async def _management(world: SmartWorld, url: str) -> None:
    """A user sees which apps have access, and takes it back."""
    tokens = await world.tokens("public-app", scope="openid offline_access")
    page = await world.browser.get(url)
    assert "Browser app" in page.text
    form = hidden_fields(page) | {"client": "public-app"}
    form = {name: form[name] for name in ("csrf", "client")}
    await world.browser.post(url, data=form)
    with pytest.raises(Exception, match="revoked"):
        await world.who(tokens["access_token"])


async def _end_session(world: SmartWorld, url: str) -> None:
    tokens = await world.tokens()
    asked = {"id_token_hint": tokens["id_token"], "state": "s"}
    asked["post_logout_redirect_uri"] = "https://app.test/bye"
    answer = await world.browser.get(url, params=asked)
    assert answer.headers["location"] == "https://app.test/bye?state=s"
    with pytest.raises(Exception, match="ended"):
        await world.who(tokens["access_token"])


async def _grant_types(world: SmartWorld, types: list[str]) -> None:
    tokens = await world.tokens()
    forms = {
        "authorization_code": ("app", {"code": await world.code(), "code_verifier": "v" * 64}),
        "refresh_token": ("app", {"refresh_token": tokens["refresh_token"]}),
        "client_credentials": ("service", {"scope": "system/Task.r"}),
    }
    for name in types:
        client, form = forms[name]
        if name == "authorization_code":
            form["redirect_uri"] = "https://app.test/callback"
        answer = await world.token(client, grant_type=name, **form)
        assert answer.status_code == 200, name
    for other in ("password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"):
        answer = await world.token("app", grant_type=other)
        assert answer.json()["error"] == "unsupported_grant_type"


async def _system_scopes(world: SmartWorld, scopes: list[str]) -> None:
    """Those of users are asked for in test_smart_discovery.py."""
    for scope in (one for one in scopes if one.startswith("system/")):
        answer = await world.token("service", grant_type="client_credentials", scope=scope)
        assert answer.json()["scope"] == "system/Task.rus system/Observation.cruds"


async def _response_types(world: SmartWorld, types: list[str]) -> None:
    await world.sign_in()
    for name in types:
        assert "code" in answer_of(await world.authorize(response_type=name))
    sent = answer_of(await world.authorize(response_type="token"))
    assert sent["error"] == "unsupported_response_type"


async def _challenges(world: SmartWorld, methods: list[str]) -> None:
    await world.sign_in()
    for method in methods:
        assert "code" in answer_of(await world.authorize(code_challenge_method=method))
    assert "error" in answer_of(await world.authorize(code_challenge_method="plain"))


async def _modes(world: SmartWorld, modes: list[str]) -> None:
    assert modes == ["query"]
    await world.sign_in()
    location = (await world.authorize()).headers["location"]
    assert "?code=" in location
    assert "#" not in location


async def _claims(world: SmartWorld, names: list[str]) -> None:
    tokens = await world.tokens(nonce="n")
    claims = jwt.decode(tokens["id_token"], world.server.keys.identity, ["RS256"]).claims
    assert set(names) <= claims.keys()
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()


async def _id_algorithms(world: SmartWorld, algorithms: list[str]) -> None:
    token = (await world.tokens())["id_token"]
    assert [jwt.decode(token, world.server.keys.identity, ["RS256"]).header["alg"]] == algorithms


async def _prompts(world: SmartWorld, values: list[str]) -> None:
    assert answer_of(await world.authorize(prompt="none"))["error"] == "login_required"
    await world.sign_in()
    pages = {"login": "login", "select_account": "login", "consent": "consent"}
    assert set(values) == {"none", *pages}
    assert "code" in answer_of(await world.authorize(prompt="none"))
    world.clock.forward(1)
    for value, page in pages.items():
        location = (await world.authorize(prompt=value)).headers["location"]
        assert location.startswith(page), value
        assert "csrf" in hidden_fields(await world.browser.get("/auth/" + location))
    assert answer_of(await world.authorize(prompt="create"))["error"] == "invalid_request"


async def _subjects(world: SmartWorld, types: list[str]) -> None:
    assert types == ["public"]
    subjects = set()
    for client in ("app", "ehr"):
        tokens = await world.tokens(client, scope="openid")
        token = jwt.decode(tokens["id_token"], world.server.keys.identity, ["RS256"])
        subjects.add(token.claims["sub"])
    assert subjects == {"dr.amina"}  # the same to every client


def _not_supported(parameter: str) -> Prove:
    async def prove(world: SmartWorld, claimed: bool) -> None:
        assert claimed is False
        await world.sign_in()
        sent = answer_of(await world.authorize(**{parameter: "x.y.z"}))
        refusals = {"claims": "invalid_request"}
        assert sent["error"] == refusals.get(parameter, f"{parameter}_not_supported")

    return prove


async def _names_its_issuer(world: SmartWorld, claimed: bool) -> None:
    assert claimed is True
    await world.sign_in()
    assert answer_of(await world.authorize())["iss"] == ISSUER


async def _capabilities(world: SmartWorld, names: list[str]) -> None:
    """Each has a proof in test_smart_discovery.py."""
    from tests.spec.test_smart_discovery import PROOFS as CAPABILITIES

    assert set(names) == set(CAPABILITIES)


TOKEN_FORM = {"grant_type": "authorization_code", "code": "x"}
PROOFS: dict[str, Prove] = {
    "issuer": _issuer,
    "jwks_uri": _jwks,
    "authorization_endpoint": _authorize,
    "token_endpoint": _token,
    "revocation_endpoint": _revocation,
    "introspection_endpoint": _introspection,
    "registration_endpoint": _registration,
    "management_endpoint": _management,
    "userinfo_endpoint": _userinfo,
    "end_session_endpoint": _end_session,
    "capabilities": _capabilities,
    "grant_types_supported": _grant_types,
    "scopes_supported": _system_scopes,
    "response_types_supported": _response_types,
    "response_modes_supported": _modes,
    "code_challenge_methods_supported": _challenges,
    # an unknown code is an invalid_grant (400) only to a client that has been authenticated
    "token_endpoint_auth_methods_supported": _methods("token", TOKEN_FORM, 400),
    "revocation_endpoint_auth_methods_supported": _methods("revoke", {"token": "x"}, 200),
    "introspection_endpoint_auth_methods_supported": _methods("introspect", {"token": "x"}, 200),
    "token_endpoint_auth_signing_alg_values_supported": _algorithms(
        "token", {"grant_type": "client_credentials", "scope": "system/Task.r"}, 200
    ),
    "revocation_endpoint_auth_signing_alg_values_supported": _algorithms(
        "revoke", {"token": "x"}, 200
    ),
    "introspection_endpoint_auth_signing_alg_values_supported": _algorithms(
        "introspect", {"token": "x"}, 200
    ),
    "subject_types_supported": _subjects,
    "id_token_signing_alg_values_supported": _id_algorithms,
    "claims_supported": _claims,
    "prompt_values_supported": _prompts,
    "claims_parameter_supported": _not_supported("claims"),
    "request_parameter_supported": _not_supported("request"),
    "request_uri_parameter_supported": _not_supported("request_uri"),
    "authorization_response_iss_parameter_supported": _names_its_issuer,
}


async def test_every_member_of_both_documents_has_a_proof_here(world: SmartWorld) -> None:
    listed: set[str] = set()
    for path in (SMART, OPENID):
        listed |= (await world.browser.get(path)).json().keys()
    assert listed == set(PROOFS)


@pytest.mark.parametrize("member", PROOFS)
async def test_an_advertised_member_works_as_advertised(world: SmartWorld, member: str) -> None:
    for path in (SMART, OPENID):
        document = (await world.browser.get(path)).json()
        if member in document:
            await PROOFS[member](world, document[member])
            return
    pytest.fail(f"{member} is in neither document")


async def test_both_documents_say_the_same_of_what_both_say(world: SmartWorld) -> None:
    smart, openid = [(await world.browser.get(path)).json() for path in (SMART, OPENID)]
    assert {name: smart[name] for name in smart.keys() & openid.keys()} == {
        name: openid[name] for name in smart.keys() & openid.keys()
    }
