"""The model's page, docs/models/malaria.md, written from what was measured."""

from typing import Any

from models.card import ModelCard
from models.malaria.calibration import Calibration
from models.malaria.pool import detection_limit
from models.malaria.reading import ImageKind, SmearAnswer

BASELINE = {"accuracy": 0.9606, "sensitivity": 0.9489, "specificity": 0.9724, "auc": 0.9876}
"""A small network of the same size on the same split, eight views, threshold one half."""
BASELINE_ECE = 0.0118

ORDER = ("accuracy", "sensitivity", "specificity", "auc", "ece")


def write_page(
    card: ModelCard, calibration: Calibration, *, measured: dict[str, Any], how: str
) -> str:
    """The page as Markdown. `measured` is metrics.json, `how` the text on method and data."""
    parts = [
        card.as_markdown().split("---\n", 2)[2].strip(),
        how.strip(),
        _test(measured["test"]),
        _worst(measured["test"]["worst_patients"]),
        _answers(calibration, measured["test"]),
        _refusals(measured["refusals"]),
        _segmentation(measured["segmentation"]),
        _limits(calibration),
        _composed(measured["composed"]),
    ]
    return "\n\n".join(parts) + "\n"


def _test(test: dict[str, Any]) -> str:
    baseline = {**BASELINE, "ece": BASELINE_ECE}
    rows = [f"| {name} | {test[name]:.4f} | {baseline[name]:.4f} |" for name in ORDER]
    low, high = test["accuracy_interval"]
    healthy = test["specificity_healthy_patients"]
    return (
        f"## Test patients\n{test['patients']} patients, {test['cells']} cells, in neither "
        "learning nor limits; eight views, calibrated, threshold one half.\n\n"
        "| | this model | baseline |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Accuracy, 95 % interval by drawing patients: {low:.3f} to {high:.3f}. Specificity on "
        f"healthy patients alone: {healthy:.4f}. Refused: {test['refused']:.1%} (the figures "
        "above are over all cells, refused ones too)."
    )


def _worst(patients: list[dict[str, Any]]) -> str:
    rows = [
        f"| {one['patient']} | {one['cells']} | {one['parasitized']} | {one['accuracy']:.3f} | "
        f"{_share(one['sensitivity'])} | {_share(one['false_positives'])} |"
        for one in patients
    ]
    head = "| patient | cells | parasitized | accuracy | sensitivity | false positives |\n"
    return "### Worst patients\n" + head + "|---|---|---|---|---|---|\n" + "\n".join(rows)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _answers(calibration: Calibration, test: dict[str, Any]) -> str:
    infected, clean = test["answers"]["parasitized"], test["answers"]["uninfected"]
    rows = [f"| {name} | {infected[name]:.1%} | {clean[name]:.1%} |" for name in infected]
    return (
        "## Three answers and a refusal\n"
        f"Below {calibration.low:.3f} *not seen*, from {calibration.high:.3f} on *parasite "
        "likely*, between them *indeterminate*; both set on validation patients. Test patients:"
        "\n\n| answer | parasitized cells | uninfected cells |\n|---|---|---|\n" + "\n".join(rows)
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
    head = "| fields | count | labelled cells | of them found | segmented cells |\n"
    rows = [
        f"| {name} | {one['fields']:.0f} | {one['labelled']:.0f} | {one['found']:.1%} | "
        f"{one['segmented']:.0f} |"
        for name, one in sets.items()
    ]
    return (
        "## Segmentation\nNeither set labels every cell of a field (Chula labels about a third), "
        "so the share of labelled centres that lie in a segmented cell is shown and no count "
        "error.\n\n" + head + "|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _limits(calibration: Calibration) -> str:
    floor = calibration.floor_field
    rows = []
    for cells in (100, 250, 500, 1000, 2000, 5000):
        limit = detection_limit(cells, floor, calibration.sensitivity)
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
        "fields, infected ones from test patients, 400 films a row. The share of films with each "
        "answer (refused cells are drawn too, so fewer cells are read than the first column "
        "says).\n\n" + head + "\n".join(lines)
    )
