"""What clients and people do that sets an alert off, again and again until it is enough."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import httpx

from bench.alerts.site import Site
from bench.kill.clients import IMAGES, submission_number
from deploy.demo.loading import demo_fhir, demo_tokens
from models.fhir_client import FhirFailure

Ask = Callable[[int], Awaitable[object]]
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@asynccontextmanager
async def repeated(ask: Ask, a_second: float) -> AsyncIterator[None]:
    """`ask` so often as long as the context is open, with a number each time; what becomes of one
    is no matter."""

    async def one(number: int) -> None:
        with suppress(httpx.HTTPError, FhirFailure):
            await ask(number)

    async def forever() -> None:
        async with asyncio.TaskGroup() as group:
            for number in count():
                group.create_task(one(number))
                await asyncio.sleep(1 / a_second)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def address(number: int) -> dict[str, str]:
    """The header by which the proxy in front says who calls: somebody else each time."""
    return {"X-Forwarded-For": f"198.51.{number // 250 % 250}.{number % 250 + 1}"}


def token_errors(site: Site) -> Ask:
    """An app asks for tokens with a code that was never given."""
    form = {"grant_type": "authorization_code", "client_id": "medsage-app", "code": "no such code"}

    async def ask(number: int) -> None:
        await site.http.post(f"{site.origin}/auth/token", data=form, headers=address(number))

    return ask


def wrong_passwords(site: Site) -> Ask:
    """Somebody tries passwords at the page where people sign in."""

    async def ask(number: int) -> None:
        async with httpx.AsyncClient(
            timeout=30, trust_env=False, headers=address(number), follow_redirects=True
        ) as browser:
            page = await browser.get(f"{site.origin}/auth/account")
            typed = {"username": f"guessed-{number}", "password": "not the password"}
            form = dict(_HIDDEN.findall(page.text)) | typed
            origin = {"Origin": site.origin}
            await browser.post(f"{site.origin}/auth/login", data=form, headers=origin)

    return ask


def beyond_limits(site: Site) -> Ask:
    """One address asks without a token, more often than an address may."""

    async def ask(_: int) -> None:
        caller = {"X-Forwarded-For": "203.0.113.7"}
        await site.http.get(f"{site.origin}/fhir/Patient", headers=caller)

    return ask


def without_rights(site: Site) -> Ask:
    """Tokens that nobody gave are tried, from many addresses."""

    async def ask(number: int) -> None:
        headers = {**address(number), "Authorization": "Bearer guessed"}
        await site.http.get(f"{site.origin}/fhir/Patient", headers=headers)

    return ask


def sign_in_pages(site: Site) -> Ask:
    """Clinicians open the app's launch page."""

    async def ask(_: int) -> None:
        app = f"http://127.0.0.1:{site.roles['app'].port}"
        launch = {"iss": f"{site.origin}/fhir", "launch": "none"}
        await site.http.get(f"{app}/app/launch", params=launch, timeout=5)

    return ask


def writes(site: Site) -> Ask:
    """A record system writes patients."""
    tokens = demo_tokens(site.http, site.origin)

    async def ask(_: int) -> None:
        token = await tokens.token()
        await site.http.post(
            f"{site.origin}/fhir/Patient",
            json={"resourceType": "Patient", "name": [{"family": "Proof"}]},
            headers={"Authorization": f"Bearer {token}"},
        )

    return ask


async def submit(site: Site) -> None:
    """Order one analysis of symptoms, as the app does."""
    await demo_fhir(site.http, site.origin).transaction(submission_number(1).bundle)


async def diagnose(site: Site, image: str, times: int) -> None:
    """Ask for the analysis of one of the demonstration's images, one after the other."""
    tokens = demo_tokens(site.http, site.origin)
    fields = {"age": "38", "weight": "61", "height": "168", "symptoms": "fever"}
    content = (IMAGES / f"{image}.png").read_bytes()
    for _ in range(times):
        answer = await site.http.post(
            f"{site.origin}/api/diagnose",
            data=fields,
            files={"imageUpload": ("image.png", content, "image/png")},
            headers={"Authorization": f"Bearer {await tokens.token()}"},
            timeout=120,
        )
        answer.raise_for_status()
