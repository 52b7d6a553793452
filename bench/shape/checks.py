"""What must hold of what the load wrote, when everything runs again."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.kill.checks import Findings, Stored
from bench.shape.asking import ANSWER_SECONDS
from bench.shape.ledger import KEPT, WRITTEN, Ledger, name_of, names_of_transaction
from bench.shape.tally import AIM, Tallies
from bench.shape.visits import Browser
from bench.shape.wire import NoAnswer
from models.fhir_client import FhirClient, FhirFailure

Resource = dict[str, Any]
_AT_ONCE = 8
_APART_SECONDS = 0.012
"""Between readings, which all come from one address: the door takes a hundred a second of one."""


@dataclass
class Seen:
    """What the service holds: the content of acknowledged versions (None for one that is not
    there), how many current resources have a name of the load, and for each that was updated the
    values of all its versions."""

    contents: dict[tuple[str, str], Resource | None] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    values: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


async def seen(fhir: FhirClient, ledger: Ledger) -> Seen:
    """Ask for all of it, as any client would."""
    found = Seen()
    for each in ledger.acknowledged:
        path = f"{each.reference}/_history/{each.version}"
        found.contents[each.reference, each.version] = await _content(fhir, path)
    query = {"identifier": f"{WRITTEN}|", "_count": "200"}
    async for resource in fhir.search("Observation", query):
        name = name_of(resource)
        if name is not None:
            found.names[name] += 1
            if name.startswith(KEPT):
                await _versions(fhir, resource, found)
    return found


async def _versions(fhir: FhirClient, current: Resource, found: Seen) -> None:
    """The values of all versions of a resource, which are numbered from 1."""
    reference = f"Observation/{current['id']}"
    for number in range(1, int(current["meta"]["versionId"]) + 1):
        version = found.contents.get((reference, str(number)))
        version = version or await _content(fhir, f"{reference}/_history/{number}")
        if version is not None:
            found.values[reference].append(version["valueInteger"])


async def _content(fhir: FhirClient, path: str) -> Resource | None:
    await asyncio.sleep(_APART_SECONDS)
    try:
        return await fhir.read(path)
    except FhirFailure as failure:
        if failure.status not in (404, 410):
            raise
        return None


def check_writes(ledger: Ledger, seen: Seen, found: Findings) -> None:
    """Every acknowledged version is there with its content; nothing is there twice; a
    transaction is there whole or not at all."""
    for each in ledger.acknowledged:
        content = seen.contents[each.reference, each.version]
        place = f"{each.reference}/_history/{each.version}"
        if content is None:
            found.fault("lost versions", place)
        elif _bare(content) != _bare(each.content):
            found.fault("acknowledged versions that differ", place)
    for name, count in seen.names.items():
        if count > 1:
            found.fault("resources written twice", name)
    for reference, values in seen.values.items():
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            found.fault("updates made twice", f"{reference}: {twice}")
    for number in ledger.transactions:
        there = sum(bool(seen.names[name]) for name in names_of_transaction(number))
        if there not in (0, len(names_of_transaction(number))):
            found.fault("half transactions", number)
    found.counts["writes"] = {
        "acknowledged_versions": len(ledger.acknowledged),
        "not_acknowledged": len(ledger.unknown),
        "of_these_written": sum(bool(seen.names[name]) for name in ledger.unknown),
    }


def _bare(resource: Resource) -> Resource:
    """The content without what the server gives it."""
    return {name: value for name, value in resource.items() if name not in ("id", "meta")}


def check_tasks(ledger: Ledger, stored: Stored, found: Findings) -> None:
    """Every Task that was accepted is there; `bench.kill.checks` looks at how each one ended."""
    for task in ledger.tasks:
        if not stored.has(f"Task/{task}"):
            found.fault("lost Tasks", task)
    found.counts["accepted_tasks"] = len(ledger.tasks)


def check_availability(tallies: Tallies, found: Findings) -> None:
    """The share of requests that were answered well is as high as was promised."""
    whole = tallies.availability()
    if whole["share"] < AIM:
        found.fault("availability", f"{whole['share']} is less than {AIM}")
    found.counts["availability"] = {
        "aim": AIM,
        "whole": whole,
        "by_phase": {
            phase: {**tallies.availability(phase), "classes_with_failures": tallies.failures(phase)}
            for phase in tallies.phases()
        },
    }


async def lost_sessions(browsers: Sequence[Browser]) -> Mapping[str, int]:
    """How many sessions do not show their page any more, by the status of the answer."""
    slots, lost = asyncio.Semaphore(_AT_ONCE), Counter[str]()

    async def one(browser: Browser) -> None:
        async with slots:
            status = await _status(browser)
        if status != "200":
            lost[status] += 1

    await asyncio.gather(*map(one, browsers))
    return lost


async def _status(browser: Browser) -> str:
    sent = browser.get(f"{browser.home}patients")
    try:
        return str((await browser.caller.ask(sent, ANSWER_SECONDS)).status)
    except NoAnswer as none:
        return str(none)
