"""`medsage patient`: the rights of the person whose record it is, on the store itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from deploy.commands.ending import FAILED, UNUSABLE, fail
from deploy.commands.operating import OPERATOR, opened
from deploy.commands.serve import store_settings
from fhir_server.app import Knowledge, defined, knowledge
from fhir_server.audit.journal import AuditTrail
from fhir_server.rights import erasure, export, proof, retention
from fhir_server.rights.extent import Extent, extent_of
from fhir_server.settings import Settings
from fhir_server.storage.port import Key, StoreUnavailable
from fhir_server.storage.rotation import SealedStore
from fhir_server.system import new_id, utc_now

app = typer.Typer(
    help="A patient's rights: the record handed over or erased.", no_args_is_help=True
)
Id = Annotated[str, typer.Argument(help="The id of the Patient, with or without Patient/.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_MOST_NAMED = 20
_PROBLEMS = (
    LookupError,
    FileExistsError,
    erasure.HeldForLaw,
    erasure.StillWritten,
    StoreUnavailable,
)


@dataclass(frozen=True)
class _Desk:
    """The store, what searching means in it, and whose record it is about (no id: everybody's)."""

    settings: Settings
    store: SealedStore
    known: Knowledge
    patient: Key

    async def extent(self) -> Extent:
        return await extent_of(self.store, self.known.extract, self.patient)

    def noted(self, interaction: str, key: Key, version: int | None = None) -> bytes:
        trail = AuditTrail(OPERATOR, utc_now, new_id, self.known.base_url)
        return trail.entry(
            interaction=interaction,
            outcome="success",
            status=200,
            key=key,
            version=version,
            patient=self.patient.id or None,
        )


@app.command("export", epilog="Example: medsage patient export 7 --to record.zip")
def hand_over(
    patient: Id,
    to: Annotated[Path, typer.Option(help="The ZIP file to write; it must not exist.")],
    data: Data = None,
) -> None:
    """Hand the whole record over: FHIR JSON, a page to read, files, and who looked at it."""

    async def work(desk: _Desk) -> str:
        count = await export.export(desk.store, desk.patient, await desk.extent(), to)
        await desk.store.note(desk.noted("hand-over", desk.patient))
        return f"{to}: {count} resources of {desk.patient}"

    typer.echo(_run(data, patient, work))


@app.command("erase", epilog="Example: medsage patient erase 7 --reason patient-request")
def erase(
    patient: Id,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(erasure.REASONS)}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Erase every version of what belongs to the patient alone, and prove that it is gone."""
    if reason not in erasure.REASONS:
        fail(f"--reason is one of {', '.join(erasure.REASONS)}", UNUSABLE)

    async def work(desk: _Desk) -> dict[str, Any]:
        if dry_run:
            await erasure.require_no_hold(desk.store, desk.patient)
            return _summary(await desk.extent())
        return await _erased(desk, reason)

    found = _run(data, patient, work)
    typer.echo(
        orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if as_json else _told(found)
    )
    if found.get("left_over"):
        raise typer.Exit(FAILED)


async def _erased(desk: _Desk, reason: str) -> dict[str, Any]:
    ordered = erasure.Ordered(desk.patient, reason, partial(desk.noted, "erase"), utc_now)
    texts = await proof.traces(desk.store, await desk.extent())
    extent = await erasure.erase(desk.store, desk.known.extract, ordered)
    await desk.store.sealing.sweep()
    proved = await proof.prove(desk.store, _files(desk.settings), texts)
    return {
        **_summary(extent),
        "looked_for": proved.looked_for,
        "files": [path.name for path in _files(desk.settings)],
        "also_said_elsewhere": len(proved.others),
        "in_audit_records": len(proved.audit),
        "left_over": len(proved.left_over),
    }


def _files(settings: Settings) -> list[Path]:
    """The files of the embedded store; none of MongoDB's, which are not here."""
    if settings.mongodb_uri is not None:
        return []
    return sorted(settings.data.glob("medsage.sqlite*"))


def _summary(extent: Extent) -> dict[str, Any]:
    return {
        "erased": len(extent.own),
        "former_versions_of": len(extent.former),
        "shared_with_others": [str(key) for key in extent.shared],
        "naming_the_patient": [str(key) for key in extent.naming],
    }


def _told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['erased']} resources that belong to the patient alone",
        f"{found['former_versions_of']} resources whose earlier versions did",
    ]
    for name, words in (
        ("shared_with_others", "kept, they belong to other patients too; a person must decide"),
        ("naming_the_patient", "kept, they name the patient"),
    ):
        keys = found[name]
        if keys:
            more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
            lines.append(f"{words}: {', '.join(keys[:_MOST_NAMED])}{more}")
    if "looked_for" in found:
        where = ", ".join(found["files"]) or "no file: MongoDB keeps its own"
        lines.append(
            f"{found['looked_for']} texts looked for in {where}: {found['left_over']} left over, "
            f"{found['in_audit_records']} in audit records, {found['also_said_elsewhere']} that "
            "other records say too"
        )
    return "\n".join(lines)


@app.command("hold", epilog="Example: medsage patient hold 7 --reason 'court order 12/2026'")
def hold(
    patient: Id,
    reason: Annotated[str, typer.Option(help="By whose order, in words.")],
    data: Data = None,
) -> None:
    """Put a legal hold on the record: it can't be erased until the hold is released."""

    async def work(desk: _Desk) -> str:
        entry = desk.noted("hold", desk.patient)
        await erasure.hold(desk.store, desk.patient, reason, entry)
        return f"{desk.patient} can't be erased now"

    typer.echo(_run(data, patient, work))


@app.command("release")
def release(patient: Id, data: Data = None) -> None:
    """End a legal hold."""

    async def work(desk: _Desk) -> str:
        await erasure.release(desk.store, desk.patient, desk.noted("unhold", desk.patient))
        return f"the hold on {desk.patient} is over"

    typer.echo(_run(data, patient, work))


@app.command("retain", epilog="Example: medsage patient retain --policy retention.toml --dry-run")
def retain(
    policy: Annotated[Path, typer.Option(help="TOML with lines Type = days.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
    data: Data = None,
) -> None:
    """Erase what has reached the age of its type, of all patients; holds are kept to."""
    try:
        read = retention.read_policy(policy.read_text(encoding="utf-8"))
    except (OSError, retention.BadPolicy) as problem:
        fail(f"{policy}: {problem}", UNUSABLE)

    async def work(desk: _Desk) -> str:
        now = utc_now()
        if dry_run:
            found = await retention.due(desk.store, desk.known.extract, read, now)
        else:
            ending = retention.Ending(read, now, partial(desk.noted, "erase"))
            found = await retention.end(desk.store, desk.known.extract, ending)
            await desk.store.sealing.sweep()
        lines = [f"{type}: {count}" for type, count in found.counts().items()]
        lines += [f"{type}: {count} kept for a legal hold" for type, count in found.held.items()]
        return "\n".join(lines) or "nothing is due"

    typer.echo(_run(data, "", work))


def _run(data: Path | None, patient: str, work: Callable[[_Desk], Awaitable[Any]]) -> Any:
    settings = store_settings(data)
    key = Key("Patient", patient.removeprefix("Patient/"))

    async def run() -> Any:
        async with opened(settings) as store:
            known = knowledge(f"{settings.base_url}/fhir")
            await defined(store, known)
            return await work(_Desk(settings, store, known, key))

    try:
        return asyncio.run(run())
    except _PROBLEMS as problem:
        fail(str(problem))
