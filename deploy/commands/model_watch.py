"""The commands of `medsage models` that watch over models in use, on a running server: drift,
holds, feedback, the candidate training set and its comparison."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer

from deploy import tls
from deploy.commands.ending import NO_SERVER, UNUSABLE, fail
from deploy.commands.serve import read_settings
from deploy.keys import MissingSecret, keys_of
from deploy.logs import configure
from deploy.watching import limits_of, monitor_client
from fhir_server.fhir.reference import ID
from fhir_server.load_settings import UnusableSettings
from fhir_server.settings import Settings
from fhir_server.system import new_id, utc_now
from models.fhir_client import FhirClient, FhirFailure
from models.malaria.calibration import WEIGHTS, WeightsMismatch
from models.monitoring import holds
from models.monitoring.drift_report import UNNAMED, verdict_in
from models.monitoring.reference import SHIPPED, UnusableReference, as_json, read_reference
from models.monitoring.watch import DriftWatch, Watched, transaction
from models.retraining.gathering import gather
from models.retraining.progress_report import store_progress
from models.retraining.training_set import (
    JUDGING,
    MANIFEST,
    TrainingSet,
    lines_of,
    write_set,
)
from models.retraining.verdicts import (
    UnknownVersion,
    comparison_report,
    device_of,
    stored_at,
    stored_verdict,
)

T = TypeVar("T")
_SITE = re.compile(rf"(Organization|Location)/{ID}")
Resource = dict[str, Any]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store and its keys.")]
Site = Annotated[
    str | None, typer.Option(help="Organization/id or Location/id; where none is named else.")
]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="All sites of the tenant.")]
Reason = Annotated[str, typer.Option(help="Why; it is stored and shown.")]
By = Annotated[str, typer.Option(help="Practitioner/id of who decides.")]
Folder = Annotated[Path, typer.Option(help="Folder with the training sets.")]


def attach(app: typer.Typer) -> None:
    """Add these commands to `medsage models`."""
    commands: dict[str, tuple[Callable[..., None], str]] = {
        "drift": (drift, ""),
        "holds": (list_holds, ""),
        "hold": (hold, "--site Organization/1 --reason 'New camera' --by Practitioner/1"),
        "release": (release, "--site Organization/1 --reason 'Stained anew' --by Practitioner/1"),
        "feedback": (feedback, "> feedback.ndjson"),
        "training-set": (training_set, "--out candidate/"),
        "evaluate-candidate": (evaluate_candidate, "weights/ --cells candidate/kept-aside.npz"),
        "drift-reference": (drift_reference, "--data ../shared/data/malaria"),
    }
    for name, (command, example) in commands.items():
        app.command(name, epilog=f"Example: medsage models {name} {example}".strip())(command)


def drift(
    until: Annotated[datetime | None, typer.Option(help="The midnight (UTC) it ends at.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the MeasureReports.")] = False,
    data: Data = None,
) -> None:
    """Report on drift at each site now, as the worker does each day; a site above a limit is
    held. Repeating it writes nothing new."""
    settings = read_settings({"data": data})
    end = None if until is None else until.replace(tzinfo=UTC)
    try:
        limits, reference = limits_of(settings), read_reference()
    except (UnusableSettings, UnusableReference) as problem:
        fail(str(problem), UNUSABLE)

    async def work(fhir: FhirClient) -> list[Watched]:
        return await DriftWatch(fhir, limits, reference, new_id, clock=utc_now).run_once(end)

    found = _on_server(settings, work)
    if as_json:
        typer.echo(json.dumps([each.report for each in found]))
        return
    for each in found:
        typer.echo(f"{each.window.key}{': held' if each.is_held else ''}")
        for group in each.report["group"]:
            score = group.get("measureScore", {}).get("value", "")
            cases = group["population"][0]["count"]
            name = group["code"]["coding"][0]["display"]
            typer.echo(f"  {name}: {score} ({verdict_in(group)}, {cases} analyses)")


def list_holds(data: Data = None) -> None:
    """List the sites whose AI reading is held, since when and why."""
    for each in _on_server(read_settings({"data": data}), holds.holds):
        typer.echo(f"{each.site or UNNAMED} since {each.since}: {each.reason}")


def hold(
    reason: Reason,
    by: By,
    site: Site = None,
    everywhere: Everywhere = False,
    data: Data = None,
) -> None:
    """Hold the AI reading of images: analyses there answer that there is no AI opinion."""
    where = holds.EVERYWHERE if everywhere else site
    if site is not None and not _SITE.fullmatch(site):
        fail(f"{site!r} is not Organization/id or Location/id: nothing would be held", UNUSABLE)

    def entries(reading: Resource | None, act: holds.Act) -> list[Resource]:
        return holds.hold_entries(reading, where, reason, act, new_id)

    _decide(data, by, where, entries)
    typer.echo(f"held: {where or UNNAMED}")


def release(
    reason: Reason,
    by: By,
    site: Site = None,
    everywhere: Everywhere = False,
    data: Data = None,
) -> None:
    """Release a hold. What was seen before it holds the site no more."""
    where = holds.EVERYWHERE if everywhere else site

    def entries(reading: Resource | None, act: holds.Act) -> list[Resource]:
        return holds.release_entries(reading, reason, act, new_id)

    _decide(data, by, where, entries)
    typer.echo(f"released: {where or UNNAMED}")


def _decide(
    data: Path | None,
    by: str,
    where: str | None,
    entries: Callable[[Resource | None, holds.Act], list[Resource]],
) -> None:
    """Write what somebody decides about the reading at a site."""

    async def work(fhir: FhirClient) -> None:
        act = await _act(fhir, by)
        await fhir.transaction(transaction(entries(await holds.reading_at(fhir, where), act)))

    _on_server(read_settings({"data": data}), work)


def feedback(data: Data = None) -> None:
    """Print what clinicians said of AI results, one line each, in the shape of CDS Hooks 2.0
    feedback."""
    from models.monitoring.cds_feedback import read_feedback

    for line in _on_server(read_settings({"data": data}), read_feedback):
        typer.echo(json.dumps(line))


def training_set(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; else progress alone.")
    ] = None,
    data: Data = None,
) -> None:
    """Count the consented, double-read cases, and write them as a candidate training set. The
    counts are stored as a MeasureReport, which the app's page on AI systems shows."""
    settings = read_settings({"data": data})
    made = TrainingSet(_keys(settings).secret)

    async def work(fhir: FhirClient) -> None:
        await gather(fhir, made, utc_now())
        await store_progress(fhir, made.progress, utc_now(), new_id)

    _on_server(settings, work)
    for line in lines_of(made.progress):
        typer.echo(line)
    if out is not None:
        manifest = write_set(made, out, utc_now())
        aside = manifest["kept_aside"]["cells"]
        typer.echo(
            f"{manifest['cells']} cells to learn from and {aside} kept aside to judge by, "
            f"see {out / MANIFEST}"
        )


def evaluate_candidate(
    candidate: Annotated[Path, typer.Argument(help="Folder with the candidate's weights.")],
    cells: Annotated[Path, typer.Option(help="An npz with x, y, name, patient, split.")],
    split: Annotated[str, typer.Option(help="Which of its splits.")] = JUDGING,
    active: Annotated[Path, typer.Option(help="Folder with the active weights.")] = WEIGHTS,
    by: Annotated[
        str | None, typer.Option(help="Practitioner/id: store the verdict in their name.")
    ] = None,
    data: Data = None,
) -> None:
    """Compare a candidate with the active version on the same patients, from whom neither learnt:
    others are left out by name and by picture. Ends with 1 unless the candidate is better beyond
    the interval and worse in nothing, with 2 when too few patients are left."""
    from models.retraining.candidates import compare_versions

    try:
        compared, found = compare_versions(candidate, cells, split, active=active)
    except (OSError, ValueError, WeightsMismatch) as problem:
        fail(str(problem), UNUSABLE)
    for each in found.differences:
        typer.echo(
            f"{each.metric}: active {each.active:.4f}, candidate {each.candidate:.4f}, "
            f"difference {each.value:+.4f} ({each.low:+.4f} to {each.high:+.4f})"
        )
    typer.echo(
        f"left out: {compared.patients_left_out} patients from whom a version learnt "
        f"({compared.cells_left_out} cells)"
    )
    typer.echo(f"{found.verdict.value} ({found.cells} cells of {found.patients} patients)")
    if by is not None:
        who = by

        async def work(fhir: FhirClient) -> str | None:
            devices = [await device_of(fhir, k) for k in (compared.candidate, compared.active)]
            report = comparison_report(compared, found, (devices[0], devices[1]), utc_now())
            if await stored_at(fhir, compared) is None:
                await fhir.transaction(stored_verdict(report, who, new_id))
            return await stored_at(fhir, compared)

        typer.echo(f"stored: {_on_server(read_settings({'data': data}), work)}")
    raise typer.Exit(0 if found.verdict.value == "better" else 1)


def drift_reference(
    data: Folder,
    out: Annotated[Path, typer.Option(help="File to write.")] = SHIPPED,
    weights: Annotated[Path, typer.Option(help="Folder with the weights.")] = WEIGHTS,
) -> None:
    """Count the validation anew as the reference of drift; after each new set of weights."""
    from models.training.drift_reference import drift_reference as count

    try:
        found = count(data, weights=weights, progress=lambda step: typer.echo(step, err=True))
    except (OSError, ValueError, WeightsMismatch) as problem:
        fail(str(problem), UNUSABLE)
    out.write_text(json.dumps(as_json(found), indent=1) + "\n", "utf-8")


async def _act(fhir: FhirClient, by: str) -> holds.Act:
    """Who decides; the server must know them."""
    if not by.startswith("Practitioner/"):
        raise holds.HoldRefused(f"{by} is no Practitioner/id")
    return holds.Act((await _known(fhir, by)), utc_now())


async def _known(fhir: FhirClient, reference: str) -> str:
    await fhir.read(reference)
    return reference


def _on_server(settings: Settings, work: Callable[[FhirClient], Awaitable[T]]) -> T:
    """What the work says, done at the running server in the name of the watch."""
    keys = _keys(settings)
    configure("error")

    async def run() -> T:
        async with httpx.AsyncClient(trust_env=False, verify=tls.calling(settings)) as http:
            return await work(monitor_client(http, settings.base_url, keys.worker))

    try:
        return asyncio.run(run())
    except (holds.HoldRefused, UnknownVersion) as refused:
        fail(str(refused))
    except FhirFailure as failure:
        fail(failure.text, NO_SERVER if failure.status == 503 else 1)


def _keys(settings: Settings) -> Any:
    try:
        return keys_of(settings)
    except MissingSecret as missing:
        fail(str(missing), UNUSABLE)
