"""Processes under measurement: a server of its own on an empty folder, and what it takes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 120.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_SETTINGS = {
    "MEDSAGE_LOG_LEVEL": "warning",
    # One client asks for as many diagnoses as it can.
    "MEDSAGE_RATE_LIMITS": "diagnoses=none",
}


class DidNotStart(Exception):
    """The process ended or did not answer in time; the text holds the end of its log."""


@dataclass(frozen=True)
class Running:
    """A process that answers on a port of this machine, `started` seconds after its start."""

    port: int
    process: subprocess.Popen[bytes]
    started: float

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def memory(self) -> dict[str, float]:
        """Resident memory of the process, now and at its most, in MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        found = {"now_mb": "VmRSS", "most_mb": "VmHWM"}
        return {name: round(int(lines[key].split()[0]) / 1024, 1) for name, key in found.items()}

    def cpu_seconds(self) -> float:
        """Processor time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def medsage(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`medsage serve` on the folder, as anybody starts it."""
    program = Path(sys.executable).with_name("medsage")
    command = [str(program), "serve", "--data", str(folder)]
    with started(command, folder / "serve.log", "/health/ready", environment) as running:
        yield running


@contextmanager
def started(
    command: Sequence[str], log: Path, path: str, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The command with `--port N` behind it, once it answers 200 at `path`; stopped at the end."""
    port = free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=written,
            stderr=written,
            env={**os.environ, **_SETTINGS, **(environment or {})},
            cwd=Path(__file__).parents[1],
        )
    try:
        _await_answer(process, f"http://127.0.0.1:{port}{path}", log)
        yield Running(port, process, round(time.perf_counter() - began, 3))
    finally:
        stop(process)


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(_POLL_SECONDS)
    raise DidNotStart(log.read_text(errors="replace")[-2000:])


def stop(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> int:
    """Ask it to end (SIGTERM), kill it when that takes longer; its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
