"""Every route of the running service, asked as a scanner asks: headers, cookies, caching, types,
versions, reflected input, methods, foreign origins and hosts; and each check for itself."""

import asyncio
import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo.doctor import doctors_token
from deploy.front import Front
from deploy.standalone import composed
from fhir_server.load_settings import load
from tests.certificates import certificates
from tests.header_checks import CHECKS, HOSTILE, Seen, problems
from tests.web_scan import Scan, filled, paths

ORIGIN = "https://medsage.test"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """What the whole service answered, with TLS of its own."""
    return asyncio.run(scanned(tmp_path_factory.mktemp("scan")))


async def scanned(folder: Path) -> Scan:
    files = certificates(folder / "tls", "medsage.test")
    settings, _ = load(
        {
            "MEDSAGE_DATA": str(folder),
            "MEDSAGE_BASE_URL": ORIGIN,
            "MEDSAGE_RATE_LIMITS": "anonymous=none",
            "MEDSAGE_TLS_CERTIFICATE_FILE": str(files.certificate),
            "MEDSAGE_TLS_KEY_FILE": str(files.key),
        }
    )
    async with composed(settings, [ORIGIN]) as application:
        transport = httpx.ASGITransport(
            app=application, raise_app_exceptions=False, client=("192.0.2.7", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=60) as http:
            found = Scan(http)
            front = application._app._app._front  # type: ignore[attr-defined]
            await found.walk(front)
            await with_the_files(found)
            await with_a_session(found, front)
            await with_a_token(found)
            await through_each_door(found)
    return found


async def with_the_files(scan: Scan) -> None:
    """What the first pages of each part load, and the same under its plain name."""
    for page in ("/app/", "/auth/login", "/ehr/"):
        shown = await scan.http.get(page)
        assert shown.status_code < 500, page
        base = shown.url
        for found in re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg))"', shown.text):
            url = base.join(found)
            await scan.ask("GET", url.path, headers={"X-Request-Id": "file"})
            plain = re.sub(r"\.[0-9a-f]{12}(?=\.\w+$)", "", url.path)
            await scan.ask("GET", plain, headers={"X-Request-Id": "plain-file"})


async def with_a_session(scan: Scan, front: Front) -> None:
    """The pages of somebody who has signed in, of the app and of the authorization server."""
    session = await scan.sign_in("dr.amina")
    assert session.startswith("/app/s/")
    for page in ("", "patients", "patients/new", "history"):
        await scan.ask("GET", f"{session}{page}", headers={"Origin": "https://evil.example"})
    await scan.ask("POST", f"{session}patients/new", data={"family": "<zap7>"})
    for shape in paths(front):
        if shape.startswith("/auth/") and shape != "/auth/logout":
            await scan.ask("GET", filled(shape, "x"), params={"name": HOSTILE})
    scan.http.cookies.clear()


async def with_a_token(scan: Scan) -> None:
    """What FHIR answers somebody who may ask."""
    token = await doctors_token(scan.http, ORIGIN, "dr.amina")
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}
    asked = (
        "Patient",
        "Patient/ward-1",
        "Patient?name=<zap7>",
        "Patient?_zap7=<zap7>",
        "Nope/<zap7>",
    )
    for path in asked:
        await scan.ask("GET", f"/fhir/{path}", headers=headers)
        await scan.ask("GET", f"/fhir/{path}", headers=headers | {"Accept": "text/html"})
    await scan.ask("POST", "/fhir/Patient", headers=headers, json={"resourceType": "<zap7>"})
    form = {"age": "<zap7>", "symptoms": "<zap7>"}
    await scan.ask("POST", "/api/diagnose", headers=headers, data=form)


BOMB = gzip.compress(b'{"resourceType":"Patient","language":"' + bytes(64 * 1024 * 1024) + b'"}')
"""64 MiB in 64 KB."""
DOORS = (
    *("/fhir/Patient", "/fhir", "/fhir/Patient/_search", "/auth/token", "/auth/login"),
    *("/auth/authorize", "/auth/revoke", "/api/diagnose", "/app/sign-in", "/app/s/x/images"),
)


async def through_each_door(scan: Scan) -> None:
    """Bodies that are larger than they look, and than they may be; FHIR's sent by somebody who
    may write, since nobody else's are read."""
    token = await doctors_token(scan.http, ORIGIN, "dr.amina")
    scan.http.cookies.clear()
    scan.http.headers["Authorization"] = f"Bearer {token}"
    for door in DOORS:
        for kind in ("application/x-www-form-urlencoded", "application/fhir+json"):
            headers = {"Content-Type": kind, "Content-Encoding": "gzip", "Origin": ORIGIN}
            await scan.ask("POST", door, headers=headers | {"X-Request-Id": "bomb"}, content=BOMB)
        large = {"Content-Type": "application/x-www-form-urlencoded", "Origin": ORIGIN}
        sent = b"a=" + b"b" * 1_100_000
        await scan.ask("POST", door, headers=large | {"X-Request-Id": "large"}, content=sent)


def test_no_answer_of_any_route_has_a_finding(scan: Scan) -> None:
    found = sorted({problem for seen in scan.seen for problem in problems(seen)})
    assert not found, "\n".join([f"{len(found)} findings:", *found[:40]])


def test_every_part_of_the_service_was_asked(scan: Scan) -> None:
    assert len(scan.seen) > 800
    asked = {seen.path.split("/")[1].partition("?")[0] for seen in scan.seen}
    assert {"fhir", "auth", "app", "ehr", "api", "models", "health", "openapi.json"} <= asked
    statuses = {seen.answer.status_code for seen in scan.seen}
    assert {200, 303, 400, 401, 403, 404, 405, 413, 415} <= statuses
    cookies = {
        cookie.partition("=")[0]
        for seen in scan.seen
        for cookie in seen.answer.headers.get_list("set-cookie")
    }
    assert {"__Host-medsage-home", "__Secure-medsage-session", "__Secure-medsage-form"} <= cookies


def test_files_may_be_kept_for_good_and_have_no_plain_name(scan: Scan) -> None:
    def answers(name: str) -> dict[str, httpx.Response]:
        named = [s for s in scan.seen if s.answer.request.headers.get("x-request-id") == name]
        return {s.path: s.answer for s in named}

    kept, plain = answers("file"), answers("plain-file")
    assert {path.split("/")[1] for path in kept} == {"app", "auth", "ehr"}
    told = {(answer.status_code, answer.headers["cache-control"]) for answer in kept.values()}
    assert told == {(200, "public, max-age=31536000, immutable")}
    assert {answer.status_code for answer in plain.values()} == {404}


def test_a_page_that_may_be_framed_is_framed_by_registered_origins_alone(scan: Scan) -> None:
    allowed = {seen.policy["frame-ancestors"] for seen in scan.seen}
    assert allowed == {"'none'", ORIGIN}


def test_the_pages_of_documentation_that_load_foreign_scripts_are_not_there(scan: Scan) -> None:
    found = {seen.path: seen.answer.status_code for seen in scan.seen if seen.method == "GET"}
    assert (found["/docs"], found["/redoc"], found["/openapi.json"]) == (404, 404, 200)


@pytest.mark.parametrize("name", ["bomb", "large"])
def test_no_door_takes_a_body_that_is_larger_than_it_may_be(scan: Scan, name: str) -> None:
    answers = [s for s in scan.seen if s.answer.request.headers.get("x-request-id") == name]
    assert len(answers) == len(DOORS) * (2 if name == "bomb" else 1)
    assert not [(s.path, s.answer.status_code) for s in answers if s.answer.status_code < 400]
    told = {s.path: s.answer.status_code for s in answers}
    expected = (415, 415) if name == "bomb" else (415, 413)
    assert (told["/fhir/Patient"], told["/fhir/Patient/_search"]) == expected


GOOD = {
    "content-type": "text/html; charset=utf-8",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-request-id": "r",
    "strict-transport-security": "max-age=31536000",
}
LOOSE = f"{GOOD['content-security-policy']}; style-src 'unsafe-inline'"


def answer(headers: Sequence[tuple[str, str]] = (), text: str = "<p>", status: int = 200) -> Any:
    changed = {name for name, _ in headers}
    kept = [(name, value) for name, value in GOOD.items() if name not in changed]
    sent = [pair for pair in [*kept, *headers] if pair[1]]
    request = httpx.Request("GET", f"{ORIGIN}/page")
    return httpx.Response(status, headers=sent, text=text, request=request)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (answer([("referrer-policy", "")]), "referrer-policy stands 0 times"),
        (answer([("x-request-id", "a"), ("x-request-id", "b")]), "x-request-id stands 2 times"),
        (answer([("x-content-type-options", "")]), "may be guessed"),
        (answer([("content-type", "text/html")]), "no charset"),
        (answer([("cache-control", "max-age=600")]), "caches are told"),
        (answer([("cache-control", "public, max-age=300")], status=404), "kept for all"),
        (answer([("content-security-policy", "default-src 'self'")]), "begin with nothing"),
        (answer([("content-security-policy", "default-src 'none'")]), "anybody may frame it"),
        (
            answer([("content-security-policy", LOOSE)]),
            "lets in style-src",
        ),
        (answer([("strict-transport-security", "max-age=60")]), "stay with TLS"),
        (answer([("server", "uvicorn")]), "it says server"),
        (answer(text="Traceback (most recent call last)", status=500), "it tells of Traceback"),
        (answer(text="<p>'\"><zap7 onload=x>"), "comes back as markup"),
        (answer([("location", "http://evil.example/")], status=307), "it leads to"),
        (answer(text='<a href="http://evil.example/x">'), "links lead to the host"),
        (answer([("set-cookie", "__Host-a=b; Path=/; Secure; SameSite=Lax")]), "['httponly']"),
        (answer([("set-cookie", "a=b; Path=/; Secure; HttpOnly; SameSite=Lax")]), "no prefix"),
        (
            answer([("set-cookie", "__Host-a=b; Path=/; Secure; HttpOnly; SameSite=None")]),
            "goes to every site",
        ),
        (answer([("access-control-allow-origin", "*")]), "every page may read it"),
        (answer([("access-control-allow-credentials", "true")]), "send cookies along"),
        (answer(status=500), "is answered 500"),
    ],
)  # fmt: skip
def test_each_check_notices_what_it_is_for(bad: httpx.Response, told: str) -> None:
    found = problems(Seen("GET", "/page", bad))
    assert [each for each in found if told in each], found


def test_a_good_answer_has_no_finding() -> None:
    assert problems(Seen("GET", "/page", answer())) == []
    assert problems(Seen("TRACE", "/page", answer())) == [
        "TRACE /page (200): TRACE is answered 200"
    ]
    assert len(CHECKS) == 10
