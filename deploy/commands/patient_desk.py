"""What the commands of `medsage patient` share: the store, what searching means in it, and whose
record it is about."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands.ending import fail
from deploy.commands.operating import opened, operators_trail
from deploy.commands.serve import store_settings
from fhir_server.app import Knowledge, defined, knowledge
from fhir_server.fhir.codec import parse
from fhir_server.rights import erasure
from fhir_server.rights.extent import Extent, Told, extent_of, silent
from fhir_server.security.tenants import DEFAULT, tenant_of
from fhir_server.settings import Settings
from fhir_server.storage.port import Key, StoreUnavailable
from fhir_server.storage.rotation import SealedStore

Id = Annotated[str, typer.Argument(help="The id of the Patient, with or without Patient/.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ShowsProgress = Annotated[
    bool, typer.Option("--progress", help="Say on the error output how far it is.")
]
_PROBLEMS = (
    LookupError,
    FileExistsError,
    erasure.HeldForLaw,
    erasure.StillWritten,
    StoreUnavailable,
)
_EVERY = 1000


@dataclass(frozen=True)
class Desk:
    """The store, what searching means in it, and whose record it is about (no id: everybody's).
    `tenant` is the Patient's: its auditors are told of what is done."""

    settings: Settings
    store: SealedStore
    known: Knowledge
    patient: Key
    tenant: str = DEFAULT

    async def extent(self, told: Told = silent) -> Extent:
        """What is theirs."""
        return await extent_of(self.store, self.known.extract, self.patient, told)

    def noted(
        self, interaction: str, key: Key, version: int | None = None, detail: str | None = None
    ) -> bytes:
        """The audit record of something that the operator did for them."""
        trail = operators_trail(self.known.base_url, tenant=self.tenant)
        return trail.entry(
            interaction=interaction,
            outcome="success",
            status=200,
            key=key,
            version=version,
            patient=self.patient.id or None,
            detail=detail,
        )


def run(data: Path | None, patient: str, work: Callable[[Desk], Awaitable[Any]]) -> Any:
    """Do the work at an opened desk; what keeps it from being done ends the command in words."""
    settings = store_settings(data)
    key = Key("Patient", patient.removeprefix("Patient/"))

    async def opened_desk() -> Any:
        async with opened(settings) as store:
            known = knowledge(f"{settings.base_url}/fhir")
            await defined(store, known)
            tenant = await _tenant(store, key)
            return await work(Desk(settings, store, known, key, tenant))

    try:
        return asyncio.run(opened_desk())
    except _PROBLEMS as problem:
        fail(str(problem))


async def _tenant(store: SealedStore, patient: Key) -> str:
    current = await store.get(patient) if patient.id else None
    return DEFAULT if current is None or current.is_deleted else tenant_of(parse(current.body))


def teller(shows: bool) -> Told:
    """Says how far a long run is, every thousand of something; nothing unless it is asked to."""
    last: dict[str, int] = {}

    def told(what: str, done: int, total: int | None) -> None:
        is_end = total is not None and done >= total
        if done < last.get(what, 0):
            last[what] = 0  # a further round
        if shows and (is_end or done - last.get(what, 0) >= _EVERY):
            last[what] = done
            typer.echo(f"{what} {done}" + (f" of {total}" if total else ""), err=True)

    return told
