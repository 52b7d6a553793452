"""`medsage bench synthea`: load the Synthea set, then read, create, update and search.

Options (`--option name=value`): `store` sqlite (default), mongodb or both; `set` the archive;
`bundles` how many of it at most; `seconds` for each measurement (5); `copies` of the whole set
that are loaded besides, to see how the requests fare in a larger store (none; 9 for about a
thousand patients).
"""

import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import uvloop

from bench.bare import DATABASE
from bench.client import drive, request
from bench.floors import mongodb_import, sqlite_import
from bench.load import UNIQUE, client_name
from bench.load import figures as figures_of
from bench.patients import DEFAULT, Bundle, bundles, copies
from bench.running import Running, medsage, started
from bench.shapes import SHAPES, searches
from bench.stores import database, environment, token

AT_ONCE = (1, 4)
CLIENTS = (1, 8, 64)
_SEED = 4
_SAMPLES = 400
_ROUNDS = 14
_PART_OF_A_SHAPE = 0.2
_LOOK_SECONDS = 0.5
_LONGEST_SEALING_SECONDS = 600.0
_SCOPES = "system/*.cruds system/AuditEvent.rs"


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    bundles: Sequence[Bundle]
    seconds: float
    set: Path
    copies: int


@dataclass
class Loaded:
    """What the server made of the bundles: references by type."""

    references: dict[str, list[str]] = field(default_factory=dict)
    refused: int = 0

    def add(self, status: int, body: bytes) -> None:
        """Take in a transaction-response."""
        if status != 200:
            self.refused += 1
            return
        for entry in json.loads(body)["entry"]:
            type_, id_ = entry["response"]["location"].split("/")[:2]
            self.references.setdefault(type_, []).append(id_)


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """The figures of each store beside its floors."""
    wanted = options.get("store", "sqlite")
    kinds = ("sqlite", "mongodb") if wanted == "both" else (wanted,)
    unknown = {*options} - {"store", "set", "bundles", "seconds", "copies"}
    if unknown or not {*kinds} <= {"sqlite", "mongodb"}:
        raise ValueError(f"not an option of this benchmark: {unknown or wanted}")
    most = options.get("bundles")
    place = Path(options.get("set", DEFAULT))
    found = bundles(place, int(most) if most else None)
    seconds, copied = float(options.get("seconds", "5")), int(options.get("copies", "0"))
    asked = Asked(found, seconds, place, copied)
    return {
        "bench": "synthea",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "client": client_name(),
        "bundles": len(found),
        "resources": sum(each.types.total() for each in found),
        **{kind: uvloop.run(_measured(kind, asked)) for kind in kinds},
    }


async def _measured(kind: str, asked: Asked) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as uri:
        place = Path(folder)
        figures: dict[str, Any] = {"import": {}}
        for at_once in AT_ONCE:
            settings = environment(uri, f"medsage_bench_{at_once}")
            with medsage(place / f"data-{at_once}", settings) as server:
                figures["import"][str(at_once)] = found = await _imported(server, asked, at_once)
                if at_once == AT_ONCE[-1]:
                    figures |= await _requests(server, asked, found["loaded"])
                    figures |= await _when_larger(server, asked, found["loaded"], figures)
                found.pop("loaded", None)
                figures["cold_start_seconds"] = server.started
                figures["memory"] = server.memory()
        await _add_floors(figures, asked, (place, uri))
        return figures


async def _imported(server: Running, asked: Asked, at_once: int) -> dict[str, Any]:
    bearer, loaded = await token(server, _SCOPES), Loaded()
    requests = [request("POST", "/fhir", body=each.body, token=bearer) for each in asked.bundles]
    before, used = await _creations(server, bearer), server.cpu_seconds()
    load = await drive(server.port, requests, at_once, answered=loaded.add)
    resources = sum(each.types.total() for each in asked.bundles)
    counts = {type_: len(ids) for type_, ids in sorted(loaded.references.items())}
    if loaded.refused or sum(counts.values()) != resources:
        raise ValueError(f"the server took {counts} and refused {loaded.refused} bundles")
    return {
        "resources_per_second": round(resources / load.seconds, 1),
        "seconds": round(load.seconds, 2),
        "p50_ms": load.figures()["p50_ms"],
        "p99_ms": load.figures()["p99_ms"],
        "server_cpu_ms_per_resource": round((server.cpu_seconds() - used) * 1000 / resources, 3),
        "sealed_after_seconds": await _sealed(server, bearer, before + resources),
        "loaded": loaded,
    }


async def _when_larger(
    server: Running, asked: Asked, loaded: Loaded, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """The same requests once the set is there so many times more, as other patients."""
    if not asked.copies:
        return {}
    bearer, known = await token(server, _SCOPES), _p50(figures)
    for body in copies(asked.set, asked.copies):
        one = request("POST", "/fhir", body=body, token=bearer)
        await drive(server.port, [one], 1, answered=loaded.add)
    found = await _requests(server, asked, loaded)
    growth = {name: round(p50 / known[name], 2) for name, p50 in _p50(found).items()}
    patients = len(loaded.references["Patient"])
    return {"larger": {"patients": patients, "p50_growth": growth, **found}}


def _p50(figures: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds of one client, by kind of work."""
    return {name: figures[name]["1"]["p50_ms"] for name in ("read", "create", "update", "search")}


async def _creations(server: Running, bearer: str) -> int:
    """How many AuditEvents of creations there are."""
    headers = {"Authorization": f"Bearer {bearer}"}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        url = f"{server.origin}/fhir/AuditEvent?action=C&_summary=count"
        return int((await http.get(url, headers=headers)).json()["total"])


async def _sealed(server: Running, bearer: str, expected: int) -> float:
    """How long after the last answer the audit trail was still being sealed."""
    began = time.perf_counter()
    async with asyncio.timeout(_LONGEST_SEALING_SECONDS):
        while await _creations(server, bearer) < expected:  # noqa: ASYNC110 - another process
            await asyncio.sleep(_LOOK_SECONDS)
    return round(time.perf_counter() - began, 2)


async def _requests(server: Running, asked: Asked, loaded: Loaded) -> dict[str, Any]:
    bearer, random = await token(server, _SCOPES), Random(_SEED)
    chosen = [random.choice(loaded.references["Observation"]) for _ in range(_SAMPLES)]
    reads = [request("GET", f"/fhir/Observation/{id_}", token=bearer) for id_ in chosen]
    bodies = await _observations(server, reads[:50])
    creates = [
        request("POST", "/fhir/Observation", body=json_bytes(body), token=bearer) for body in bodies
    ]
    updates = [_update(id_, bodies[0], bearer) for id_ in chosen]
    mix = searches(loaded.references["Patient"], random, _ROUNDS)
    work = {
        "read": reads,
        "create": creates,
        "update": updates,
        "search": [request("GET", f"/fhir/{text}", token=bearer) for text in mix],
    }
    found = {
        name: {str(clients): await _rate(server, requests, clients, asked) for clients in CLIENTS}
        for name, requests in work.items()
    }
    return found | {"search_shapes": await _by_shape(server, work["search"], asked)}


async def _by_shape(
    server: Running, mix: Sequence[bytes], asked: Asked
) -> dict[str, dict[str, Any]]:
    """Each shape for itself, one client; a part of the time of the whole mix."""
    part = replace(asked, seconds=asked.seconds * _PART_OF_A_SHAPE)
    return {
        name: await _rate(server, mix[number :: len(SHAPES)], 1, part)
        for number, name in enumerate(SHAPES)
    }


async def _observations(server: Running, reads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Bodies to create: stored Observations without what the server gave them."""
    bodies: list[bytes] = []
    await drive(server.port, reads, 1, answered=lambda _, body: bodies.append(body))
    found = [json.loads(body) for body in bodies]
    for each in found:
        del each["id"], each["meta"]
    return found


def _update(id_: str, body: dict[str, Any], bearer: str) -> bytes:
    """An update that differs each time: one that changes nothing would write nothing."""
    note = [{"text": f"revision {UNIQUE.decode()}"}]
    return request(
        "PUT",
        f"/fhir/Observation/{id_}",
        body=json_bytes({**body, "id": id_, "note": note}),
        token=bearer,
    )


def json_bytes(resource: dict[str, Any]) -> bytes:
    """The resource without spaces."""
    return json.dumps(resource, separators=(",", ":")).encode()


async def _rate(
    server: Running, requests: Sequence[bytes], clients: int, asked: Asked
) -> dict[str, Any]:
    return await figures_of(server.port, requests, clients=clients, seconds=asked.seconds)


async def _add_floors(
    figures: dict[str, Any], asked: Asked, place: tuple[Path, str | None]
) -> None:
    """The floors, and the ratio of each figure to its own."""
    folder, uri = place
    rows = [each.resources for each in asked.bundles]
    total = sum(len(each) for each in rows)
    for at_once in AT_ONCE:
        if uri is None:
            seconds = sqlite_import(folder / f"floor-{at_once}.sqlite", rows, at_once)
        else:
            seconds = await mongodb_import(uri, f"{DATABASE}_{at_once}", rows, at_once)
        found = figures["import"][str(at_once)]
        found["floor_resources_per_second"] = round(total / seconds, 1)
        found["of_floor"] = round(found["resources_per_second"] / (total / seconds), 3)
    await _add_request_floors(figures, asked, place)


async def _add_request_floors(
    figures: dict[str, Any], asked: Asked, place: tuple[Path, str | None]
) -> None:
    folder, uri = place
    address = uri or str(folder / f"floor-{AT_ONCE[-1]}.sqlite")
    if uri is not None:
        await mongodb_import(uri, DATABASE, [each.resources for each in asked.bundles], 1)
    command = [sys.executable, "-m", "bench.bare", "--store", address]
    sizes = [row for each in asked.bundles for row in each.resources]
    with started(command, folder / "bare.log", "/") as bare:
        reads = [request("GET", f"/{number}") for number in range(min(_SAMPLES, len(sizes)))]
        writes = [request("POST", "/", body=row) for row in sizes[:50]]
        for name, requests in (("read", reads), ("create", writes), ("update", writes)):
            for clients in CLIENTS:
                floor = await _rate(bare, requests, clients, asked)
                found = figures[name][str(clients)]
                found["floor_per_second"] = floor["per_second"]
                found["of_floor"] = round(found["per_second"] / floor["per_second"], 3)
