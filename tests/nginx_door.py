"""The published door: a real nginx with the repository's configuration, on two free ports."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.availability import ROOT, nginx


@dataclass(frozen=True)
class Door:
    """Where it listens, the certificate to trust, and the lines of its access log."""

    plain: int
    tls: int
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
    door = Door(free_port(), tls or free_port(), folder / "tls/tls.crt", folder / "access.log")
    file = folder / "nginx.conf"
    file.write_text(_configuration(folder, door))
    servers = [server] if isinstance(server, int) else server
    (folder / "upstreams.conf").write_text(_upstreams({"server": servers, "app": [app]}))
    program = nginx()
    assert program is not None
    # Started by root, nginx would give its workers another user, who can't write to our folder.
    user = " user root;" if os.geteuid() == 0 else ""
    command = [program, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")]
    command += ["-g", f"daemon off;{user}"]
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


def _upstreams(ports: dict[str, Sequence[int]]) -> str:
    """The shipped upstreams, with ports of this machine for names of containers; Debian's nginx
    knows no `resolve`."""
    text = (ROOT / "deploy/nginx/upstreams.conf").read_text("utf-8")
    text, replaced = re.subn(r"^resolver .*$", "", text, flags=re.MULTILINE)
    assert replaced == 1
    for role, listening in ports.items():
        found = re.search(rf"^ *server {role}:5000 resolve (.*);$", text, re.MULTILINE)
        assert found, role
        lines = (f"    server 127.0.0.1:{port} {found[1]};" for port in listening)
        text = text.replace(found[0], "\n".join(lines))
    return text


def _configuration(folder: Path, door: Door) -> str:
    text = (ROOT / "deploy/nginx/nginx.conf").read_text("utf-8")
    for old, new in {
        "/tmp/": f"{folder}/",
        "/run/secrets/": f"{folder}/tls/",
        "/etc/nginx/proxy.conf": f"{ROOT}/deploy/nginx/proxy.conf",
        "/dev/stdout": f"{folder}/access.log",
        "listen 8080": f"listen {door.plain}",
        "listen 8443": f"listen {door.tls}",
        "127.0.0.1:8081": f"127.0.0.1:{free_port()}",
        "/etc/nginx/upstreams.conf": f"{folder}/upstreams.conf",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def wait_for(port: int, seconds: float = 10.0) -> None:
    """Until somebody listens there; TimeoutError when nobody does in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")
