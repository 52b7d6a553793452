"""`medsage backup`: backups made, looked at, restored and tried. Servers may run meanwhile."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import drill as drills
from deploy.backups import keys_of, retention_of, source_of, target_of
from deploy.commands.ending import UNUSABLE, fail
from deploy.commands.operating import noted, opened
from deploy.commands.serve import store_settings
from deploy.restoring import Wanted, restored
from fhir_server.backup.catalogue import Catalogue, Moment, catalogue, chosen
from fhir_server.backup.create import create as make
from fhir_server.backup.manifest import Sealed
from fhir_server.backup.problems import BackupFailed
from fhir_server.backup.prune import Retention, interrupted, to_go
from fhir_server.backup.prune import prune as take_away
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import Target
from fhir_server.backup.verify import verify as verified
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import (
    UnusableKeys,
    master_keys,
    new_master_key,
    read_master_keys,
)
from fhir_server.storage.port import StoreUnavailable
from fhir_server.storage.schema import SchemaMismatch
from fhir_server.system import utc_now

app = typer.Typer(help="Backups of everything that MedSAGE keeps.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
To = Annotated[
    str | None, typer.Option("--to", help="Folder or s3://BUCKET/PREFIX; else the setting's.")
]
From = Annotated[
    str | None, typer.Option("--from", help="Folder or s3://BUCKET/PREFIX; else the setting's.")
]
KeyFile = Annotated[Path | None, typer.Option(help="File of the keys that seal backups.")]
Work = Callable[[Target, SealKeys, Settings], Awaitable[None]]


@app.command("key", epilog="Example: medsage backup key keys/backup")
def key(
    file: Annotated[
        Path | None, typer.Argument(help="The key file; a new key is put on top of it.")
    ] = None,
    key_file: KeyFile = None,
) -> None:
    """Make a key that seals backups, in a file, or on standard output where none is named. Keep a
    copy apart from the backups: without it nobody can read them."""
    file = file or key_file
    line = new_master_key()
    if file is None:
        typer.echo(line)
        return
    try:
        older = file.read_text("utf-8") if file.exists() else ""
        if older.strip():
            read_master_keys(file)
        _write_key(file, f"{line}\n{older}")
    except (OSError, UnusableKeys) as problem:
        fail(f"{file}: {problem}")
    typer.echo(f"made backup key {master_keys([line]).current} in {file}")


@app.command("create", epilog="Example: medsage backup create --data data --to /backups")
def create(
    data: Data = None,
    to: To = None,
    key_file: KeyFile = None,
    full: Annotated[bool, typer.Option("--full", help="Not what has changed alone.")] = False,
) -> None:
    """Make a backup: what has changed since the last one, or everything where there is none."""

    async def work(target: Target, keys: SealKeys, settings: Settings) -> None:
        longest = None if full else timedelta(days=settings.backup_full_days)
        async with opened(settings) as store:
            source = source_of(settings, store)
            made = await make(source, target, keys, full_after=longest)
            await store.note(noted(settings, "backup", made.manifest.backup))
        typer.echo(f"made {_line(made)}")

    settings = store_settings(data)
    _check_there(settings)
    _run(settings, to, key_file, work)


@app.command("list", epilog="Example: medsage backup list --from /backups")
def list_backups(source: From = None, key_file: KeyFile = None) -> None:
    """The backups, oldest first; what is wrong with others."""

    async def work(target: Target, keys: SealKeys, _: Settings) -> None:
        found = await catalogue(target, keys)
        for each in found.by_time():
            typer.echo(_line(each))
        _tell_unfinished(found)
        _fail_for(found.problems)

    _run(store_settings(None), source, key_file, work)


@app.command("verify", epilog="Example: medsage backup verify --from /backups")
def verify(source: From = None, key_file: KeyFile = None) -> None:
    """Read every backup to its end and say which are what was made."""

    async def work(target: Target, keys: SealKeys, _: Settings) -> None:
        found = await catalogue(target, keys)
        problems: list[BackupFailed] = []
        async for backup, problem in verified(target, found):
            if problem is None:
                typer.echo(f"{backup} is good")
            else:
                problems.append(problem)
        _tell_unfinished(found)
        _fail_for(problems)
        found.newest()

    _run(store_settings(None), source, key_file, work)


@app.command("restore", epilog="Example: medsage backup restore --from /backups --data data-2")
def restore(
    data: Annotated[Path, typer.Option(help="New folder; it must not be there, or be empty.")],
    source: From = None,
    key_file: KeyFile = None,
    backup: Annotated[str | None, typer.Option(help="This one instead of the newest.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="A moment to go back to: a position of the change feed, or a time."),
    ] = None,
) -> None:
    """Make an installation of a backup in a new folder; with MEDSAGE_MONGODB_URI its store in that
    database, which must be empty."""
    moment = None if at is None else _moment(at)

    async def work(target: Target, keys: SealKeys, settings: Settings) -> None:
        found = await catalogue(target, keys)
        last = chosen(found, backup, moment)
        done = await restored(settings, Wanted(target, found.chain(last), moment), data)
        when = done.cut.moment.isoformat() if at is None else at
        counts = ", ".join(f"{count} {name}" for name, count in done.counts.items())
        typer.echo(f"restored {last.manifest.backup} as of {when} into {data}: {counts}")

    _run(store_settings(data), source, key_file, work)


@app.command("drill", epilog="Example: medsage backup drill --data data --json")
def drill(
    data: Data = None,
    source: From = None,
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Restore the last backup, or one made for it, into an empty temporary store, and hold every
    version, resource and audit block against the source."""
    settings = store_settings(data)
    _check_there(settings)
    found = _told(drills.drilled(settings, source, key_file))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for line in _lines(found):
            typer.echo(line)
    if not found["equal"]:
        fail(f"the restored store differs: {found['differences'][0]}")


@app.command("prune", epilog="Example: medsage backup prune --from /backups --keep-days 30")
def prune(
    source: From = None,
    key_file: KeyFile = None,
    keep_days: Annotated[int | None, typer.Option(min=0, help="Keep all of so many days.")] = None,
    keep_least: Annotated[int | None, typer.Option(min=1, help="Keep so many in any case.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Take away backups that are older, but never what one that is kept goes on from."""

    async def work(target: Target, keys: SealKeys, settings: Settings) -> None:
        found, kept = await catalogue(target, keys), retention_of(settings)
        retention = Retention(
            kept.least if keep_least is None else keep_least,
            kept.days if keep_days is None else keep_days,
        )
        if dry_run:
            for backup in _going(found, retention):
                typer.echo(f"would take away {backup}")
            return
        for backup in await take_away(target, found, retention, utc_now()):
            typer.echo(f"took away {backup}")

    _run(store_settings(None), source, key_file, work)


def _going(found: Catalogue, retention: Retention) -> list[str]:
    going = [each.manifest.backup for each in to_go(found, retention, utc_now())]
    return [*going, *interrupted(found, utc_now())]


def _run(settings: Settings, place: str | None, key_file: Path | None, work: Work) -> None:
    async def run() -> None:
        keys = keys_of(settings, key_file)
        target = target_of(settings, place)
        try:
            await work(target, keys, settings)
        finally:
            await target.close()

    _told(run())


def _told(work: Any) -> Any:
    """What the work gives; the command ends where it fails."""
    try:
        return asyncio.run(work)
    except BackupFailed as problem:
        fail(str(problem))
    except UnusableKeys as problem:
        fail(f"MEDSAGE_ENCRYPTION_KEY_FILE: {problem}", UNUSABLE)
    except (StoreUnavailable, SchemaMismatch) as problem:
        fail(f"the store: {problem}")


def _tell_unfinished(found: Catalogue) -> None:
    for backup in found.unfinished:
        typer.echo(f"{backup} is being made, or was interrupted")


def _fail_for(problems: Any) -> None:
    """End with the problems, if there are any."""
    for problem in problems[:-1]:
        typer.echo(f"medsage: {problem}", err=True)
    if problems:
        fail(str(problems[-1]))


def _check_there(settings: Settings) -> None:
    if settings.mongodb_uri is None and not (settings.data / "medsage.sqlite").is_file():
        fail(f"there is no store in {settings.data}")


def _write_key(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as written:
        written.write(text)
    draft.replace(file)


def _moment(text: str) -> Moment:
    """A number is a position; anything else an ISO time, in UTC where it names no zone."""
    if re.fullmatch(r"\d{1,18}", text):
        return Moment(place=int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--at {text} is neither a position nor a time as 2026-11-26T08:00:00+00:00", UNUSABLE)
    return Moment(time=time if time.tzinfo else time.replace(tzinfo=UTC))


def _line(each: Sealed) -> str:
    manifest = each.manifest
    kind = "full" if manifest.parent is None else f"after {manifest.parent.backup}"
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items())
    return (
        f"{manifest.backup}  {manifest.cut.moment:%Y-%m-%d %H:%M:%S} UTC"
        f"  position {manifest.cut.place}  {manifest.bytes} bytes  {kind}  ({counts})"
    )


def _lines(found: dict[str, Any]) -> list[str]:
    point, compared = found["recovery_point"], found["compared"]
    counts = ", ".join(f"{count} {name}" for name, count in compared.items())
    return [
        f"{found['backup']}: {'equal' if found['equal'] else 'different'}",
        f"recovery point  {point['time']} (position {point['position']},"
        f" {point['age_seconds']} s ago)",
        f"recovery time   {found['recovery_seconds']} s",
        f"compared        {counts}",
        *found["differences"],
    ]
