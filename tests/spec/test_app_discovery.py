"""SMART App Launch, "Conformance": documents of common record systems, as the app reads them."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from smart_app import answers
from smart_app.discovery import IssuerUnreachable, SmartConfiguration, discover
from smart_app.ehr.checks import judge
from smart_app.issuers import Issuer
from smart_app.launch.exchange import TokenEndpoint
from smart_app.launch.foreign_scopes import foreign_scope
from tests.ehr_documents import ATHENA, EPIC, HAPI_METADATA, LAUNCHER, ORACLE

BASE = "https://ehr.example/fhir"
ISSUER = Issuer(
    "EHR", BASE, "abc", {"kty": "EC"}, is_own=False, write_back=frozenset({"DiagnosticReport"})
)


async def read(document: dict[str, Any] | None, metadata: Any = None) -> SmartConfiguration:
    """What the app makes of a server that answers with these."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/smart-configuration") and document is not None:
            return httpx.Response(200, json=document)
        if request.url.path.endswith("/metadata") and metadata is not None:
            return httpx.Response(200, json=metadata)
        return httpx.Response(404, text="<html>not here</html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await discover(http, BASE)


@pytest.mark.parametrize(
    ("document", "read_scope", "write_scope", "renewal"),
    [
        (EPIC, "patient/Patient.rs", "patient/DiagnosticReport.crs", "offline_access"),
        (ORACLE, "patient/Patient.read", "patient/DiagnosticReport.write", "online_access"),
        (ATHENA, "patient/Patient.rs", "patient/DiagnosticReport.crs", "offline_access"),
        (LAUNCHER, "patient/Patient.rs", "patient/DiagnosticReport.crs", "online_access"),
    ],
)
async def test_common_documents_are_understood(
    document: dict[str, Any], read_scope: str, write_scope: str, renewal: str
) -> None:
    found = await read(document)
    assert found.token == document["token_endpoint"]
    assert found.issuer == document.get("issuer")
    assert {read_scope, write_scope, renewal, "launch"} <= set(foreign_scope(ISSUER, found).split())
    states = {check.text: check.state for check in judge(ISSUER, found, HAPI_METADATA)}
    assert states["offers launch-ehr"] == "works"
    assert states["takes private_key_jwt"] == "works"
    assert states["create of DiagnosticReport"] == "works"
    assert "missing" not in states.values()


async def test_a_server_of_smart_1_is_read_from_its_capability_statement() -> None:
    found = await read(None, HAPI_METADATA)
    assert (found.authorize, found.issuer) == ("https://auth.example/authorize", None)
    assert not found.speaks_v2
    texts = [check.text for check in judge(ISSUER, found, HAPI_METADATA)]
    assert any("endpoints from /metadata" in text for text in texts)
    assert any("no OpenID Connect keys" in text for text in texts)


async def test_what_is_missing_is_told() -> None:
    document = {
        **EPIC,
        "capabilities": ["launch-standalone"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }
    checks = judge(ISSUER, await read(document), {"rest": []})
    missing = {check.text for check in checks if check.state == "missing"}
    assert missing == {
        "lists capabilities, and launch-ehr is not among them",
        "does not take private_key_jwt: only client_secret_basic",
        "no read of Patient",
        "no create of DiagnosticReport",
    }


@pytest.mark.parametrize(
    ("methods", "header", "in_form"),
    [
        (["client_secret_basic"], "Basic YSUyRmI6cyUyNnQ=", None),
        ([], "Basic YSUyRmI6cyUyNnQ=", None),
        (["client_secret_post"], None, "s&t"),
    ],
)
async def test_a_secret_goes_where_the_server_takes_it(
    methods: list[str], header: str | None, in_form: str | None
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"access_token": "t", "token_type": "bearer"})

    found = await read({**EPIC, "token_endpoint_auth_methods_supported": methods})
    issuer = Issuer("EHR", BASE, "a/b", None, secret="s&t", is_own=False)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        now = datetime.now(UTC)
        await TokenEndpoint(http, issuer, found).redeem("c", "v", "https://m.example/cb", now)
    (request,) = seen
    form = httpx.QueryParams(request.content.decode())
    assert request.headers.get("authorization") == header
    assert form.get("client_secret") == in_form


async def test_a_redirect_of_an_endpoint_is_not_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "ehr.example"
        return httpx.Response(302, headers={"location": "https://169.254.169.254/"})

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(answer), follow_redirects=True
    ) as http:
        with pytest.raises(IssuerUnreachable):
            await discover(http, BASE)


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 1000)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text="{" + " " * 2000))
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(IssuerUnreachable):
            await discover(http, BASE)
