"""`medsage bench diagnose`: answer times of `POST /api/diagnose`.

Submissions arrive at a steady rate whether or not the ones before are answered. Options:
`rate` submissions a second (10), `seconds` of arrivals for each kind (10), `store` sqlite
(default) or mongodb.
"""

import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench import client
from bench.client import drive, percentile, request
from bench.running import Running, medsage
from bench.stores import database, environment, token

IMAGES = Path(__file__).parents[1] / "deploy/demo/images"
KINDS: Mapping[str, str | None] = {
    "symptoms": None,
    "cell": "cell-parasitized.png",
    "field": "field-1.jpg",
}
TARGETS = {"symptoms": 2.0, "cell": 5.0, "field": 5.0}
"""The most seconds that 95 of 100 answers may take at the rate; one alone may take ALONE."""
ALONE = 1.0
_ALONE_TIMES = 5
_BOUNDARY = "medsage-bench-part"
_FIELDS = {
    "name": "Bench Patient",
    "age": "34",
    "weight": "61",
    "height": "168",
    "symptoms": "fever and chills for two days, headache",
}


@dataclass(frozen=True)
class Arrivals:
    """How many submissions a second, for how long."""

    rate: float
    seconds: float


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Seconds to the answer by kind of submission, alone and at the rate, with the targets."""
    kind = options.get("store", "sqlite")
    unknown = {*options} - {"store", "rate", "seconds"}
    if unknown or kind not in ("sqlite", "mongodb"):
        raise ValueError(f"not an option of this benchmark: {unknown or kind}")
    arrivals = Arrivals(float(options.get("rate", "10")), float(options.get("seconds", "10")))
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as uri:
        place = Path(folder) / "data"
        with medsage(place, environment(uri, "medsage_bench_diagnose")) as server:
            found = uvloop.run(_measured(server, arrivals))
    return {
        "bench": "diagnose",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "client": client.NAME,
        "store": kind,
        "rate_per_second": arrivals.rate,
        "kinds": found,
    }


async def _measured(server: Running, arrivals: Arrivals) -> dict[str, Any]:
    bearer = await token(server, "system/*.cruds")
    found: dict[str, Any] = {}
    for kind, image in KINDS.items():
        sent = request(
            "POST",
            "/api/diagnose",
            body=form(image),
            token=bearer,
            kind=f"multipart/form-data; boundary={_BOUNDARY}",
        )
        alone = [await _seconds(server, sent) for _ in range(_ALONE_TIMES)]
        together = await _arriving(server, sent, arrivals)
        found[kind] = {
            "alone": _figures(alone, ALONE),
            "at_rate": _figures(together, TARGETS[kind]),
        }
    return found


def form(image: str | None) -> bytes:
    """The multipart body of one submission."""
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in _FIELDS.items()]
    if image is not None:
        kind = "image/png" if image.endswith(".png") else "image/jpeg"
        opening = f'{head}"imageUpload"; filename="{image}"\r\nContent-Type: {kind}\r\n\r\n'
        parts.append(opening.encode() + (IMAGES / image).read_bytes() + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


async def _seconds(server: Running, sent: bytes) -> float:
    """From the first byte sent to the whole answer; ValueError unless it is a finished one."""
    answers: list[tuple[int, bytes]] = []
    began = time.perf_counter()
    await drive(server.port, [sent], 1, answered=lambda *answer: answers.append(answer))
    seconds = time.perf_counter() - began
    ((status, body),) = answers
    if status != 200 or not json.loads(body).get("diagnosis"):
        raise ValueError(f"{status}: {body[:300]!r}")
    return seconds


async def _arriving(server: Running, sent: bytes, arrivals: Arrivals) -> list[float]:
    async def submit(after: float) -> float:
        await asyncio.sleep(after)
        return await _seconds(server, sent)

    count = round(arrivals.rate * arrivals.seconds)
    return await asyncio.gather(*(submit(number / arrivals.rate) for number in range(count)))


def _figures(seconds: list[float], target: float) -> dict[str, Any]:
    ordered = sorted(seconds)
    p95 = percentile(ordered, 95)
    return {
        "answers": len(ordered),
        "p50_seconds": round(percentile(ordered, 50), 3),
        "p95_seconds": round(p95, 3),
        "most_seconds": round(ordered[-1], 3),
        "target_p95_seconds": target,
        "is_met": p95 <= target,
    }
