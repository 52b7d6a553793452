"""The production shape without containers: the roles as processes with the environments that
Compose gives them, nginx with TLS in front, MongoDB (or its stand-in) and Redis behind."""

import asyncio
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from joserfc.jwk import ECKey
from pymongo import MongoClient

from deploy import registrations
from deploy.is_ready import problem
from deploy.keys import public_jwks
from deploy.secret_files import make_missing
from fhir_server.app import open_store
from fhir_server.load_settings import load
from fhir_server.security.authorization.clients import Client
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken
from tests.availability import ROOT
from tests.nginx_door import free_port, opened

pytestmark = [
    pytest.mark.mongodb,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.nginx,
]

ROLES = ("server", "worker", "app")
MEDSAGE = (sys.executable, "-c", "from deploy.cli import main; main()")
PASSWORD = "a-long-enough-password"
SCOPES = "system/*.cruds system/AuditEvent.rs"
_START_SECONDS = 90.0


@dataclass(frozen=True)
class Installation:
    """The public address, the certificate to trust, and a registered service's key."""

    origin: str
    certificate: Path
    key: ECKey
    logs: Mapping[str, Path]

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def browser(self) -> httpx.Client:
        return httpx.Client(verify=self.trust(), follow_redirects=True, timeout=60)

    def token(self) -> str:
        async def ask() -> str | None:
            async with httpx.AsyncClient(verify=self.trust(), timeout=60) as http:
                client = BackendClient("his", self.key, SCOPES, f"{self.origin}/auth/token")
                return await BackendToken(http, client, utc_now, new_id).token()

        token = asyncio.run(ask())
        assert token is not None
        return token


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, mongodb_server: str, redis_port: int
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("roles")
    ports = {role: free_port() for role in ROLES} | {"tls": free_port()}
    origin = f"https://localhost:{ports['tls']}"
    with ExitStack() as stack:
        redis = f"redis://127.0.0.1:{redis_port}/0"
        secrets = secrets_for(folder / "secrets", mongodb_server, redis)
        database = f"medsage_test_{new_id().replace('-', '')}"
        stack.callback(drop, mongodb_server, database)
        given = {
            role: environment(role, origin, ports, secrets) | {"MEDSAGE_MONGODB_DATABASE": database}
            for role in ROLES
        }
        key = ECKey.generate_key("P-384", {"kid": "his"}, private=True)
        for role in ROLES:
            stack.enter_context(served(role, ports[role], given[role], folder / f"{role}.log"))
        asyncio.run(register(given["server"], key))
        add_user(given["server"], folder)
        (folder / "nginx").mkdir()
        door = stack.enter_context(
            opened(folder / "nginx", server=ports["server"], app=ports["app"], tls=ports["tls"])
        )
        logs = {role: folder / f"{role}.log" for role in ROLES}
        yield Installation(origin, door.certificate, key, logs)


def test_the_worker_has_made_a_backup_of_the_database(installation: Installation) -> None:
    backups = installation.logs["worker"].parent / "backups"
    assert list(backups.glob("*/manifest.json"))
    assert "a backup was made" in installation.logs["worker"].read_text()


def drop(uri: str, database: str) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(database)


def secrets_for(folder: Path, mongodb: str, redis: str) -> Path:
    """The secret files as they are made for production, with the addresses of here."""
    make_missing(folder)
    for name, value in (("medsage_mongodb_uri", mongodb), ("medsage_redis_url", redis)):
        (folder / name).chmod(0o600)
        (folder / name).write_text(value)
    return folder


def environment(role: str, origin: str, ports: Mapping[str, int], secrets: Path) -> dict[str, str]:
    """What Compose gives the role: its variables and, in a folder of their own, its secrets."""
    service: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    own = secrets.parent / f"{role}-secrets"
    own.mkdir()
    for name in service[role]["secrets"]:
        (own / name).write_text((secrets / name).read_text())
    here = {
        "MEDSAGE_BASE_URL": origin,
        "MEDSAGE_SECRETS_DIR": str(own),
        "MEDSAGE_TRUSTED_PROXIES": "127.0.0.1",
        "MEDSAGE_SERVER_URL": f"http://127.0.0.1:{ports['server']}",
        "MEDSAGE_WORKER_URL": f"http://127.0.0.1:{ports['worker']}",
        "MEDSAGE_BACKUP_TARGET": str(secrets.parent / "backups"),
    }
    found = {}
    for name, value in service[role]["environment"].items():
        default = re.fullmatch(r"\$\{\w+:[-?](.*)\}", value)
        given = here.get(name, default[1] if default else value)
        found[name] = given.replace("/run/secrets", str(own))
    return found


@contextmanager
def served(role: str, port: int, given: dict[str, str], log: Path) -> Iterator[None]:
    """The role's process, on this machine's loopback."""
    command = [*MEDSAGE, "serve", "--role", role, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data", str(log.with_suffix(".data"))],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
            cwd=log.parent,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until_ready(process, port, log)
        yield
    finally:
        process.terminate()
        assert process.wait(40) == 0, log.read_text()[-3000:]


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if problem(f"http://127.0.0.1:{port}/health/ready") is None:
            return
        time.sleep(0.1)
    raise AssertionError(f"not ready:\n{log.read_text()[-3000:]}")


async def register(given: Mapping[str, str], key: ECKey) -> None:
    settings, _ = load(given)
    jwks = public_jwks(dict(key.as_dict(private=True)))
    his = Client("his", "HIS", SCOPES, grant_types=frozenset({"client_credentials"}), jwks=jwks)
    store = await open_store(settings)
    await registrations.register(store, [his])
    await store.close()


def add_user(given: dict[str, str], folder: Path) -> None:
    command = [*MEDSAGE, "user", "add", "dr.test"]
    done = subprocess.run(
        [*command, "--name", "Dr Test", "--role", "doctor", "--fhir-user", "Practitioner/dr-test"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
        cwd=folder,
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr


def test_nobody_gets_in_without_a_token(installation: Installation) -> None:
    with installation.browser() as browser:
        answer = browser.get(f"{installation.origin}/fhir/Patient")
    assert answer.status_code == 401
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_the_discovery_documents_name_the_public_address_alone(installation: Installation) -> None:
    with installation.browser() as browser:
        url = f"{installation.origin}/fhir/.well-known/smart-configuration"
        found = browser.get(url).json()
    addresses = [value for value in found.values() if str(value).startswith("http")]
    assert addresses
    assert all(value.startswith(installation.origin) for value in addresses)


def test_an_image_becomes_a_report_through_all_roles(installation: Installation) -> None:
    headers = {"Authorization": f"Bearer {installation.token()}"}
    form = {"age": "34", "weight": "61", "height": "168", "symptoms": "fever and chills"}
    image = (ROOT / "deploy/demo/images/cell-parasitized.png").read_bytes()
    with installation.browser() as browser:
        answer = browser.post(
            f"{installation.origin}/api/diagnose",
            headers=headers,
            data=form,
            files={"imageUpload": ("cell.png", image, "image/png")},
        )
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["status"] == "completed"
        report = browser.get(found["links"]["report"], headers=headers).json()
        assert report["status"] == "preliminary"
        provenance = browser.get(found["links"]["provenance"], headers=headers).json()
        made_by = [each["resource"]["agent"][0]["who"] for each in provenance["entry"]]
        assert all(who["reference"].startswith("Device/") for who in made_by)


def test_the_trail_does_not_believe_a_callers_own_forwarded_address(
    installation: Installation,
) -> None:
    headers = {"Authorization": f"Bearer {installation.token()}", "X-Forwarded-For": "8.8.8.8"}
    with installation.browser() as browser:
        asked = browser.get(f"{installation.origin}/fhir/Patient?_count=1", headers=headers)
        request = asked.headers["X-Request-Id"]
        url = f"{installation.origin}/fhir/AuditEvent"
        for _ in range(100):
            events = browser.get(url, params={"entity:identifier": request}, headers=headers)
            if events.json().get("entry"):
                break
            time.sleep(0.2)  # sealing waits for the requests of others
        event = events.json()["entry"][0]["resource"]
    addresses = {agent["network"]["address"] for agent in event["agent"] if "network" in agent}
    assert addresses & {"127.0.0.1", "::1"}
    assert "8.8.8.8" not in addresses


def test_a_doctor_signs_in_to_the_app(installation: Installation) -> None:
    with installation.browser() as browser:
        home = browser.get(f"{installation.origin}/app/")
        assert home.status_code == 200
        login = posted(browser, home, {})
        assert login.url.path == "/auth/login"
        inside = posted(browser, login, {"username": "dr.test", "password": PASSWORD})
        assert inside.status_code == 200, inside.text
        assert re.match(r"/app/s/[\w-]+/", inside.url.path)
        assert "Dr Test" in inside.text


def posted(browser: httpx.Client, page: httpx.Response, typed: dict[str, str]) -> httpx.Response:
    """The page's form, sent with its hidden fields and what is typed."""
    action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    target = page.url.join(action[1]) if action else page.url.copy_with(query=None)
    origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
    return browser.post(target, data=dict(hidden) | typed, headers={"Origin": origin})


def test_the_logs_hold_no_query(installation: Installation) -> None:
    for role, log in installation.logs.items():
        text = log.read_text("utf-8")
        assert text, role
        assert "_count=" not in text, role
        assert "fever" not in text, role
