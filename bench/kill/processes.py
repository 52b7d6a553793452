"""`medsage serve` as processes that are killed without warning and started again."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.running import DidNotStart, free_port, stop

LEASE_SECONDS = 3
START_SECONDS = 120.0
STOP_SECONDS = 20.0
"""How long a process may take to end after SIGTERM."""
_POLL_SECONDS = 0.05


@dataclass
class RoleProcess:
    """One process of a role; its log goes on from one start to the next."""

    role: str
    port: int
    folder: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    kills: int = field(default=0, init=False)

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        program = Path(sys.executable).with_name("medsage")
        command = [str(program), "serve", "--role", self.role, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data", str(self.folder / "data")],
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,  # a developer's own .env must not be read
            )

    def kill(self) -> None:
        """End it as a power failure would (SIGKILL)."""
        if self.process is not None:
            self.kills += 1
            self.process.kill()
            self.process.wait()

    async def ready(self) -> None:
        """Return when it says that it is ready; DidNotStart when it ended or took too long."""
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while self.process.poll() is None:
                try:
                    url = f"http://127.0.0.1:{self.port}/health/ready"
                    if (await http.get(url, timeout=10)).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)
        raise DidNotStart(self.log.read_text(errors="replace")[-3000:])

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit code, killed when it takes too long."""
        assert self.process is not None
        return stop(self.process, STOP_SECONDS)

    @property
    def log(self) -> Path:
        """What the process has written since the first start."""
        return self.folder / f"{self.role}.log"


@dataclass(frozen=True)
class Installation:
    """The processes, the address of the server role, and the settings of its store."""

    services: Sequence[RoleProcess]
    origin: str
    store: Mapping[str, str]


def installation(
    folder: Path, roles: Sequence[str], mongodb: tuple[str, str] | None = None
) -> Installation:
    """A process for each role over one store in `folder`, or in a MongoDB (URI, database)."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = {role: free_port() for role in roles}
    first = ports[roles[0]]
    store = {"MEDSAGE_DATA": str(folder / "data")}
    if mongodb is not None:
        store |= {"MEDSAGE_MONGODB_URI": mongodb[0], "MEDSAGE_MONGODB_DATABASE": mongodb[1]}
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDSAGE_")}
    given = {
        "MEDSAGE_BASE_URL": f"http://localhost:{first}",
        "MEDSAGE_SERVER_URL": f"http://127.0.0.1:{first}",
        "MEDSAGE_WORKER_URL": f"http://127.0.0.1:{ports[roles[-1]]}",
        "MEDSAGE_TASK_LEASE_SECONDS": str(LEASE_SECONDS),
        "MEDSAGE_LOG_LEVEL": "warning",
        "MEDSAGE_RATE_LIMITS": "diagnoses=none",
    }
    environment = own | given | store
    services = [RoleProcess(role, port, folder, environment) for role, port in ports.items()]
    return Installation(services, f"http://localhost:{first}", store)
