"""`medsage models`: training and evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.commands import model_versions, model_watch
from deploy.commands.ending import UNUSABLE, fail
from models.malaria.calibration import WEIGHTS
from models.training.commands import evaluate_malaria, train_malaria, train_pneumonia

app = typer.Typer(
    help="Train and evaluate models, and decide which versions are used.", no_args_is_help=True
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
) -> None:
    """Train with fixed seeds on the training patients; write weights, metrics and model card."""
    if name == DEMONSTRATION:
        raise typer.Exit(train_pneumonia(data, weights=weights))
    _known(name)
    raise typer.Exit(train_malaria(data, weights=weights or WEIGHTS, page=page, epochs=epochs))


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


def _known(name: str) -> None:
    if name not in MODELS:
        fail(f"no model {name!r}; there are: {', '.join(MODELS)}", UNUSABLE)


model_watch.attach(app)
