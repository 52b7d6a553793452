"""What the model is to reach on patients and hospitals that it never saw, and what it reaches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.training.refusals import EASY, HARD

Measured = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim: `reads` takes its figure from metrics.json, `meets` judges it."""

    told: str
    reads: Callable[[Measured], float]
    meets: Callable[[float], bool]


def row(measured: Measured, start: str) -> Mapping[str, float]:
    """The row of the refusal table whose picture begins so; KeyError when there is none."""
    for one in measured["refusals"]:
        if one["picture"].startswith(start):
            found: Mapping[str, float] = one
            return found
    raise KeyError(start)


def _least_refused(kind: str, without: str) -> Callable[[Measured], float]:
    def least(measured: Measured) -> float:
        rows = [one for one in measured["refusals"] if one["kind"] == kind]
        return min(float(one["refused"]) for one in rows if without not in one["picture"])

    return least


def _clean_films(measured: Measured) -> float:
    """The share of composed films of 1000 cells without parasites that end *none found*."""
    clean = [one for one in measured["composed"] if one["infected"] == 0.0]
    return next(float(one["none-found"]) for one in clean if one["cells"] == 1000)


AIMS = (
    Aim("AUC at least .992", lambda m: m["out_of_fold"]["auc"], lambda v: v >= 0.992),
    Aim(
        "sensitivity at least .955 where specificity is .97",
        lambda m: m["out_of_fold"]["sensitivity_at"]["0.97"],
        lambda v: v >= 0.955,
    ),
    Aim("calibration error at most .01", lambda m: m["out_of_fold"]["ece"], lambda v: v <= 0.01),
    Aim(
        "lowest sensitivity of a patient with ten parasitized cells or more, at least .70",
        lambda m: m["out_of_fold"]["least_sensitive"][0]["sensitivity"],
        lambda v: v >= 0.70,
    ),
    Aim(
        "red cells of another hospital (Chula) called parasite likely, at most .03",
        lambda m: row(m, "Chula red cells")["parasite_likely"],
        lambda v: v <= 0.03,
    ),
    Aim(
        "pictures of no cell refused, at least .99, in the worst row",
        lambda m: min(_least_refused(kind, "white cells")(m) for kind in (EASY, HARD)),
        lambda v: v >= 0.99,
    ),
    Aim(
        "NIH cells refused, on which the limits were set, at most .03",
        lambda m: m["out_of_fold"]["refused"],
        lambda v: v <= 0.03,
    ),
    Aim(
        "white cells and platelets (BCCD) under an ellipse refused, at least .95",
        lambda m: row(m, "BCCD white cells and platelets, ellipse")["refused"],
        lambda v: v >= 0.95,
    ),
    Aim(
        "the same by their own masks, as fields are cut, at least .95",
        lambda m: row(m, "BCCD white cells and platelets, own mask")["refused"],
        lambda v: v >= 0.95,
    ),
    Aim("*none found* for clean films of 1000 cells, some", _clean_films, lambda v: v > 0.0),
)


def aims_table(measured: Measured) -> str:
    """The aims as a Markdown table."""
    lines = []
    for aim in AIMS:
        value = aim.reads(measured)
        lines.append(f"| {aim.told} | {value:.4f} | {'met' if aim.meets(value) else 'not met'} |")
    return "| aim | measured | |\n|---|---|---|\n" + "\n".join(lines)
