"""The production shape as processes, with a service that is registered there and a clinician."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from joserfc.jwk import ECKey

from deploy import registrations
from deploy.keys import public_jwks
from deploy.processes import programs
from deploy.processes.shape import Shape
from fhir_server.app import open_store
from fhir_server.load_settings import load
from fhir_server.security.authorization.clients import Client
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken
from tests.availability import ROOT

PASSWORD = "a-long-enough-password"
_SCOPES = "system/*.cruds system/AuditEvent.rs"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Installation:
    """The shape that runs, and a registered service's key."""

    shape: Shape
    key: ECKey

    @property
    def origin(self) -> str:
        return self.shape.base_url

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.shape.ca_file))

    def browser(self) -> httpx.Client:
        return httpx.Client(verify=self.trust(), follow_redirects=True, timeout=60)

    def token(self) -> str:
        async def ask() -> str | None:
            async with httpx.AsyncClient(verify=self.trust(), timeout=60) as http:
                client = BackendClient("his", self.key, _SCOPES, f"{self.origin}/auth/token")
                return await BackendToken(http, client, utc_now, new_id).token()

        token = aside(ask())
        assert token is not None
        return token


def aside(work: Coroutine[Any, Any, _T]) -> _T:
    """What it ends with, run in a thread of its own: Playwright's loop stays in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def environment(shape: Shape, name: str) -> dict[str, str]:
    """What the part is started with."""
    return programs.environment(shape.written, shape.parts[name].slot, ROOT)


async def register(given: Mapping[str, str], key: ECKey) -> None:
    settings, _ = load(given)
    jwks = public_jwks(dict(key.as_dict(private=True)))
    his = Client("his", "HIS", _SCOPES, grant_types=frozenset({"client_credentials"}), jwks=jwks)
    store = await open_store(settings)
    await registrations.register(store, [his])
    await store.close()


def add_user(given: dict[str, str], folder: Path) -> None:
    command = [sys.executable, "-m", "deploy.cli", "user", "add", "dr.test"]
    done = subprocess.run(
        [*command, "--name", "Dr Test", "--role", "doctor", "--fhir-user", "Practitioner/dr-test"],
        env=given,
        cwd=folder,
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
