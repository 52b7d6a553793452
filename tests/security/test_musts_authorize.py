"""Each MUST of SMART App Launch 2.2 about the authorization request, the redirect, PKCE and CORS,
broken on purpose. The keys are the ids in the requirements' list of SMART 2.2.0
(`test_musts_complete.py` sees that none is missing)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from tests.launch_world import WIDE, granted, launch_world
from tests.smart_world import (
    FHIR,
    ISSUER,
    PASSWORD,
    VERIFIER,
    SmartWorld,
    answer_of,
    challenge_of,
    hidden_fields,
)

Break = Callable[[SmartWorld], Awaitable[None]]
EVIL = "https://evil.test"
DISCOVERY = "/fhir/.well-known/smart-configuration"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        await opened.sign_in()
        yield opened


async def _without(world: SmartWorld, name: str) -> None:
    """The parameter is missing: an error that names it, and no code."""
    sent = answer_of(await world.authorize(**{name: None}))
    assert sent["error"] == "invalid_request"
    assert name in sent["error_description"]
    assert "code" not in sent


async def _pkce_is_hashed(world: SmartWorld) -> None:
    """A challenge that is the verifier itself, as plain would have it, redeems nothing."""
    document = (await world.browser.get(DISCOVERY)).json()
    assert document["code_challenge_methods_supported"] == ["S256"]
    plain = "v" * 43
    code = await world.code(code_challenge=plain)
    assert (await world.redeem(code, code_verifier=plain)).json()["error"] == "invalid_grant"
    code = await world.code(code_challenge=challenge_of(VERIFIER))
    assert (await world.redeem(code)).status_code == 200


async def _pkce_plain(world: SmartWorld) -> None:
    for method in ("plain", "PLAIN", "none", "S256 plain"):
        sent = answer_of(await world.authorize(code_challenge_method=method))
        assert sent["error"] == "invalid_request"
        assert "code_challenge_method" in sent["error_description"]


async def _discovery_for_every_origin(world: SmartWorld) -> None:
    for path in (DISCOVERY, "/fhir/metadata"):
        answer = await world.browser.get(path, headers={"Origin": EVIL})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    answer = await world.browser.get("/fhir/Patient/ama", headers={"Origin": EVIL})
    assert "access-control-allow-origin" not in answer.headers


async def _cors_for_registered_origins_alone(world: SmartWorld) -> None:
    """An origin that looks like a registered one is none."""
    token = (await granted(world, "user/Patient.rs"))["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    wrong = (
        EVIL,
        "https://wide.test.evil.test",
        "http://wide.test",
        "https://wide.test:444",
        "null",
    )
    for origin in ("https://wide.test", *wrong):
        headers = {"Origin": origin}
        read = await world.browser.get("/fhir/Patient/ama", headers=headers | bearer)
        flight = {**headers, "Access-Control-Request-Method": "POST"}
        asked = await world.browser.options("/auth/token", headers=flight)
        form = {"grant_type": "refresh_token", "client_id": WIDE.id, "refresh_token": "x"}
        sent = await world.browser.post("/auth/token", data=form, headers=headers)
        allowed = [each.headers.get("access-control-allow-origin") for each in (read, asked, sent)]
        assert allowed == ([origin] * 3 if origin == "https://wide.test" else [None] * 3), origin


async def _unregistered_addresses(world: SmartWorld) -> None:
    for uri in (f"{EVIL}/callback", "https://app.test/callback/", "https://app.test/other"):
        answer = await world.authorize(redirect_uri=uri)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
    launched = await world.launch(await world.ehr_token(), "wide", patient="ama")
    assert "no app that can be launched" in launched.json()["error_description"]


async def _verifier(world: SmartWorld) -> None:
    for verifier in (None, "w" * 64, "v" * 63):
        answer = await world.redeem(await world.code(), code_verifier=verifier)
        assert answer.json()["error"] == "invalid_grant"


async def _response_type(world: SmartWorld) -> None:
    await _without(world, "response_type")
    for other in ("token", "id_token", "code id_token", "Code"):
        sent = answer_of(await world.authorize(response_type=other))
        assert sent["error"] == "unsupported_response_type"
        assert not {"code", "access_token", "id_token"} & sent.keys()


async def _client_id(world: SmartWorld) -> None:
    for wrong in ("nobody", ""):
        asked = world.asking() | {"client_id": wrong}
        answer = await world.browser.get("/auth/authorize", params=asked)
        assert (answer.status_code, "location" in answer.headers) == (400, False)


async def _launch_of_another_app(world: SmartWorld) -> None:
    made = (await world.launch(await world.ehr_token(), "third")).json()["launch"]
    for handle in (made, "guess", made[:-1]):
        sent = answer_of(await world.authorize(launch=handle, scope="openid launch"))
        assert sent["error"] == "invalid_request"


async def _launch_is_no_one_elses(world: SmartWorld) -> None:
    """A launch does not come back: not in another session, nor after it was used."""
    handle = (await world.launch(await world.ehr_token())).json()["launch"]
    async with world.new_browser() as other:
        await world.sign_in("dr.kofi", other)
        sent = answer_of(await world.authorize(browser=other, launch=handle, scope="openid launch"))
        assert sent["error"] == "access_denied"
    assert "code" in answer_of(await world.authorize(launch=handle, scope="openid launch"))
    sent = answer_of(await world.authorize(launch=handle, scope="openid launch"))
    assert sent["error"] == "invalid_request"


async def _no_launch_in_a_standalone_one(world: SmartWorld) -> None:
    """The scope launch alone makes no launch."""
    tokens = await granted(world, "openid launch user/Patient.rs")
    assert "launch" not in tokens["scope"].split()
    assert not {"patient", "smart_style_url"} & tokens.keys()


async def _scope(world: SmartWorld) -> None:
    await _without(world, "scope")
    for nothing in ("launch", "unknown words", "system/*.cruds", "user/Observation.c"):
        assert answer_of(await world.authorize(scope=nothing))["error"] == "invalid_scope"


async def _audience(world: SmartWorld) -> None:
    await _without(world, "aud")
    for other in (f"{EVIL}/fhir", f"{FHIR}/x", FHIR.replace("https", "http"), ISSUER):
        sent = answer_of(await world.authorize(aud=other))
        assert sent["error"] == "invalid_request"
        assert "aud" in sent["error_description"]


async def _challenge_method(world: SmartWorld) -> None:
    await _without(world, "code_challenge_method")


async def _get_and_post_alike(world: SmartWorld) -> None:
    """Either method is judged the same, and no other method or form is."""
    for wrong in ({"aud": "x"}, {"code_challenge_method": "plain"}, {"state": None}):
        by_get = answer_of(await world.authorize(**wrong))
        by_post = answer_of(await world.browser.post("/auth/authorize", data=world.asking(**wrong)))
        assert by_get == by_post
    asked = await world.browser.post("/auth/authorize", json=world.asking())
    assert (asked.status_code, "location" in asked.headers) == (400, False)
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await world.browser.request(method, "/auth/authorize")).status_code == 405


async def _denied_is_no_code(world: SmartWorld) -> None:
    answer = await world.authorize("third", scope="openid")
    form = hidden_fields(await world.browser.get("/auth/" + answer.headers["location"]))
    denied = answer_of(await world.browser.post("/auth/consent", data=form | {"decision": "no"}))
    assert denied["error"] == "access_denied"
    assert "code" not in denied


async def _granted_by_the_user_alone(world: SmartWorld) -> None:
    """Without the user's answer there is no code."""
    answer = await world.authorize("third", scope="openid")
    assert answer.headers["location"].startswith("consent?")
    sent = answer_of(await world.authorize("third", scope="openid", prompt="none"))
    assert sent["error"] == "consent_required"


async def _only_where_it_was_asked_from(world: SmartWorld) -> None:
    """The code goes to the address of the request, and is worth nothing with the client's other
    one."""
    first, second = WIDE.redirect_uris
    asked = world.asking() | {"client_id": WIDE.id, "redirect_uri": second, "scope": "openid"}
    answer = await world.browser.get("/auth/authorize", params=asked)
    assert answer.headers["location"].startswith(f"{second}?")
    form = {
        "grant_type": "authorization_code",
        "client_id": WIDE.id,
        "code": answer_of(answer)["code"],
        "code_verifier": VERIFIER,
    }
    for uri in (first, f"{second}/", ""):
        tokens = await world.browser.post("/auth/token", data=form | {"redirect_uri": uri})
        assert tokens.json()["error"] == "invalid_grant"


async def _codes_are_not_to_be_guessed(world: SmartWorld) -> None:
    codes = {await world.code() for _ in range(3)}
    assert len(codes) == 3
    assert min(map(len, codes)) >= 43
    for code in codes:
        assert (await world.redeem(code[:-1])).json()["error"] == "invalid_grant"


async def _exact_state(world: SmartWorld) -> None:
    for state in ("a b+c%20&code=x", "é/漢", "'\"><script>", "x" * 4000, "code=evil&state=2"):
        sent = answer_of(await world.authorize(state=state))
        assert sent["state"] == state
        assert sent["code"] != "evil"
    await _without(world, "state")


async def _forged_sign_in(world: SmartWorld) -> None:
    """An attacker's form does not sign the victim in as the attacker and send a code."""
    async with world.new_browser() as attacker:
        answer = await world.authorize(browser=attacker)
        form = hidden_fields(await attacker.get("/auth/" + answer.headers["location"]))
    form |= {"username": "dr.kofi", "password": PASSWORD}
    forged = await world.browser.post("/auth/login", data=form, headers={"Origin": EVIL})
    assert forged.status_code == 403


BREAKS: Mapping[int, Break] = {
    14: _pkce_is_hashed,
    15: _pkce_plain,
    16: _discovery_for_every_origin,
    17: _cors_for_registered_origins_alone,
    18: _unregistered_addresses,
    31: _verifier,
    32: _response_type,
    33: _client_id,
    34: _unregistered_addresses,
    35: _launch_of_another_app,
    36: _no_launch_in_a_standalone_one,
    37: _scope,
    39: _forged_sign_in,
    41: _audience,
    42: _audience,
    44: lambda world: _without(world, "code_challenge"),
    45: _challenge_method,
    48: _get_and_post_alike,
    49: _get_and_post_alike,
    53: _granted_by_the_user_alone,
    54: _denied_is_no_code,
    56: _only_where_it_was_asked_from,
    57: _codes_are_not_to_be_guessed,
    59: _exact_state,
    161: _launch_is_no_one_elses,
    205: _response_type,
}


ONCE = list({test: must for must, test in BREAKS.items()}.values())
"""One id of each break: several musts may be broken by one."""


@pytest.mark.parametrize("must", ONCE, ids="SMART-{}".format)
async def test_what_breaks_a_must_is_refused(world: SmartWorld, must: int) -> None:
    await BREAKS[must](world)
