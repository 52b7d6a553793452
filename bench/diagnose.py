"""`medsage bench diagnose`: answer times of `POST /api/diagnose`, and what a cell costs.

Submissions arrive at a steady rate whether or not the ones before are answered. Options:
`rate` submissions a second (10), `seconds` of arrivals (10), `store` sqlite (default) or
mongodb. A field of sixty cells, each seen eight ways, costs half a second of one core: of these
one second's arrivals are sent, and `per_second` is how many were answered in a second while
they queued. More for long takes more cores, or more workers (`medsage serve --role worker`).
`cell_and_view` is the processor time of the network alone (`bench/cell_time.py`).
"""

import asyncio
import json
import math
import os
import platform
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import uvloop

from bench import client
from bench.cell_time import cell_times
from bench.client import drive, percentile, request
from bench.running import Running, medsage
from bench.stores import database, environment, token

IMAGES = Path(__file__).parents[1] / "deploy/demo/images"
ALONE = 1.0
"""The most seconds that one submission alone may take."""
_ALONE_TIMES = 5
_PNG_HEAD = 33
BOUNDARY = "medsage-bench-part"
_FIELDS = {
    "name": "Bench Patient",
    "age": "34",
    "weight": "61",
    "height": "168",
    "symptoms": "fever and chills for two days, headache",
}


@dataclass(frozen=True)
class Kind:
    """What is submitted; the most seconds that 95 of 100 answers may take at the rate; for how
    many seconds they arrive at most."""

    image: str | None
    target: float
    longest: float = math.inf


KINDS: Mapping[str, Kind] = {
    "symptoms": Kind(None, 2.0),
    "cell": Kind("cell-parasitized.png", 5.0),
    "field": Kind("field-1.jpg", 5.0, longest=1.0),
}


@dataclass(frozen=True)
class Arrivals:
    """How many submissions a second, for how long."""

    rate: float
    seconds: float


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Seconds to the answer by kind of submission, alone and at the rate, and milliseconds for a
    view of a cell; with the targets."""
    kind = options.get("store", "sqlite")
    unknown = {*options} - {"store", "rate", "seconds"}
    if unknown or kind not in ("sqlite", "mongodb"):
        raise ValueError(f"not an option of this benchmark: {unknown or kind}")
    arrivals = Arrivals(float(options.get("rate", "10")), float(options.get("seconds", "10")))
    cell_and_view = cell_times()
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
        "cell_and_view": cell_and_view,
    }


async def _measured(server: Running, arrivals: Arrivals) -> dict[str, Any]:
    bearer = await token(server, "system/*.cruds")
    found: dict[str, Any] = {}
    for name, kind in KINDS.items():
        submissions = _submissions(kind.image, bearer)
        alone = [await _seconds(server, next(submissions)) for _ in range(_ALONE_TIMES)]
        shortened = replace(arrivals, seconds=min(arrivals.seconds, kind.longest))
        began = time.perf_counter()
        together = await _arriving(server, submissions, shortened)
        per_second = len(together) / (time.perf_counter() - began)
        found[name] = {
            "alone": _figures(alone, ALONE),
            "at_rate": _figures(together, kind.target) | {"per_second": round(per_second, 1)},
        }
    return found


def _submissions(image: str | None, bearer: str) -> Iterator[bytes]:
    """Requests that never send the same image twice."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    content = (IMAGES / image).read_bytes() if image else None
    for number in count():
        body = form(image, marked(content, number) if content else None)
        yield request("POST", "/api/diagnose", body=body, token=bearer, kind=kind)


def form(name: str | None, content: bytes | None) -> bytes:
    """The multipart body of one submission."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{each}"\r\n\r\n{value}\r\n'.encode() for each, value in _FIELDS.items()]
    if name is not None and content is not None:
        kind = "image/png" if name.endswith(".png") else "image/jpeg"
        opening = f'{head}"imageUpload"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
        parts.append(opening.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def marked(image: bytes, number: int) -> bytes:
    """The same picture in other bytes: a PNG or JPEG with a comment behind its head."""
    text = f"bench\0{number}".encode()
    if image.startswith(b"\x89PNG"):
        chunk = b"tEXt" + text
        comment = struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return image[:_PNG_HEAD] + comment + image[_PNG_HEAD:]
    return image[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + image[2:]


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


async def _arriving(
    server: Running, submissions: Iterator[bytes], arrivals: Arrivals
) -> list[float]:
    async def submit(after: float, sent: bytes) -> float:
        await asyncio.sleep(after)
        return await _seconds(server, sent)

    sent = islice(submissions, round(arrivals.rate * arrivals.seconds))
    times = (number / arrivals.rate for number in count())
    return await asyncio.gather(*map(submit, times, list(sent)))


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
