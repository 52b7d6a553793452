"""`medsage models train` and `medsage models evaluate`: what they print and how they end.

Exit codes: 0 done, 2 the data or the name are not right, 3 the weights do not fit together,
4 a needed extra is not installed.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from models.malaria.calibration import WEIGHTS, WeightsMismatch
from models.training.cells import LeakError
from models.training.evaluate import UnknownSplit, evaluate
from models.training.recipe import VERSION_MADE, Run, Trial
from models.training.seeds import keep

DONE, WRONG_DATA, WRONG_WEIGHTS, NOT_INSTALLED = 0, 2, 3, 4
SHOWN = ("auc", "sensitivity", "specificity", "ece", "accuracy", "refused", "cells", "patients")

Report = Callable[[str, int, int], None]


def train_malaria(data: Path, run: Run, page: Path | None = None) -> int:
    """Train from a folder of data, show progress and the result; the exit code comes back."""
    from models.training.malaria import model_page, train
    from models.training.study import SetMissing

    errors = Console(stderr=True)
    try:
        with _bars(errors) as report:
            measured = train(data, run, report)
    except ModuleNotFoundError as missing:
        errors.print(f"{missing.name} is not installed; install medsage with the train extra")
        return NOT_INSTALLED
    except (SetMissing, LeakError, ValueError) as problem:
        errors.print(str(problem), markup=False)
        return WRONG_DATA
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(model_page(run.weights), encoding="utf-8")
    shown = {"split": "out of fold", "model": "malaria-cell", "model_version": VERSION_MADE}
    _show({**measured["out_of_fold"], **shown})
    return DONE


def cross_validate_malaria(data: Path, work: Path, trial: Trial, page: Path | None = None) -> int:
    """Judge a recipe by five folds of patients and print the figures as JSON; the exit code
    comes back. With a page the figures are kept beside the weights, and it is written anew."""
    errors = Console(stderr=True)
    try:
        from models.training.malaria import cross_validate, model_page

        with _bars(errors) as report:
            found = cross_validate(data, work, trial.recipe(), report)
        if page is not None:
            keep(found, WEIGHTS)
            page.write_text(model_page(), encoding="utf-8")
    except ModuleNotFoundError as missing:
        errors.print(f"{missing.name} is not installed; install medsage with the train extra")
        return NOT_INSTALLED
    except (OSError, LeakError, ValueError) as problem:
        errors.print(str(problem), markup=False)
        return WRONG_DATA
    print(json.dumps(found, sort_keys=True))
    return DONE


def train_pneumonia(data: Path, *, weights: Path | None = None) -> int:
    """Train the demonstration model and print its figures; the exit code comes back."""
    from models.pneumonia.manifest import WEIGHTS as SHIPPED

    errors = Console(stderr=True)
    try:
        from models.pneumonia.training import train

        measured = train(data, weights=weights or SHIPPED)
    except ModuleNotFoundError as missing:
        errors.print(f"{missing.name} is not installed; install medsage with the train extra")
        return NOT_INSTALLED
    except (OSError, KeyError, ValueError) as problem:
        errors.print(str(problem), markup=False)
        return WRONG_DATA
    for name, value in measured.items():
        print(f"{name}: {value:g}")
    return DONE


def evaluate_malaria(
    cells: Path, split: str, *, as_json: bool = False, weights: Path = WEIGHTS
) -> int:
    """Evaluate on a split of an npz, print a table or JSON; the exit code comes back."""
    errors = Console(stderr=True)
    try:
        with _bars(errors) as report:
            found = evaluate(
                cells,
                split,
                weights=weights,
                progress=lambda done, total: report(f"cells of {split}", done, total),
            )
    except WeightsMismatch as problem:
        errors.print(str(problem), markup=False)
        return WRONG_WEIGHTS
    except (OSError, LeakError, UnknownSplit, ValueError) as problem:
        errors.print(str(problem), markup=False)
        return WRONG_DATA
    learnt, patients = found["learnt_from"], found["patients"]
    if learnt is None:
        errors.print("Whether the model learnt from these patients is not known.")
    elif learnt:
        errors.print(
            f"The model learnt from {learnt} of the {patients} patients: these figures are better "
            "than its answers."
        )
    if as_json:
        print(json.dumps(found, sort_keys=True))
    else:
        _show(found)
    return DONE


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    """A bar for each step, made when the step is first told of."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bars: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=total)
            progress.update(bars[step], completed=done)

        yield report


def _show(found: dict[str, Any]) -> None:
    console = Console()
    table = Table("", str(found["split"]), title=f"{found['model']} {found['model_version']}")
    at = {f"sensitivity at specificity {of}": s for of, s in found["sensitivity_at"].items()}
    figures = {name: found[name] for name in SHOWN} | at
    for name, value in figures.items():
        table.add_row(name, _told(value))
    console.print(table)
    worst = Table("patient", "cells", "accuracy", "sensitivity", "false positives", title="Worst")
    for one in found["worst_patients"]:
        shares = (one["accuracy"], one["sensitivity"], one["false_positives"])
        worst.add_row(
            one["patient"], str(one["cells"]), *("" if s is None else f"{s:.3f}" for s in shares)
        )
    console.print(worst)


def _told(value: float | None) -> str:
    """A figure, or a dash for what these cells cannot tell."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
