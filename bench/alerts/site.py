"""The installation that things are done to: server, worker and app as processes on MongoDB behind
a proxy that can break it, Redis, and a small disk that can be filled."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.faults.proxy import Proxy, proxy
from bench.kill.processes import RoleProcess, installation
from bench.running import free_port
from fhir_server.storage.master_keys import new_master_key

ROLES = ("server", "app", "worker")
DISK_MB = 24
_SETTINGS = {
    # A check of readiness each second, as everything else is faster.
    "MEDSAGE_HEALTH_SECONDS": "1",
    "MEDSAGE_RATE_LIMITS": "diagnoses=none",
    "MEDSAGE_BACKUP_MINUTES": "1",
}


@dataclass
class Redis:
    """A redis-server that can be stopped and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it keeps nothing on disk."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--dir", str(self.folder)], stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Without a warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Site:
    """Everything that runs. `has_disk` is whether the data folder is a small
    disk of its own: to mount one takes root."""

    folder: Path
    roles: Mapping[str, RoleProcess]
    redis: Redis
    store: Proxy
    http: httpx.AsyncClient
    has_disk: bool

    @property
    def origin(self) -> str:
        """Where the server role answers, as its base URL says."""
        return f"http://localhost:{self.roles['server'].port}"

    @property
    def backups(self) -> Path:
        """Where the worker's backups lie."""
        return self.folder / "backups"

    async def restarted(self, role: str, **environment: str) -> None:
        """The role's process anew, with these variables on top of its usual ones."""
        process = self.roles[role]
        await asyncio.to_thread(process.stop)
        usual = process.environment
        process.environment = {**usual, **environment}
        process.start()
        process.environment = usual
        await process.ready()


@asynccontextmanager
async def site(folder: Path, mongodb: str) -> AsyncIterator[Site]:
    """All of it, ready; the processes are ended with the context."""
    _prepare(folder)
    redis = Redis(folder, free_port())
    with _small_disk(folder / "data") as has_disk:
        async with (
            proxy(mongodb, lambda _: None) as store,
            httpx.AsyncClient(timeout=30, trust_env=False) as http,
        ):
            placed = installation(folder, ROLES, (store.uri, "medsage_alerts"))
            roles = {each.role: each for each in placed.services}
            for process in roles.values():
                process.environment = {**process.environment, **_SETTINGS}
            roles["app"].environment = {
                **roles["app"].environment,
                "MEDSAGE_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            }
            roles["worker"].environment = {
                **roles["worker"].environment,
                "MEDSAGE_BACKUP_TARGET": str(folder / "backups"),
                "MEDSAGE_BACKUP_KEY_FILE": str(folder / "backup_key"),
            }
            try:
                redis.start()
                for role in ROLES:
                    roles[role].start()
                    await roles[role].ready()
                yield Site(folder, roles, redis, store, http, has_disk)
            finally:
                _end(roles, redis)


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "backup_key").write_text(new_master_key())
    (folder / "backup_key").chmod(0o600)


def _end(roles: Mapping[str, RoleProcess], redis: Redis) -> None:
    for process in roles.values():
        process.kill()
    redis.stop()


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk in memory at `folder`; without the right to mount one, a folder."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        has_disk = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        has_disk = False
    try:
        yield has_disk
    finally:
        if has_disk:
            _unmount(folder)


def _unmount(folder: Path) -> None:
    for _ in range(20):
        if subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0:
            return
        time.sleep(0.25)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
