"""`medsage patient`: the rights of the person whose record it is, on the store itself."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from deploy.commands import patient_keeping
from deploy.commands.ending import FAILED, UNUSABLE, fail
from deploy.commands.patient_desk import AsJson, Data, Desk, Id, ShowsProgress, run, teller
from fhir_server.audit.sealer import Sealer, signer_of
from fhir_server.fhir.codec import parse
from fhir_server.rights import erasure, export, leftovers, proof, quotes, waiting
from fhir_server.rights.citing import citing
from fhir_server.rights.copies import bundles_with_copies
from fhir_server.rights.extent import Extent, Told, target_of
from fhir_server.settings import Settings
from fhir_server.system import utc_now

app = typer.Typer(
    help="A patient's rights: the record handed over or erased.", no_args_is_help=True
)
patient_keeping.add_to(app)
_MOST_NAMED = 20
_COPIES = "bundles_with_copies"


@app.command("export", epilog="Example: medsage patient export 7 --to record.zip")
def hand_over(
    patient: Id,
    to: Annotated[Path, typer.Option(help="The ZIP file to write; it must not exist.")],
    progress: ShowsProgress = False,
    data: Data = None,
) -> None:
    """Hand the whole record over: FHIR JSON, a page to read, files, and who looked at it."""

    async def work(desk: Desk) -> str:
        extent = await desk.extent(teller(progress))
        # What was done until now is told: without a server nobody else seals it.
        await (await _trail(desk)).seal_all()
        count = await export.export(desk.store, desk.known.extract, desk.patient, extent, to)
        await desk.store.note(desk.noted("hand-over", desk.patient))
        told = [f"{to}: {count} resources of {desk.patient}"]
        around = await _around(desk, extent)
        if around[_COPIES]:
            told.append(f"not in it, Bundles with copies of it: {', '.join(around[_COPIES])}")
        return "\n".join([*told, *_told_linked(around["linked_patients"])])

    typer.echo(run(data, patient, work))


@app.command("erase", epilog="Example: medsage patient erase 7 --reason patient-request")
def erase(
    patient: Id,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(erasure.REASONS)}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    progress: ShowsProgress = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Erase every version of what belongs to the patient alone, and prove that it is gone."""
    if reason not in erasure.REASONS:
        fail(f"--reason is one of {', '.join(erasure.REASONS)}", UNUSABLE)

    async def work(desk: Desk) -> dict[str, Any]:
        if dry_run:
            await erasure.require_no_hold(desk.store, desk.patient)
            extent = await desk.extent()
            return _summary(extent, await _around(desk, extent))
        return await _erased(desk, reason, teller(progress))

    found = run(data, patient, work)
    typer.echo(
        orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if as_json else _told(found)
    )
    if found.get("left_over"):
        raise typer.Exit(FAILED)


async def _erased(desk: Desk, reason: str, told: Told) -> dict[str, Any]:
    ordered = erasure.Ordered(desk.patient, reason, partial(desk.noted, "erase"), utc_now)
    before = await desk.extent(told)
    around = await _around(desk, before)
    texts = await proof.traces(desk.store, before)
    names = await quotes.names_of(desk.store, before)
    redacting = replace(ordered, noted=partial(desk.noted, "redact"))
    await erasure.require_no_hold(desk.store, desk.patient)
    # While the Patient is there: who repeats an erasure that was cut off still knows the names.
    taken_out = await quotes.take_out(await _trail(desk), names, redacting)
    try:
        extent = await erasure.erase(desk.store, desk.known.extract, ordered, told)
    except erasure.NothingHeld:
        await _end_what_was_cut_off(desk)
        raise
    gone = (desk.patient, *extent.own, *extent.former)
    answers = await waiting.take_away(desk.store, gone)
    taken_out += await quotes.take_out(await _trail(desk), names, redacting)
    await desk.store.sealing.sweep()
    sealed = desk.settings.encryption_key_file is not None
    files = _files(desk.settings)
    proved = await proof.prove(desk.store, files, texts, is_encrypted=sealed)
    return {
        **_summary(extent, around),
        "looked_for": proved.looked_for,
        "files": [path.name for path in files],
        "is_encrypted": sealed,
        "also_said_elsewhere": len(proved.others),
        "in_audit_records": len(proved.audit),
        "searches_taken_out": taken_out,
        "waiting_answers_taken_away": answers,
        "left_over": len(proved.left_over),
    }


async def _end_what_was_cut_off(desk: Desk) -> None:
    """Of an erasure that ended before its end: the answers that wait, and the file's old pages."""
    if await desk.store.record(erasure.ERASURE, desk.patient.id) is not None:
        await waiting.take_away(desk.store, (desk.patient,))
        await desk.store.sealing.sweep()


async def _trail(desk: Desk) -> quotes.Trail:
    extract = desk.known.extract
    sealer = Sealer(desk.store, extract, await signer_of(desk.store), utc_now)
    return quotes.Trail(desk.store, extract, utc_now, sealer)


def _files(settings: Settings) -> list[Path]:
    """The files of the embedded store; none of MongoDB's, which are not here."""
    if settings.mongodb_uri is not None:
        return []
    return sorted(settings.data.glob("medsage.sqlite*"))


async def _linked(desk: Desk, extent: Extent) -> list[str]:
    """The other Patients by which the same person has records, as far as links say so."""
    found = {key for key in extent.naming if key.type == "Patient"}
    current = await desk.store.get(desk.patient)
    if current is not None and not current.is_deleted:
        links = parse(current.body).get("link", ())
        found |= {key for each in links if (key := target_of(each["other"])) is not None}
    return sorted(str(key) for key in found - {desk.patient} if key.type == "Patient")


def _told_linked(linked: list[str]) -> list[str]:
    words = "linked to this one, with records of their own that are not in this"
    return [f"{words}: {', '.join(linked)}"] if linked else []


async def _around(desk: Desk, extent: Extent) -> dict[str, list[str]]:
    copies = await bundles_with_copies(desk.store, extent, desk.patient)
    return {
        _COPIES: [str(key) for key in copies],
        "naming_what_goes": [str(key) for key in await citing(desk.store, extent)],
        "linked_patients": await _linked(desk, extent),
    }


def _summary(extent: Extent, around: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "erased": len(extent.own),
        "former_versions_of": len(extent.former),
        "shared_with_others": [str(key) for key in extent.shared],
        "naming_the_patient": [str(key) for key in extent.naming],
        **around,
    }


def _told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['erased']} resources that belong to the patient alone",
        f"{found['former_versions_of']} resources whose earlier versions did",
    ]
    for name, words in (
        ("shared_with_others", "kept, they belong to other patients too; a person must decide"),
        (_COPIES, "kept, Bundles with copies of what goes; a person must decide"),
        ("naming_the_patient", "kept, they name the patient"),
        ("naming_what_goes", "kept, they name what goes, and not the patient"),
    ):
        keys = found[name]
        if keys:
            more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
            lines.append(f"{words}: {', '.join(keys[:_MOST_NAMED])}{more}")
    lines += _told_linked(found["linked_patients"])
    if "looked_for" in found:
        where = ", ".join(found["files"]) or "all that MongoDB answers (its files are its own)"
        if found["files"] and found["is_encrypted"]:
            where += (
                " (encrypted: there a search sees the index alone) and all that the store answers"
            )
        lines.append(
            f"{found['looked_for']} texts looked for in {where}: {found['left_over']} left over, "
            f"{found['in_audit_records']} in audit records, which stay, "
            f"{found['also_said_elsewhere']} that other records say too"
        )
        lines.append(
            f"{found['searches_taken_out']} searches taken out of the audit trail, "
            f"{found['waiting_answers_taken_away']} answers that waited taken away"
        )
    return "\n".join(lines)


@app.command("leftovers", epilog="Example: medsage patient leftovers --json")
def left_behind(
    progress: ShowsProgress = False, as_json: AsJson = False, data: Data = None
) -> None:
    """List content that no record has, and what was written about somebody after their erasure."""

    async def work(desk: Desk) -> leftovers.Leftovers:
        return await leftovers.leftovers(desk.store, teller(progress))

    found: leftovers.Leftovers = run(data, "", work)
    unclaimed = [str(key) for key in found.unclaimed]
    since = {str(who): [str(key) for key in keys] for who, keys in found.written_since.items()}
    if as_json:
        told = {"unclaimed_content": unclaimed, "written_since_erasure": since}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    lines = [f"content that nothing has: {', '.join(unclaimed)}"] if unclaimed else []
    lines += [f"written since {who} was erased: {', '.join(keys)}" for who, keys in since.items()]
    typer.echo("\n".join(lines) or "nothing is left behind")


@app.command("hold", epilog="Example: medsage patient hold 7 --reason 'court order 12/2026'")
def hold(
    patient: Id,
    reason: Annotated[str, typer.Option(help="By whose order, in words.")],
    data: Data = None,
) -> None:
    """Put a legal hold on the record: it can't be erased until the hold is released."""

    async def work(desk: Desk) -> str:
        if await desk.store.get(desk.patient) is None:
            found = await desk.extent()
            if not (found.own or found.former or found.shared or found.naming):
                raise erasure.NothingHeld(f"nothing is held about {desk.patient}")
        entry = desk.noted("hold", desk.patient)
        await erasure.hold(desk.store, desk.patient, reason, entry)
        return f"{desk.patient} can't be erased now"

    typer.echo(run(data, patient, work))


@app.command("release")
def release(patient: Id, data: Data = None) -> None:
    """End a legal hold."""

    async def work(desk: Desk) -> str:
        await erasure.release(desk.store, desk.patient, desk.noted("unhold", desk.patient))
        return f"the hold on {desk.patient} is over"

    typer.echo(run(data, patient, work))
