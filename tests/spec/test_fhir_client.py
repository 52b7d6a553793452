"""The FHIR client of a backend service: tokens, pages, errors (SMART Backend Services)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from models.fhir_client import (
    BackendClient,
    BackendToken,
    CallerToken,
    FhirClient,
    FhirFailure,
    FhirUnreachable,
)
from tests.smart_world import ISSUER, ec_key, smart_world

BASE, TOKEN_URL = "https://fhir.test/fhir", "https://fhir.test/auth/token"
KEY = ECKey.generate_key("P-384", {"kid": "k1"})


class Server:
    """A token endpoint and a FHIR endpoint that accepts the newest token only."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.issued = 0
        self.assertions: list[str] = []
        self.pages: dict[str, Any] = {}
        self.delay_seconds = 0.0
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        client = BackendClient("medsage-worker", KEY, "system/Task.rus", TOKEN_URL)
        ids = iter(range(1000))
        self.tokens = BackendToken(self.http, client, lambda: self.now, lambda: str(next(ids)))
        self.fhir = FhirClient(self.http, BASE, self.tokens)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) == TOKEN_URL:
            await asyncio.sleep(self.delay_seconds)
            form = parse_qs(request.content.decode())
            self.assertions += form["client_assertion"]
            assert form["grant_type"] == ["client_credentials"]
            self.issued += 1
            return httpx.Response(
                200, json={"access_token": f"token-{self.issued}", "expires_in": 300}
            )
        if request.headers.get("Authorization") != f"Bearer token-{self.issued}":
            issue = {"severity": "error", "code": "login", "diagnostics": "expired"}
            return httpx.Response(401, json={"resourceType": "OperationOutcome", "issue": [issue]})
        status, content = self.pages.get(str(request.url), (404, {}))
        return (
            httpx.Response(status, content=content)
            if isinstance(content, bytes)
            else (httpx.Response(status, json=content))
        )


@pytest.fixture
def server() -> Server:
    made = Server()
    made.pages[f"{BASE}/Patient/1"] = (200, {"resourceType": "Patient", "id": "1"})
    return made


async def test_the_assertion_is_signed_with_es384_and_names_the_token_endpoint(
    server: Server,
) -> None:
    await server.fhir.read("Patient/1")
    await server.tokens.refused("token-1")
    await server.fhir.read("Patient/1")

    first, second = (jwt.decode(a, KEY, algorithms=["ES384"]) for a in server.assertions)
    assert first.header["alg"] == "ES384"
    assert first.header["kid"] == "k1"
    assert first.claims["iss"] == first.claims["sub"] == "medsage-worker"
    assert first.claims["aud"] == TOKEN_URL
    assert first.claims["exp"] - first.claims["iat"] <= 300
    assert first.claims["jti"] != second.claims["jti"]


async def test_a_token_is_kept_until_shortly_before_it_expires(server: Server) -> None:
    await server.fhir.read("Patient/1")
    server.now += timedelta(seconds=269)
    await server.fhir.read("Patient/1")
    assert server.issued == 1

    server.now += timedelta(seconds=2)
    await server.fhir.read("Patient/1")
    assert server.issued == 2


async def test_many_at_once_ask_for_one_token(server: Server) -> None:
    server.delay_seconds = 0.02

    await asyncio.gather(*(server.fhir.read("Patient/1") for _ in range(10)))

    assert server.issued == 1


async def test_a_refused_token_is_replaced_and_the_request_sent_again(server: Server) -> None:
    await server.fhir.read("Patient/1")
    server.issued += 1  # the server has forgotten the token given before

    assert (await server.fhir.read("Patient/1"))["id"] == "1"


async def test_the_callers_token_is_passed_on_and_never_replaced(server: Server) -> None:
    with pytest.raises(FhirFailure, match="401 expired"):
        await server.fhir.with_tokens(CallerToken("stolen")).read("Patient/1")

    assert server.issued == 0


async def test_a_search_goes_through_all_pages_and_leaves_out_included_resources(
    server: Server,
) -> None:
    def page(ids: list[str], following: str | None) -> dict[str, Any]:
        entries: list[dict[str, Any]] = [
            {"resource": {"resourceType": "Task", "id": i}, "search": {"mode": "match"}}
            for i in ids
        ]
        entries.append({"resource": {"resourceType": "Patient"}, "search": {"mode": "include"}})
        links = [{"relation": "next", "url": following}] if following else []
        return {"resourceType": "Bundle", "entry": entries, "link": links}

    server.pages[f"{BASE}/Task?status=requested"] = (200, page(["1", "2"], f"{BASE}/Task?page=x"))
    server.pages[f"{BASE}/Task?page=x"] = (200, page(["3"], None))

    found = [task["id"] async for task in server.fhir.search("Task", {"status": "requested"})]

    assert found == ["1", "2", "3"]


async def test_a_page_link_to_another_server_is_refused(server: Server) -> None:
    content = {"resourceType": "Bundle", "link": [{"relation": "next", "url": "https://evil/x"}]}
    server.pages[f"{BASE}/Task?status=requested"] = (200, content)

    with pytest.raises(FhirFailure, match="away from the FHIR server"):
        [task async for task in server.fhir.search("Task", {"status": "requested"})]


async def test_a_refusal_carries_the_outcomes_text(server: Server) -> None:
    issue = {"severity": "error", "code": "conflict", "diagnostics": "Task/1 is at version 3"}
    server.pages[f"{BASE}/Task/1"] = (412, {"resourceType": "OperationOutcome", "issue": [issue]})

    with pytest.raises(FhirFailure) as refusal:
        await server.fhir.update({"resourceType": "Task", "id": "1"}, "2")

    assert refusal.value.status == 412
    assert refusal.value.is_stale
    assert refusal.value.text == "Task/1 is at version 3"


async def test_what_is_no_fhir_answer_counts_as_unreachable(server: Server) -> None:
    server.pages[f"{BASE}/Task/1"] = (200, b"<html>proxy</html>")

    with pytest.raises(FhirUnreachable) as failure:
        await server.fhir.read("Task/1")

    assert failure.value.is_transient


async def test_decimals_come_and_go_as_written(server: Server) -> None:
    body = b'{"resourceType":"Observation","id":"1","valueQuantity":{"value":1.50}}'
    server.pages[f"{BASE}/Observation/1"] = (200, body)

    observation = await server.fhir.read("Observation/1")

    assert str(observation["valueQuantity"]["value"]) == "1.50"


async def test_our_authorization_server_takes_the_assertion(tmp_path: Path) -> None:
    async with smart_world(tmp_path) as world:
        client = BackendClient("service", ec_key("service"), "system/Task.rs", f"{ISSUER}/token")
        ids = iter(range(10))
        tokens = BackendToken(world.browser, client, world.clock, lambda: f"jti-{next(ids)}")

        first = await tokens.token()
        assert first is not None
        await tokens.refused(first)
        second = await tokens.token()

        assert second not in (None, first)
        assert (await world.who(first)).client_id == "service"


async def test_a_refused_assertion_names_the_oauth_error(tmp_path: Path) -> None:
    async with smart_world(tmp_path) as world:
        client = BackendClient("service", KEY, "system/Task.rs", f"{ISSUER}/token")
        tokens = BackendToken(world.browser, client, world.clock, lambda: "jti")

        with pytest.raises(FhirFailure, match="invalid_client"):
            await tokens.token()
