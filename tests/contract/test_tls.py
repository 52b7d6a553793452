"""TLS to MongoDB and Redis, and of the process itself, with an authority of one's own."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from deploy.dev_mongodb import find
from fhir_server.storage.mongo.connect import connect as mongodb
from fhir_server.storage.mongo.connect import with_authorities
from fhir_server.storage.redis.connect import connect as redis
from fhir_server.storage.redis.counters import RedisCounters
from tests.availability import ROOT, program
from tests.certificates import Certificates, certificates

WAIT_SECONDS = 120.0
STAND_IN = "secantusd-rs"
PROXY = "127.0.0.2"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("stranger"))


@contextmanager
def running(
    command: Sequence[str | Path], port: int, environment: dict[str, str] | None = None
) -> Iterator[int]:
    """The command, once something listens at its port."""
    environ = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < end and process.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        yield port
                        return
                time.sleep(0.05)
            raise RuntimeError(f"{command[0]} does not listen")
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def redis_over_tls(known: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = program("redis-server")
    assert server is not None
    port, folder = free_port(), str(tmp_path_factory.mktemp("redis"))
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(known.certificate), "--tls-key-file", str(known.key)]
    options += ["--tls-ca-cert-file", str(known.authority), "--save", "", "--dir", folder]
    with running([server, *options, "--requirepass", "open sesame"], port):
        yield f"rediss://:open%20sesame@localhost:{port}/0"


@pytest.fixture(scope="module")
def mongodb_over_tls(
    known: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    server = find(os.environ)
    if server.name != STAND_IN:
        pytest.skip(f"starts {STAND_IN} alone with a certificate")
    port, folder = free_port(), str(tmp_path_factory.mktemp("mongodb"))
    options = ["--port", str(port), "--storage-path", folder, "--sync-on-commit"]
    options += ["--tls-cert-file", str(known.certificate), "--tls-key-file", str(known.key)]
    with running([server, *options], port):
        yield f"mongodb://localhost:{port}/?tls=true"


@pytest.mark.redis
async def test_redis_is_believed_by_the_authority_of_the_settings(
    redis_over_tls: str, known: Certificates
) -> None:
    client = redis(redis_over_tls, 2, known.authority)
    assert (await RedisCounters(client).hit("a", 60)).hits == 1
    await client.aclose()


@pytest.mark.redis
@pytest.mark.parametrize("given", ["", ":wrong@"])
async def test_a_redis_with_a_password_answers_nobody_without_it(
    redis_over_tls: str, known: Certificates, given: str
) -> None:
    client = redis(redis_over_tls.replace(":open%20sesame@", given), 2, known.authority)
    with pytest.raises(AuthenticationError):
        await RedisCounters(client).hit("a", 60)
    await client.aclose()


@pytest.mark.redis
@pytest.mark.parametrize("has_authority", [False, True])
async def test_a_redis_of_another_authority_is_not_spoken_to(
    redis_over_tls: str, stranger: Certificates, has_authority: bool
) -> None:
    client = redis(redis_over_tls, 2, stranger.authority if has_authority else None)
    with pytest.raises(RedisConnectionError, match=r"certificate verify failed|CERTIFICATE"):
        await client.ping()
    await client.aclose()


@pytest.mark.mongodb
async def test_mongodb_is_believed_by_the_authority_of_the_settings(
    mongodb_over_tls: str, known: Certificates
) -> None:
    async with mongodb(with_authorities(mongodb_over_tls, known.authority)) as client:
        assert await client["medsage"]["records"].find_one({}) is None


@pytest.mark.mongodb
async def test_a_mongodb_of_another_authority_is_not_spoken_to(
    mongodb_over_tls: str, stranger: Certificates
) -> None:
    uri = with_authorities(mongodb_over_tls, stranger.authority)
    async with AsyncMongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=300) as client:
        with pytest.raises(ServerSelectionTimeoutError, match="certificate verify failed"):
            await client["medsage"]["records"].find_one({})


async def test_what_the_address_says_of_limits_goes_before_ours() -> None:
    async with mongodb("mongodb://h/?serverselectiontimeoutms=1234") as client:
        assert client.options.server_selection_timeout == 1.234
    async with mongodb("mongodb://h/") as client:
        assert client.options.server_selection_timeout == 5


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("mongodb://h/?tls=true", "mongodb://h/?tls=true&tlsCAFile=%2Fa%20b"),
        ("mongodb://h/?replicaSet=r&ssl=true", "mongodb://h/?replicaSet=r&ssl=true&tlsCAFile=%2Fa%20b"),
        ("mongodb+srv://h", "mongodb+srv://h?tlsCAFile=%2Fa%20b"),
        ("mongodb+srv://h/?tls=false", "mongodb+srv://h/?tls=false"),
        ("mongodb://h/?tls=true&tlsCAFile=/own", "mongodb://h/?tls=true&tlsCAFile=/own"),
        ("mongodb://h/", "mongodb://h/"),
    ],
)  # fmt: skip
def test_the_authority_is_named_where_tls_is_asked_for(uri: str, asked: str) -> None:
    assert with_authorities(uri, Path("/a b")) == asked
    assert with_authorities(uri, None) == uri


def serving(files: Certificates, **settings: str) -> dict[str, str]:
    return {
        "MEDSAGE_TLS_CERTIFICATE_FILE": str(files.certificate),
        "MEDSAGE_TLS_KEY_FILE": str(files.key),
        "MEDSAGE_TLS_CA_FILE": str(files.authority),
        "MEDSAGE_LOG_LEVEL": "error",
        **settings,
    }


@pytest.fixture(scope="module")
def process(
    tmp_path_factory: pytest.TempPathFactory,
    known: Certificates,
    redis_over_tls: str,
    mongodb_over_tls: str,
) -> Iterator[int]:
    """The port of one that speaks TLS to all and with all, behind a proxy elsewhere."""
    environment = serving(
        known,
        MEDSAGE_MONGODB_URI=mongodb_over_tls,
        MEDSAGE_REDIS_URL=redis_over_tls,
        MEDSAGE_TLS_MINIMUM="1.3",
        MEDSAGE_TRUSTED_PROXIES=f"198.51.100.0/24, {PROXY}",
        MEDSAGE_RATE_LIMITS="anonymous=3",
    )
    port = free_port()
    command = [sys.executable, "-c", "from deploy.cli import main; main()", "serve"]
    command += ["--port", str(port), "--data", str(tmp_path_factory.mktemp("data"))]
    with running(command, port, environment):
        yield port


@pytest.mark.redis
@pytest.mark.mongodb
def test_a_process_speaks_tls_to_all_and_with_all(process: int, known: Certificates) -> None:
    context = ssl.create_default_context(cafile=known.authority)
    with httpx.Client(verify=context, base_url=f"https://localhost:{process}") as http:
        ready = http.get("/health/ready", timeout=60)
        assert ready.json() == {
            "status": "ready",
            "checks": {"store": "ok", "redis": "ok", "background": "ok"},
        }
        told = http.get("/fhir/.well-known/smart-configuration").json()
        assert told["token_endpoint"] == f"https://localhost:{process}/auth/token"
    health = [sys.executable, "-m", "deploy.is_ready", f"https://127.0.0.1:{process}/health/ready"]
    assert subprocess.run(health, cwd=ROOT, check=False).returncode == 0
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{process}/health")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://localhost:{process}/health", verify=context)


@pytest.mark.redis
@pytest.mark.mongodb
def test_who_is_not_the_proxy_can_not_pretend_to_speak_for_others(
    process: int, known: Certificates
) -> None:
    """Requests of nobody are counted for the address that they come from; the machine's own are
    not counted. The same claim is made from elsewhere on this machine, then by the proxy."""
    context = ssl.create_default_context(cafile=known.authority)
    url, claim = f"https://127.0.0.1:{process}/fhir/Patient", {"X-Forwarded-For": "203.0.113.7"}

    def told(source: str) -> list[int]:
        transport = httpx.HTTPTransport(verify=context, local_address=source)
        with httpx.Client(transport=transport, timeout=60) as http:
            return [http.get(url, headers=claim).status_code for _ in range(5)]

    assert told("127.0.0.3") == [401] * 5
    assert told(PROXY) == [401, 401, 401, 429, 429]
