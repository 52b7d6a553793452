"""The published door: a real nginx with the repository's configuration, on two free ports."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.processes import door as door_files
from tests.availability import ROOT


@dataclass(frozen=True)
class Door:
    """Where it listens, by the way inside too, the certificate to trust, and the lines of its
    access log."""

    plain: int
    tls: int
    inner: int
    certificate: Path
    log: Path


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def opened(
    folder: Path, *, server: int | Sequence[int], app: int, tls: int | None = None
) -> Iterator[Door]:
    """nginx in front of the roles that listen on these ports; stopped at the end. A certificate
    that is put beside its first one is taken up within a second."""
    script = ROOT / "deploy/nginx/self_signed.sh"
    subprocess.run([script, folder / "tls", "localhost"], check=True, capture_output=True)
    certificate, log = folder / "tls/tls.crt", folder / "access.log"
    door = Door(free_port(), tls or free_port(), free_port(), certificate, log)
    ports = {"server": [server] if isinstance(server, int) else server, "app": [app]}
    doors = {"plain": door.plain, "tls": door.tls, "alive": free_port(), "server": door.inner}
    file = door_files.write(ROOT, folder, folder / "tls", doors, ports)
    command = door_files.command(folder, file)
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    start = ["sh", str(ROOT / "deploy/nginx/start.sh"), str(folder / "tls"), *command]
    running = subprocess.Popen(start, env={**os.environ, "LOOK_SECONDS": "0.3"})
    try:
        wait_for(door.tls)
        yield door
    finally:
        running.terminate()
        running.wait(10)


def wait_for(port: int, seconds: float = 10.0) -> None:
    """Until somebody listens there; TimeoutError when nobody does in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")
