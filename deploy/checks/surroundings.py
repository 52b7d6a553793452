"""What a process needs besides its store: Redis, the server, the disk, certificates."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from deploy import tls
from deploy.checks.store import SKEW
from deploy.monitoring.certificates import certificates
from deploy.monitoring.status import certificate_findings, disk_finding
from fhir_server.findings import Finding
from fhir_server.settings import Settings

_SECONDS = 3.0


async def surrounding_findings(
    settings: Settings, now: datetime, *, asks_server: bool
) -> Sequence[Finding]:
    """Each is looked at by itself; one that is away is a finding and not an error."""
    found = await asyncio.to_thread(certificates, settings)
    return [
        await _redis(settings),
        *(await _server(settings) if asks_server else ()),
        disk_finding(settings.data),
        *certificate_findings(found, now),
    ]


async def _redis(settings: Settings) -> Finding:
    what = "Redis"
    if settings.redis_url is None:
        return Finding(what, "unknown", "not set: sessions and limits are each process's own")
    from fhir_server.storage.redis.connect import connect

    redis = connect(settings.redis_url.get_secret_value(), _SECONDS, settings.tls_ca_file)
    try:
        await redis.ping()
    except Exception as problem:  # the text may quote the address with its password
        to_do = "Start Redis, or mend MEDSAGE_REDIS_URL; sessions of the app need it"
        return Finding(what, "failed", f"does not answer ({type(problem).__name__})", to_do)
    finally:
        await redis.aclose()
    return Finding(what, "ok", "answers")


async def _server(settings: Settings) -> list[Finding]:
    """Whether a server answers at its address, and whether it agrees about the time."""
    url = settings.server_url or settings.base_url
    what = f"Server at {url}"
    try:
        async with httpx.AsyncClient(
            verify=tls.calling(settings), timeout=_SECONDS, trust_env=False
        ) as http:
            answer = await http.get(f"{url}/health/ready")
    except httpx.HTTPError as problem:
        return [_unanswered(what, problem)]
    if answer.status_code != 200:
        to_do = "See docs/runbooks/not-ready.md"
        return [Finding(what, "failed", f"is not ready ({answer.status_code})", to_do)]
    return [Finding(what, "ok", "is ready"), *clocks_apart(answer, datetime.now(UTC))]


def _unanswered(what: str, problem: httpx.HTTPError) -> Finding:
    if "CERTIFICATE_VERIFY_FAILED" in str(problem):
        to_do = "Where an authority of your own gave it, name that in MEDSAGE_TLS_CA_FILE"
        return Finding(what, "unknown", "its certificate is not trusted here", to_do)
    to_do = "Nothing, where it is not to run now or can't be reached from here; else start it"
    return Finding(what, "unknown", f"does not answer ({type(problem).__name__})", to_do)


def clocks_apart(answer: httpx.Response, now: datetime) -> list[Finding]:
    """Whether the server that gave the answer agrees about the time; nothing if it says none."""
    try:
        told = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return []
    apart = abs((now - told).total_seconds())
    what, found = "Clock of the server", f"{apart:.0f} seconds apart from this one"
    if apart > SKEW.total_seconds():
        return [Finding(what, "failed", found, "Set the clocks: NTP on every machine")]
    return [Finding(what, "ok", found)]
