"""The model's page, docs/models/malaria.md, written from what was measured."""

from statistics import mean, stdev
from typing import Any

from models.card import ModelCard
from models.malaria.calibration import Calibration
from models.malaria.pool import detection_limit
from models.malaria.reading import ImageKind, SmearAnswer
from models.training.aims import aims_table, row
from models.training.seeds import Study, seeds_table

BASELINE = {"accuracy": 0.9606, "sensitivity": 0.9489, "specificity": 0.9724, "auc": 0.9876}
"""A small network of the same size, learnt from the training split alone, on its test split: eight
views, threshold one half."""
BASELINE_ECE = 0.0118

ORDER = ("accuracy", "sensitivity", "specificity", "auc", "ece")


def write_page(
    card: ModelCard, calibration: Calibration, *, measured: dict[str, Any], how: str
) -> str:
    """The page as Markdown. `measured` is metrics.json with the weights' own `seed` and what is
    known of `other_seeds`, `how` the text on method and data."""
    parts = [
        card.as_markdown().split("---\n", 2)[2].strip(),
        how.strip(),
        _aims(measured),
        _patients(measured),
        *_seeds(measured),
        _curve(measured["out_of_fold"]["sensitivity_at"]),
        _worst(measured["out_of_fold"]),
        _answers(calibration, measured["out_of_fold"]),
        _bands(calibration),
        _refusals(measured["refusals"]),
        _segmentation(measured["segmentation"]),
        _limits(calibration),
        _composed(measured["composed"]),
    ]
    return "\n\n".join(parts) + "\n"


def _patients(measured: dict[str, Any]) -> str:
    baseline = {**BASELINE, "ece": BASELINE_ECE}
    pooled, test, folds = (measured[name] for name in ("out_of_fold", "baseline_test", "folds"))
    rows = []
    for name in ORDER:
        each = [fold[name] for fold in folds]
        spread = f"{mean(each):.4f} ± {stdev(each):.4f}"
        rows.append(
            f"| {name} | {pooled[name]:.4f} | {spread} | {test[name]:.4f} | {baseline[name]:.4f} |"
        )
    auc_low, auc_high = pooled["auc_interval"]
    low, high = pooled["accuracy_interval"]
    return (
        f"## Patients that were not seen\n{pooled['patients']} patients, {pooled['cells']} cells, "
        "each read by the one network of the five that never saw its patient: eight views, "
        "temperature and offset from the other folds, threshold one half. The second column is "
        f"mean and standard deviation over the {len(folds)} folds; the third the "
        f"{test['patients']} patients of the file's own test split, on whom the baseline was "
        "measured, each again by the network that never saw them.\n\n"
        "| | all, out of fold | by fold | given test patients | baseline on these |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"95 % intervals by drawing patients: AUC {auc_low:.4f} to {auc_high:.4f}, accuracy "
        f"{low:.3f} to {high:.3f}. Specificity on healthy patients alone: "
        f"{pooled['specificity_healthy_patients']:.4f}. Refused: {pooled['refused']:.1%} (the "
        "figures above are over all cells, refused ones too). The network that is "
        "served learnt from all of these patients in the same way: none is left that could judge "
        "it, and these figures of its siblings, which had a fifth less to learn from, stand for "
        "it."
    )


def _seeds(measured: dict[str, Any]) -> list[str]:
    others: list[Study] = measured["other_seeds"]
    table = seeds_table(measured["out_of_fold"], measured["seed"], others)
    if not table:
        return []
    return [
        "### Other seeds\nThe study again: patients dealt into other folds, every network "
        "begun anew. All patients pooled, threshold one half; the first row is that of the "
        "weights.\n\n" + table
    ]


def _bands(calibration: Calibration) -> str:
    rows = [
        f"| {one.low:.2f} to {one.high:.2f} | {one.cells} | "
        f"{'none' if not one.cells else f'{one.positive / one.cells:.1%}'} |"
        for one in calibration.bands
    ]
    return (
        "## Cells scored alike\nOf the cells out of fold whose probability lay in a band, how "
        "many were parasitized. Half of these cells are; in a patient's film far fewer are, and "
        "then the share is smaller.\n\n| probability | cells | parasitized |\n|---|---|---|\n"
        + "\n".join(rows)
    )


def _aims(measured: dict[str, Any]) -> str:
    return (
        "## Aims\nOn patients, fields and pictures that nothing learnt from; patients out of fold "
        "(below).\n\n" + aims_table(measured) + "\n\nRed cells of other hospitals are refused more "
        f"often: {row(measured, 'Chula red cells')['refused']:.1%} of Chula's and "
        f"{row(measured, 'BCCD red cells')['refused']:.1%} of BCCD's, cut out of fields."
    )


def _curve(sensitivity_at: dict[str, float]) -> str:
    rows = [f"| {at} | {told:.4f} |" for at, told in sensitivity_at.items()]
    return (
        "### Sensitivity by specificity\nOut of fold, all patients pooled.\n\n"
        "| specificity | sensitivity |\n|---|---|\n" + "\n".join(rows)
    )


def _worst(pooled: dict[str, Any]) -> str:
    return (
        "### Worst patients\nBy accuracy:\n\n"
        + _each(pooled["worst_patients"])
        + "\n\nBy sensitivity, of those with ten parasitized cells or more:\n\n"
        + _each(pooled["least_sensitive"])
    )


def _each(patients: list[dict[str, Any]]) -> str:
    rows = [
        f"| {one['patient']} | {one['cells']} | {one['parasitized']} | {one['accuracy']:.3f} | "
        f"{_share(one['sensitivity'])} | {_share(one['false_positives'])} |"
        for one in patients
    ]
    head = "| patient | cells | parasitized | accuracy | sensitivity | false positives |\n"
    return head + "|---|---|---|---|---|---|\n" + "\n".join(rows)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _answers(calibration: Calibration, pooled: dict[str, Any]) -> str:
    infected, clean = pooled["answers"]["parasitized"], pooled["answers"]["uninfected"]
    rows = [f"| {name} | {infected[name]:.1%} | {clean[name]:.1%} |" for name in infected]
    cell, field = (calibration.limits[kind].high for kind in (ImageKind.CELL, ImageKind.FIELD))
    return (
        "## Three answers and a refusal\n"
        f"Below {calibration.low:.3f} *not seen*; *parasite likely* from {cell:.3f} on in images "
        f"of single cells, from {field:.4f} on in fields; between them *indeterminate*. Single "
        "cells out of fold, on which thresholds and limits were set:\n\n"
        "| answer | parasitized cells | uninfected cells |\n|---|---|---|\n" + "\n".join(rows)
    )


def _refusals(rows: list[dict[str, Any]]) -> str:
    head = "| picture | kind | count | refused | parasite likely | indeterminate |\n"
    lines = [
        f"| {one['picture']} | {one['kind']} | {one['count']} | {one['refused']:.1%} | "
        f"{_percent(one['parasite_likely'])} | {_percent(one['indeterminate'])} |"
        for one in rows
    ]
    return (
        "## Refusals and other hospitals\nShares of all pictures in the row; every source is a "
        "test side, and radiographs were never learnt from. Cells of Chula and BCCD are presumed "
        "free of malaria, so *parasite likely* is a false positive there.\n\n"
        + head
        + "|---|---|---|---|---|---|\n"
        + "\n".join(lines)
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _segmentation(sets: dict[str, dict[str, float]]) -> str:
    rows = [
        f"| {name} | {one['fields']:.0f} | {one['labelled']:.0f} | {one['counted']:.0f} | "
        f"{one['error_mean']:+.1f} ± {one['error_sd']:.1f} | {one['error_worst']:+.0f} | "
        f"{one['missed']:.1%} | {one['merged']:.1%} |"
        for name, one in sets.items()
    ]
    return (
        "## Counting cells\nCounted less labelled, by field: mean, standard deviation, worst. "
        "Neither set labels every cell (BCCD leaves out cells at the edges, Chula labels those "
        "that somebody could name), so a count above the labels is no proof of an error; labels "
        "that lie in no counted cell, and those of touching cells counted as one, are errors "
        "whatever the labels leave out.\n\n"
        "| fields | | labelled | counted | error | worst | missed | merged |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _limits(calibration: Calibration) -> str:
    floor, told = calibration.floor_field, calibration.told({ImageKind.FIELD})
    rows = []
    for cells in (100, 250, 500, 1000, 2000, 5000):
        limit = detection_limit(cells, floor, told)
        rows.append(f"| {cells} | {'none' if limit is None else f'{limit:.1%}'} |")
    distance = calibration.limits[ImageKind.FIELD].distance
    return (
        "## What a count can tell\n"
        f"Fields: up to {floor:.2%} of clean cells are called parasite likely (the worst film "
        f"that set limits, at distance up to {distance:.1f}). The smallest true share "
        "of infected cells that is told from this in 95 of 100 films, by cells read:\n\n"
        "| cells | share |\n|---|---|\n" + "\n".join(rows)
    )


def _composed(rows: list[dict[str, float]]) -> str:
    answers = [answer.value for answer in SmearAnswer if answer is not SmearAnswer.REFUSED]
    head = f"| cells | infected | {' | '.join(answers)} |\n" + "|---" * (len(answers) + 2) + "|\n"
    lines = [
        f"| {row['cells']:.0f} | {row['infected']:.0%} | "
        + " | ".join(f"{row[answer]:.0%}" for answer in answers)
        + " |"
        for row in rows
    ]
    return (
        "## Composed films\nCells drawn at random: clean ones from twelve neighbouring Chula "
        "fields, infected ones as they were read out of fold, 400 films a row. The share of films "
        "with each answer (refused cells are drawn too, so fewer cells are read than the first "
        "column says).\n\n" + head + "\n".join(lines)
    )
