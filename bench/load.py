"""Requests per second and percentiles of a server: with `wrk` where it is installed, since a
client in Python can be the limit, and with `bench.client` elsewhere."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from bench import client

UNIQUE = b"@@@@@@@@"
"""Stands for eight digits that are others in each request."""

_SCRIPT = Path(__file__).with_name("wrk.lua")
_MARK = "FIGURES "
_TIMEOUT = "60s"


def client_name() -> str:
    """Which client measures on this machine."""
    return "wrk, one thread" if shutil.which("wrk") else client.NAME


async def figures(
    port: int, requests: Sequence[bytes], *, clients: int, seconds: float
) -> dict[str, Any]:
    """`requests`, `per_second`, `p50_ms`, `p99_ms`, and how many were `refused` (status 400 and
    more), with so many connections for so long. ValueError when a connection failed."""
    wrk = shutil.which("wrk") if seconds >= 1 else None  # it measures whole seconds
    if wrk is None:
        load = await client.drive(port, _for_seconds(requests, seconds), clients)
        return load.figures()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "requests"
        written.write_bytes(b"".join(b"%d\n%s" % (len(each), each) for each in requests))
        return await _run(wrk, port, written, (clients, max(1, round(seconds))))


async def _run(wrk: str, port: int, written: Path, asked: tuple[int, int]) -> dict[str, Any]:
    clients, seconds = asked
    process = await asyncio.create_subprocess_exec(
        *(wrk, "-t", "1", "-c", str(clients), "-d", f"{seconds}s", "--timeout", _TIMEOUT),
        *("-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", str(written)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    line = next((each for each in output.splitlines() if each.startswith(_MARK)), None)
    found: dict[str, Any] = json.loads(line.removeprefix(_MARK)) if line else {"failed": 1}
    if found.pop("failed"):
        raise ValueError(f"wrk lost connections: {output[-500:]}")
    found["per_second"] = round(found["requests"] / found.pop("seconds"), 1)
    return found


def _for_seconds(requests: Sequence[bytes], seconds: float) -> Iterator[bytes]:
    numbers = count()
    for each in client.for_seconds(requests, seconds):
        yield each.replace(UNIQUE, b"%08d" % next(numbers)) if UNIQUE in each else each
