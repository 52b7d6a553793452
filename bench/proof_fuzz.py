"""`medsage bench proof-fuzz`: no random request gets an answer of 500 or more, or none.

Options: `store` sqlite (default) or mongodb; `requests` of our own generator (50000) over
`clients` (4) connections; `seed` (1); `examples` an archive of JSON examples to mutate;
`schema` how many examples Schemathesis makes for each operation of the OpenAPI document (50).
"""

import asyncio
import json
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from bench.client import request
from bench.fuzz.requests import Requests, Resource
from bench.fuzz.schema import tried
from bench.fuzz.sending import Sender
from bench.fuzz.words import TYPES
from bench.running import Running, medsage
from bench.stores import database, environment, token
from fhir_server.fhir.definitions import resource_types
from fhir_server.search.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "shared/conformance/r4-json.tar.xz"
FEW: tuple[Resource, ...] = (
    {"resourceType": "Patient", "name": [{"family": "Example", "given": ["A"]}], "gender": "male"},
    {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="},
)
"""What is mutated where the examples are not."""
_SCOPES = "system/*.cruds"
_LARGEST = 30_000
_MOST_NOTED = 20
_SHOWN = 1500


@dataclass
class Answers:
    """Counts by status, and the first that went wrong."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)

    def add(self, sent: bytes, status: int) -> None:
        """Take in one answer; status 0 for none."""
        self.statuses[status] += 1
        if (status >= 500 or status == 0) and len(self.wrong) < _MOST_NOTED:
            shown = sent[:_SHOWN].decode("utf-8", "replace")
            self.wrong.append({"status": status, "request": shown})


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Answers by status; `wrong` holds the first requests that got 500 or more, or none."""
    if unknown := {*options} - {"store", "requests", "clients", "seed", "examples", "schema"}:
        raise ValueError(f"not an option of this proof: {unknown}")
    kind = options.get("store", "sqlite")
    with (
        tempfile.TemporaryDirectory() as folder,
        database(kind, Path(folder)) as uri,
        medsage(Path(folder) / "data", environment(uri, "medsage_fuzz")) as server,
    ):
        return {"proof": "fuzz", "store": kind, **uvloop.run(_proved(server, options))}


async def _proved(server: Running, options: Mapping[str, str]) -> dict[str, Any]:
    seed, number = int(options.get("seed", "1")), int(options.get("requests", "50000"))
    examples = [*_examples(Path(options.get("examples", EXAMPLES)))] or [*FEW]
    bearer = await token(server, _SCOPES)
    registry = Registry()
    parameters = {
        type_: [*registry.parameters(type_)] for type_ in TYPES if type_ in resource_types()
    }
    # First, as it can't bear every URL that the random requests leave in the store.
    by_schema = await asyncio.to_thread(
        tried, server.origin, bearer, examples=int(options.get("schema", "50")), seed=seed
    )
    made = Requests(Random(seed), examples, bearer, parameters)
    made.found += await _references(server, bearer)
    answers, waiting = Answers(), islice(made, number)
    clients = int(options.get("clients", "4"))
    await asyncio.gather(*(_send(server, waiting, answers) for _ in range(clients)))
    lived = server.process.poll() is None
    return {
        "seed": seed,
        "requests": answers.statuses.total(),
        "statuses": {str(status): count for status, count in sorted(answers.statuses.items())},
        "wrong": answers.wrong,
        "schemathesis": by_schema,
        "passed": lived and not answers.wrong and by_schema.get("passed", True),
    }


async def _send(server: Running, waiting: Iterator[bytes], answers: Answers) -> None:
    sender = Sender(server.port)
    for each in waiting:
        answers.add(each, (await sender.answer(each)).status)
    sender.close()


async def _references(server: Running, bearer: str) -> list[str]:
    """Some resources that the demonstration's ward has."""
    sender, found = Sender(server.port), []
    for type_ in ("Patient", "Observation", "Encounter", "Condition", "Practitioner"):
        answer = await sender.answer(request("GET", f"/fhir/{type_}?_count=10", token=bearer))
        entries = json.loads(answer.body).get("entry", ())
        found += [f"{type_}/{entry['resource']['id']}" for entry in entries]
    sender.close()
    return found


def _examples(path: Path) -> Iterator[Resource]:
    """The examples of an archive that are not large; none when it is not here."""
    if not path.exists():
        return
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and member.size < _LARGEST:
                yield json.loads(content.read())
