"""`medsage models`: training, evaluation, recalls, results computed again, regulatory pages."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands import model_versions, model_watch
from deploy.commands.ending import FAILED, NO_SERVER, UNUSABLE, fail
from deploy.commands.operating import account
from deploy.commands.serve import store_settings
from deploy.recalling import Order, recalled
from deploy.replaying import Wanted, replayed
from models.fhir_client import FhirFailure
from models.malaria.calibration import WEIGHTS, WeightsMismatch, malaria_card
from models.regulatory.pages import write_pages
from models.symptoms.card import symptom_card
from models.training.commands import (
    DONE,
    cross_validate_malaria,
    evaluate_malaria,
    train_malaria,
    train_pneumonia,
)
from models.training.learnt import record_learnt
from models.training.recipe import Run, Trial

app = typer.Typer(
    help="Train, evaluate, recall and check models, and decide which versions are used.",
    no_args_is_help=True,
)
model_versions.register(app)
MODELS = ("malaria",)
DEMONSTRATION = "pneumonia"
Name = Annotated[str, typer.Argument(help=f"The model: {', '.join(MODELS)}.")]


@app.command("train", epilog="Example: medsage models train malaria --data ../shared/data/malaria")
def train(
    name: Annotated[str, typer.Argument(help=f"{', '.join((*MODELS, DEMONSTRATION))}.")],
    data: Annotated[Path, typer.Option(help="Folder with nih50_dev.npz and the other sets.")],
    weights: Annotated[
        Path | None, typer.Option(help="Folder that the result is written to.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Markdown page of the results.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Fewer epochs, for a trial.")] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for the networks of the folds; a run that was cut off goes on."),
    ] = None,
) -> None:
    """Train with fixed seeds, a network for each fold of patients; write weights and figures."""
    if name == DEMONSTRATION:
        raise typer.Exit(train_pneumonia(data, weights=weights))
    _known(name)
    code = train_malaria(data, Run(weights or WEIGHTS, work, epochs), page)
    if code == DONE:
        _record_learnt(data, weights or WEIGHTS)
    raise typer.Exit(code)


@app.command(
    "record-learnt",
    epilog="Example: medsage models record-learnt malaria --data DATA --weights FOLDER",
)
def record(
    name: Name,
    data: Annotated[Path, typer.Option(help="What the weights were trained on.")],
    weights: Annotated[Path, typer.Option(help="Folder with the weights.")] = WEIGHTS,
) -> None:
    """Keep beside weights from which patients and pictures they learnt, as training does: nobody
    whom a version knows may judge it."""
    _known(name)
    _record_learnt(data, weights)


def _record_learnt(data: Path, weights: Path) -> None:
    try:
        record_learnt(data, weights, lambda step, done, total: None)
    except (OSError, ValueError, WeightsMismatch) as problem:
        fail(str(problem), UNUSABLE)


@app.command(
    "cross-validate",
    epilog="Example: medsage models cross-validate malaria --data DATA --work FOLDER > study.json",
)
def cross_validate(
    name: Name,
    data: Annotated[Path, typer.Option(help="Folder with nih50_dev.npz and the other sets.")],
    work: Annotated[Path, typer.Option(help="Folder for the networks; a run cut off goes on.")],
    epochs: Annotated[int | None, typer.Option(help="Other than the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Other than the recipe's.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Keep the figures of this seed with the weights; their page anew."),
    ] = None,
) -> None:
    """Judge the recipe by five folds of patients, each read by a network that never saw them."""
    _known(name)
    raise typer.Exit(cross_validate_malaria(data, work, Trial(epochs, seed), page))


@app.command(
    "evaluate",
    epilog="Example: medsage models evaluate malaria --cells nih50_dev.npz --split test --json",
)
def evaluate(
    name: Name,
    cells: Annotated[Path, typer.Option(help="An npz with x, y, name, patient, split.")],
    split: Annotated[str, typer.Option(help="Which of its splits.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the shipped model on a split of any file of that layout."""
    _known(name)
    raise typer.Exit(evaluate_malaria(cells, split, as_json=as_json))


@app.command("replay", epilog="Example: medsage models replay Task/123")
def replay(
    task: Annotated[str | None, typer.Argument(help="The Task, as Task/ID.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All finished assessments.")] = False,
    since: Annotated[
        str | None, typer.Option(help="With --all: finished on this day or later.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="With --all: at most so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder with the worker's key.")] = None,
) -> None:
    """Compute results again from what is stored, and compare them bit by bit. Ends with 1 when one
    differs, or when the version that made it is not here."""
    if (task is None) is not every or ((since or most) and not every):
        fail("give one Task, or --all (with --since and --most)", UNUSABLE)
    wanted = Wanted(task, since, most)
    try:
        is_same = asyncio.run(replayed(store_settings(data), wanted, as_json=as_json))
    except FhirFailure as failure:
        fail(failure.text, NO_SERVER if failure.status == 503 else FAILED)
    raise typer.Exit(0 if is_same else FAILED)


@app.command(
    "recall", epilog="Example: medsage models recall Device/123 --reason 'Mislabelled' --dry-run"
)
def recall(
    device: Annotated[str, typer.Argument(help="The version's Device, as Device/ID.")],
    reason: Annotated[str, typer.Option(help="Why, as clinicians read it.")],
    start: Annotated[str | None, typer.Option("--from", help="Only from this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only up to this instant.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    token: Annotated[
        str | None, typer.Option(help="Access token of who recalls; - reads it.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the worker's key.")] = None,
) -> None:
    """Recall a version of an AI system on the running server; said again, tell how far that is.
    Recorded as done by whose token is given, without one by the operator: this account here."""
    given = None if token is None else model_versions.given(token)
    operator = account() if given is None else None
    order = Order(device, reason, start, end, is_dry_run=dry_run, operator=operator)
    try:
        found = asyncio.run(recalled(store_settings(data), order, given))
    except FhirFailure as failure:
        fail(failure.text, NO_SERVER if failure.status == 503 else FAILED)
    for name, value in found.items():
        typer.echo(f"{name}: {value}")


@app.command("regulatory", epilog="Example: medsage models regulatory --out docs/regulatory")
def regulatory(
    out: Annotated[Path, typer.Option(help="Folder that the pages are written to.")],
) -> None:
    """Write the regulatory pages (intended use, requirements, risks, practice, model facts) from
    the same facts as the software."""
    write_pages(out, [malaria_card(), symptom_card()])


def _known(name: str) -> None:
    if name not in MODELS:
        fail(f"no model {name!r}; there are: {', '.join(MODELS)}", UNUSABLE)


model_watch.attach(app)
