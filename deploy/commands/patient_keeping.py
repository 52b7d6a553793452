"""`medsage patient retain`, `restrict`, `unrestrict`: what is kept, for how long, and for whose
use."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from deploy.commands.ending import UNUSABLE, fail
from deploy.commands.patient_desk import AsJson, Data, Desk, Id, ShowsProgress, run, teller
from deploy.commands.serve import store_settings
from deploy.processing_register import as_markdown, register
from fhir_server.fhir.codec import instant
from fhir_server.rights import retention, waiting
from fhir_server.rights.ending import Ending, end
from fhir_server.security.restrictions import (
    REASONS,
    BadRestriction,
    Restriction,
    actor_named,
    lift,
    restrict,
    restrictions,
)
from fhir_server.storage.port import Transaction
from fhir_server.system import utc_now


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of `medsage patient`."""
    example = "Example: medsage patient retain --policy retention.toml --dry-run"
    app.command("retain", epilog=example)(retain)
    app.command("restrict", epilog="Example: medsage patient restrict 7 --reason legal-claims")(
        put_on
    )
    app.command("unrestrict", epilog="Example: medsage patient unrestrict 7")(take_off)
    app.command("restrictions", epilog="Example: medsage patient restrictions")(in_force)
    app.command("register", epilog="Example: medsage patient register --json")(processing)


def retain(
    policy: Annotated[Path, typer.Option(help="TOML with lines Type = days.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
    progress: ShowsProgress = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Erase what has reached the age of its type, of all patients; holds are kept to."""
    try:
        read = retention.read_policy(policy.read_text(encoding="utf-8"))
    except (OSError, retention.BadPolicy) as problem:
        fail(f"{policy}: {problem}", UNUSABLE)

    async def work(desk: Desk) -> retention.Due:
        told = teller(progress)
        if dry_run:
            return await retention.due(desk.store, desk.known.extract, read, utc_now(), told)
        found = await end(
            desk.store,
            desk.known.extract,
            Ending(read, utc_now, partial(desk.noted, "erase")),
            told,
        )
        await waiting.take_away(desk.store, found.keys)
        await desk.store.sealing.sweep()
        return found

    found = run(data, "", work)
    if as_json:
        typer.echo(orjson.dumps(counted(found), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo("\n".join(lines(found)) or "nothing is due")


def counted(found: retention.Due) -> dict[str, Any]:
    """What is due and what is kept, as JSON."""
    ages: dict[str, dict[str, int]] = {}
    for (type, _), (words, count) in zip(_by_age(found), _aged(found), strict=True):
        ages.setdefault(type, {})[words] = count
    return {
        "due": found.counts(),
        "overdue": ages,
        "still_named": dict(sorted(found.still_named.items())),
        "held": dict(sorted(found.held.items())),
        "needed": dict(sorted(found.needed.items())),
    }


def _by_age(found: retention.Due) -> list[tuple[str, int | None]]:
    last = max(retention.AGES) + 1
    return sorted(found.ages, key=lambda each: (each[0], last if each[1] is None else each[1]))


def _aged(found: retention.Due) -> list[tuple[str, int]]:
    return [(_age(most), found.ages[type, most]) for type, most in _by_age(found)]


def _age(most: int | None) -> str:
    if most is None:
        return f"{max(retention.AGES)} days and more"
    return f"less than {most} days"


def lines(found: retention.Due) -> list[str]:
    """The same in words."""
    by_type: dict[str, list[str]] = {}
    for (type, _), (words, count) in zip(_by_age(found), _aged(found), strict=True):
        by_type.setdefault(type, []).append(f"{count} overdue by {words}")
    told = [
        f"{type}: {count}" + (f" ({', '.join(by_type[type])})" if type in by_type else "")
        for type, count in found.counts().items()
    ]
    kept: list[tuple[Counter[str], str]] = [
        (found.still_named, "of these still named by what stays"),
        (found.held, "kept for a hold or restriction"),
        (found.needed, "kept, others stand on it"),
    ]
    for counts, words in kept:
        told += [f"{type}: {count} {words}" for type, count in sorted(counts.items())]
    return told


def put_on(
    patient: Id,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Who may go on: user:NAME, client:ID or Practitioner/ID; repeatable."),
    ] = None,
    data: Data = None,
) -> None:
    """Restrict processing: the record is kept, and used by nobody but those who are allowed."""
    if reason not in REASONS:
        fail(f"--reason is one of {', '.join(REASONS)}", UNUSABLE)
    try:
        actors = tuple(actor_named(each) for each in allow or ())
    except BadRestriction as problem:
        fail(f"--allow {problem}", UNUSABLE)

    async def work(desk: Desk) -> str:
        found = await desk.store.get(desk.patient)
        if found is None or found.is_deleted:
            raise LookupError(f"there is no {desk.patient}")
        wanted = Restriction(desk.patient.id, reason, instant(utc_now()), actors)
        said = f"{reason}: {REASONS[reason]}; used by {_users(actors)}"
        entry = desk.noted("restrict", desk.patient, detail=said)

        async def unit(transaction: Transaction) -> None:
            await restrict(transaction, wanted)
            await transaction.journal(entry)

        await desk.store.transaction(unit)
        return f"{desk.patient} is restricted: kept, and used by {_users(actors)}"

    typer.echo(run(data, patient, work))


def _users(actors: tuple[str, ...]) -> str:
    return ", ".join(actors) if actors else "nobody"


def take_off(patient: Id, data: Data = None) -> None:
    """Lift a restriction: the record may be used again from the next request on. Tell the patient
    first (article 18(3))."""

    async def work(desk: Desk) -> str:
        entry = desk.noted("unrestrict", desk.patient)

        async def unit(transaction: Transaction) -> None:
            if not await lift(transaction, desk.patient.id):
                raise LookupError(f"there is no restriction on {desk.patient}")
            await transaction.journal(entry)

        await desk.store.transaction(unit)
        return f"the restriction on {desk.patient} is lifted"

    typer.echo(run(data, patient, work))


def processing(as_json: AsJson = False, data: Data = None) -> None:
    """Print the register of processing activities (article 30) of this installation."""
    found = register(store_settings(data))
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(as_markdown(found), nl=False)


def in_force(data: Data = None) -> None:
    """List the restrictions in force."""

    async def work(desk: Desk) -> str:
        return "\n".join(
            f"Patient/{each.patient}: {each.reason}, since {each.since}, used by "
            f"{_users(each.actors)}"
            for each in await restrictions(desk.store)
        )

    typer.echo(run(data, "", work) or "none is in force")
