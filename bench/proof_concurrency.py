"""`medsage bench proof-concurrency`: many at once, over HTTP, on a server of its own.

1. So many conditional creates of the same criteria at the same time give one resource.
2. Transactions that overlap in several resources, named in random order, all end, and each
   acknowledged one has been applied once.

Options: `store` sqlite (default), mongodb or both; `creates` (2000); `transactions` (400) over
`clients` (32) connections; `seed` (1).
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import uvloop

from bench.client import Load, drive, request
from bench.running import Running, medsage
from bench.stores import database, environment, token

_SCOPES = "system/*.cruds"
_SYSTEM = "urn:example:proof"
_SHARED = 6
_IN_ONE = 3
_AGAIN = frozenset({409, 503})
"""Answers that ask the client to try again: nothing was written."""


@dataclass(frozen=True)
class Asked:
    """How much is done at once."""

    creates: int
    transactions: int
    clients: int
    seed: int


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """`passed` is whether both hold on each store."""
    if unknown := {*options} - {"store", "creates", "transactions", "clients", "seed"}:
        raise ValueError(f"not an option of this proof: {unknown}")
    wanted = options.get("store", "sqlite")
    kinds = ("sqlite", "mongodb") if wanted == "both" else (wanted,)
    asked = Asked(
        creates=int(options.get("creates", "2000")),
        transactions=int(options.get("transactions", "400")),
        clients=int(options.get("clients", "32")),
        seed=int(options.get("seed", "1")),
    )
    found = {kind: uvloop.run(_proved(kind, asked)) for kind in kinds}
    passed = all(each["passed"] for each in found.values())
    return {"proof": "concurrency", "seed": asked.seed, **found, "passed": passed}


async def _proved(kind: str, asked: Asked) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as uri:
        settings = environment(uri, "medsage_concurrency")
        with medsage(Path(folder) / "data", settings) as server:
            bearer = await token(server, _SCOPES)
            async with httpx.AsyncClient(
                base_url=f"{server.origin}/fhir",
                headers={"Authorization": f"Bearer {bearer}"},
                timeout=60,
                trust_env=False,
            ) as http:
                creates = await _creates(server, http, asked)
                transactions = await _transactions(server, http, asked)
    passed = creates["resources"] == 1 and transactions["wrongly_applied"] == 0
    return {"creates": creates, "transactions": transactions, "passed": passed}


async def _creates(server: Running, http: httpx.AsyncClient, asked: Asked) -> dict[str, Any]:
    criteria = f"identifier={_SYSTEM}|one"
    body = {"resourceType": "Patient", "identifier": [{"system": _SYSTEM, "value": "one"}]}
    one = _with_header(
        request("POST", "/fhir/Patient", body=json.dumps(body).encode(), token=_bearer(http)),
        f"If-None-Exist: {criteria}",
    )
    load = await drive(server.port, [one] * asked.creates, asked.creates)
    total = (await http.get(f"/Patient?{criteria}&_summary=count")).json()["total"]
    return {"at_once": asked.creates, "resources": total, **_statuses(load)}


def _with_header(one: bytes, line: str) -> bytes:
    head, _, rest = one.partition(b"\r\n")
    return b"\r\n".join([head, line.encode(), rest])


def _bearer(http: httpx.AsyncClient) -> str:
    return http.headers["Authorization"].removeprefix("Bearer ")


async def _transactions(server: Running, http: httpx.AsyncClient, asked: Asked) -> dict[str, Any]:
    chance = Random(asked.seed)
    for number in range(_SHARED):
        await http.put(f"/Patient/shared-{number}", json=_patient(number, "first"))
    bundles = [_bundle(chance, number) for number in range(asked.transactions)]
    requests = [request("POST", "/fhir", body=body, token=_bearer(http)) for body in bundles]
    load = await drive(server.port, requests, asked.clients)
    updates = [await _versions(http, number) for number in range(_SHARED)]
    written = await _written(http)
    wrong = abs(sum(updates) - _IN_ONE * len(written))
    wrong += sum(times != 1 for times in Counter(written).values())
    wrong += abs(len(written) - load.statuses.get(200, 0))
    wrong += sum(n for status, n in load.statuses.items() if status not in {200, *_AGAIN})
    return {"sent": asked.transactions, "wrongly_applied": wrong, **_statuses(load)}


def _bundle(chance: Random, number: int) -> bytes:
    """Updates of some of the shared Patients, in random order, and one Basic of its own."""
    chosen = chance.sample(range(_SHARED), _IN_ONE)
    own = {
        "resourceType": "Basic",
        "identifier": [{"system": _SYSTEM, "value": str(number)}],
        "code": {"text": "proof"},
    }
    entries = [
        *(("PUT", f"Patient/shared-{each}", _patient(each, f"by {number}")) for each in chosen),
        ("POST", "Basic", own),
    ]
    made = [
        {"resource": resource, "request": {"method": method, "url": url}}
        for method, url, resource in entries
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": made}).encode()


def _patient(number: int, name: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": f"shared-{number}", "name": [{"text": name}]}


async def _versions(http: httpx.AsyncClient, number: int) -> int:
    """How often the shared Patient was updated."""
    found = (await http.get(f"/Patient/shared-{number}")).json()
    return int(found["meta"]["versionId"]) - 1


async def _written(http: httpx.AsyncClient) -> list[str]:
    """The numbers of the transactions that left a Basic."""
    found: list[str] = []
    url: str | None = "/Basic?_count=1000"
    while url is not None:
        page = (await http.get(url)).json()
        found += [each["resource"]["identifier"][0]["value"] for each in page.get("entry", ())]
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    return found


def _statuses(load: Load) -> dict[str, Any]:
    figures = load.figures()
    return {
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "seconds": round(load.seconds, 2),
        "p99_ms": figures["p99_ms"],
    }
