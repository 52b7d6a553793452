"""The audit trail after all processes have ended: read from the store itself and verified."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from bench.kill.checks import Findings
from fhir_server.app import knowledge, open_store
from fhir_server.audit.export import export
from fhir_server.audit.sealer import Sealer, signer_of
from fhir_server.audit.verify import verify
from fhir_server.load_settings import load
from fhir_server.storage.port import ResourceStore
from fhir_server.system import utc_now

REAPED_SECONDS = 120.0
"""MongoDB ends transactions that nobody goes on with after 60 seconds, looking every 30."""

Resource = dict[str, Any]
Version = tuple[str, str]
"""`Type/id` and version id."""

_FOUND, _AGAIN = "200", "nothing was written"
"""What the record of a conditional create says that found what it would have made, and how that of
a write ends that was done before and is answered again."""


async def check_trail(
    environment: Mapping[str, str], origin: str, acknowledged: Iterable[Version], found: Findings
) -> None:
    """The chain verifies, and each acknowledged write has its one record in it."""
    settings, _ = load(environment)
    store = await open_store(settings)
    try:
        signer = await signer_of(store)
        sealer = Sealer(store, knowledge(f"{origin}/fhir").extract, signer, utc_now)
        await _seal_all(store, sealer)
        lines = [line async for line in export(store, signer, utc_now)]
    finally:
        await store.close()
    report = verify(lines, signer.public_jwk)
    for finding in report.findings:
        found.fault("findings in the audit trail", f"line {finding.line}: {finding.text}")
    records = Counter(_versions(lines))
    for version in acknowledged:
        if not records[version]:
            found.fault("acknowledged writes without an audit record", version)
    for version, count in records.items():
        if count > 1:
            found.fault("versions with two audit records", version)
    found.counts["audit"] = {"events": report.events, "blocks": report.blocks}


async def _seal_all(store: ResourceStore, sealer: Sealer) -> None:
    """Seal what waits. A process that was killed may have left a transaction open that holds its
    records until the store's server gives it up: then none can be sealed for a while."""
    async with asyncio.timeout(REAPED_SECONDS) as limit:
        while await store.journal(1):
            if await sealer.seal_once():
                limit.reschedule(asyncio.get_running_loop().time() + REAPED_SECONDS)
            else:
                await asyncio.sleep(1.0)


def _versions(lines: Sequence[bytes]) -> list[Version]:
    """The versions whose writing the events record."""
    events = map(orjson.loads, lines)
    return [
        (entity["what"]["reference"], detail["valueString"])
        for event in events
        if event.get("outcome") == "0" and _is_write(event)
        for entity in event.get("entity", ())
        for detail in entity.get("detail", ())
        if detail["type"] == "versionId"
    ]


def _is_write(event: Resource) -> bool:
    said = str(event.get("outcomeDesc", ""))
    if said.endswith(_AGAIN):
        return False
    match event.get("action"):
        case "C":
            return said != _FOUND
        case action:
            return action in ("U", "D")
