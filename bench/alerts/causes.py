"""THE table of causes: what is done to the installation, and which alerts must follow."""

import asyncio
import os
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.alerts import callers
from bench.alerts.callers import repeated
from bench.alerts.site import Site
from bench.alerts.watchers import Watch
from deploy.demo.loading import demo_fhir
from models.fhir_client import FhirClient

Done = Callable[[Site, Watch], AbstractAsyncContextManager[None]]
_OTHER_VERSION = "0.0.1"
_AFTER_SECONDS = 20.0
"""Of no requests there is no share of failed or slow ones: some more are sent for so long."""
_REFUSED, _READ = 24, 60
"""Images: three in ten of 84 are 25, so that the others outweigh the refused."""


@dataclass(frozen=True)
class Cause:
    """`done` lasts as long as its context and is mended by its end. `alerts` are those that must
    fire, each with labels that it must have."""

    what: str
    done: Done
    alerts: Mapping[str, Mapping[str, str]]
    mended: str
    needs_disk: bool = field(default=False, kw_only=True)


def _calls(ask: Callable[[Site], callers.Ask], a_second: float) -> Done:
    def done(site: Site, _: Watch) -> AbstractAsyncContextManager[None]:
        return repeated(ask(site), a_second)

    return done


@asynccontextmanager
async def _killed_app(site: Site, _: Watch) -> AsyncIterator[None]:
    await asyncio.to_thread(site.roles["app"].kill)
    yield
    await _again(site, "app")


@asynccontextmanager
async def _killed_server(site: Site, _: Watch) -> AsyncIterator[None]:
    await asyncio.to_thread(site.roles["server"].kill)
    async with repeated(callers.sign_in_pages(site), 4):
        yield
    await _again(site, "server")
    async with repeated(callers.sign_in_pages(site), 2):
        await asyncio.sleep(_AFTER_SECONDS)


async def _again(site: Site, role: str) -> None:
    site.roles[role].start()
    await site.roles[role].ready()


@asynccontextmanager
async def _forgotten_app(site: Site, watch: Watch) -> AsyncIterator[None]:
    watch.look_at("app", [])
    yield
    watch.look_at("app", [f"127.0.0.1:{site.roles['app'].port}"])


@asynccontextmanager
async def _frozen_worker(site: Site, _: Watch) -> AsyncIterator[None]:
    process = site.roles["worker"].process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    await callers.submit(site)
    try:
        async with repeated(callers.writes(site), 1):
            yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@asynccontextmanager
async def _stopped_redis(site: Site, _: Watch) -> AsyncIterator[None]:
    await asyncio.to_thread(site.redis.stop)
    yield
    site.redis.start()


@asynccontextmanager
async def _ending_certificate(site: Site, _: Watch) -> AsyncIterator[None]:
    file = site.folder / "authority.crt"
    _certificate(file, timedelta(days=1))
    await site.restarted("app", MEDSAGE_TLS_CA_FILE=str(file))
    yield
    _certificate(file, timedelta(days=365))
    await site.restarted("app", MEDSAGE_TLS_CA_FILE=str(file))


@asynccontextmanager
async def _other_version(site: Site, _: Watch) -> AsyncIterator[None]:
    facts = site.folder / f"other/medsage-{_OTHER_VERSION}.dist-info"
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: medsage\nVersion: {_OTHER_VERSION}\n"
    )
    path = os.pathsep.join(filter(None, (str(facts.parent), os.environ.get("PYTHONPATH"))))
    await site.restarted("app", PYTHONPATH=path)
    yield
    await site.restarted("app")


@asynccontextmanager
async def _few_files(site: Site, _: Watch) -> AsyncIterator[None]:
    process = site.roles["app"].process
    assert process is not None
    usual = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{process.pid}/fd"))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (open_now * 11 // 10 + 1, usual[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, usual)


@asynccontextmanager
async def _hanging_endpoint(site: Site, _: Watch) -> AsyncIterator[None]:
    hangs = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await hangs.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    fhir = demo_fhir(site.http, site.origin)
    channel = {
        "type": "rest-hook",
        "endpoint": f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/",
    }
    made = await fhir.transaction(_transaction(_subscription(channel)))
    place = made["entry"][0]["response"]["location"].partition("/_history")[0]
    await _active(fhir, place)
    await fhir.transaction(_transaction(_WATCHED))
    yield
    hangs.set()


async def _active(fhir: FhirClient, subscription: str) -> None:
    for _ in range(120):
        if (await fhir.read(subscription))["status"] == "active":
            return
        await asyncio.sleep(0.5)
    raise TimeoutError(f"{subscription} is not active after a minute")


_WATCHED: dict[str, object] = {
    "resourceType": "Basic",
    "code": {"coding": [{"system": "https://medsage.example/proof", "code": "watched"}]},
}


def _subscription(channel: Mapping[str, str]) -> dict[str, object]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "The proof of alerts",
        "criteria": "Basic?code=watched",
        "channel": channel,
    }


def _transaction(made: Mapping[str, object]) -> dict[str, object]:
    request = {"method": "POST", "url": made["resourceType"]}
    entry = {"resource": made, "request": request}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


@asynccontextmanager
async def _no_place_for_backups(site: Site, _: Watch) -> AsyncIterator[None]:
    aside = site.backups.with_name("backups-aside")
    await asyncio.to_thread(site.backups.rename, aside)
    await asyncio.to_thread(site.backups.write_text, "a file where the folder was")
    yield
    await asyncio.to_thread(site.backups.unlink)
    await asyncio.to_thread(aside.rename, site.backups)


def _store_meets(fault: str) -> Done:
    @asynccontextmanager
    async def done(site: Site, _: Watch) -> AsyncIterator[None]:
        site.store.choose = lambda command: fault
        try:
            async with repeated(callers.writes(site), 2):
                yield
        finally:
            site.store.choose = lambda command: None
        # Of no writes there is no share of slow ones.
        async with repeated(callers.writes(site), 2):
            await asyncio.sleep(_AFTER_SECONDS)

    return done


@asynccontextmanager
async def _full_disk(site: Site, _: Watch) -> AsyncIterator[None]:
    file = site.folder / "data/filling"
    free = shutil.disk_usage(file.parent).free
    file.write_bytes(bytes(int(free * 0.97)))
    try:
        yield
    finally:
        file.unlink()


@asynccontextmanager
async def _no_smears(site: Site, _: Watch) -> AsyncIterator[None]:
    await callers.diagnose(site, "not-a-smear", _REFUSED)
    yield
    await callers.diagnose(site, "cell-parasitized", _READ)


def _certificate(file: Path, lasts: timedelta) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proof of alerts")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasts)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(made.public_bytes(Encoding.PEM))


WAVES: Sequence[Sequence[Cause]] = (
    (
        Cause(
            "kill -9 of the app",
            _killed_app,
            {"RoleDown": {"job": "app"}},
            "it is started again",
        ),
    ),
    (
        Cause(
            "tokens are asked for with a code that was never given, 2 a second",
            _calls(callers.token_errors, 2),
            {"TokenErrors": {"outcome": "invalid_client"}},
            "nobody asks so any more",
        ),
        Cause(
            "wrong passwords are typed, 1 a second from ever other addresses",
            _calls(callers.wrong_passwords, 1),
            {"SignInsRefused": {}},
            "nobody types them any more",
        ),
        Cause(
            "one address asks without a token, beyond its limit, 3 a second",
            _calls(callers.beyond_limits, 3),
            {"RateLimited": {}},
            "it stops",
        ),
        Cause(
            "made-up tokens are tried, 8 a second",
            _calls(callers.without_rights, 8),
            {"RefusalsRise": {}},
            "it stops",
        ),
        Cause(
            "a Subscription's endpoint takes the connection and never answers",
            _hanging_endpoint,
            {"SubscriptionLag": {}},
            "it answers again",
        ),
        Cause(
            "the app's process may open hardly more files than it has open",
            _few_files,
            {"FilesRunOut": {"job": "app"}},
            "its limit is as before",
        ),
    ),
    (
        Cause(
            "Redis is killed",
            _stopped_redis,
            {"NotReady": {"job": "app", "check": "redis"}},
            "it is started again",
        ),
        Cause(
            "the disk of the data folder is filled to 97 %",
            _full_disk,
            {"DiskFilling": {"job": "server"}},
            "the file is removed",
            needs_disk=True,
        ),
    ),
    (
        Cause(
            "the folder of backups is a file, so that no backup is made",
            _no_place_for_backups,
            {"BackupOld": {}},
            "the folder is there again",
        ),
        Cause(
            "the app runs in another version than the rest",
            _other_version,
            {"VersionsDiffer": {}},
            "it runs in the same",
        ),
    ),
    (
        Cause(
            "the worker hangs (SIGSTOP) while records are written and an analysis is ordered",
            _frozen_worker,
            {
                "RoleDown": {"job": "worker"},
                "AnalysisQueue": {},
                "AuditSealLag": {},
                "AuditSealStopped": {},
            },
            "it goes on (SIGCONT)",
        ),
        Cause(
            "the app is nowhere to be found (its name in the network is gone)",
            _forgotten_app,
            {"RoleAbsent": {"job": "app"}},
            "it is found again",
        ),
    ),
    (
        Cause(
            "each command to the store takes a tenth of a second longer",
            _store_meets("slow"),
            {"StoreSlow": {}},
            "it does not",
        ),
        Cause(
            "the authority's certificate ends tomorrow",
            _ending_certificate,
            {"CertificateEndsSoon": {"certificate": "authority"}},
            "a certificate for a year, and a restart",
        ),
    ),
    (
        Cause(
            "connections to the store are cut before it acts",
            _store_meets("cut before the server acts"),
            {"StoreFailing": {}},
            "they are not",
        ),
    ),
    (
        Cause(
            "kill -9 of the server, while clinicians open the app",
            _killed_server,
            {"RoleDown": {"job": "server"}, "PagesFail": {"part": "app"}},
            "it is started again",
        ),
    ),
    (
        Cause(
            "pictures that are no smears are sent for analysis, one after the other",
            _no_smears,
            {"ModelRefuses": {"model": "malaria-smear"}},
            "smears are sent",
        ),
    ),
)
