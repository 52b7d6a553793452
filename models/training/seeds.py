"""The same recipe with other seeds: another deal of the patients and another beginning of each
network. How far the figures lie apart is what chance alone does to them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from models.malaria.calibration import CALIBRATION

SEEDS = "seeds.json"
_INTERVAL = "auc_interval"
_KEPT = ("auc", _INTERVAL, "accuracy", "sensitivity", "specificity", "ece", "cells", "patients")

Study = Mapping[str, Any]
"""What `figures` in unseen.py makes of one seed: `pooled`, `folds`, `recipe`, `data_sha256`."""

COLUMNS: Mapping[str, Callable[[Study], float]] = {
    "AUC": lambda pooled: pooled["auc"],
    "accuracy": lambda pooled: pooled["accuracy"],
    "sensitivity": lambda pooled: pooled["sensitivity"],
    "specificity": lambda pooled: pooled["specificity"],
    "sensitivity at specificity .97": lambda pooled: pooled["sensitivity_at"]["0.97"],
    "calibration error": lambda pooled: pooled["ece"],
    "lowest sensitivity of a patient": lambda pooled: pooled["least_sensitive"][0]["sensitivity"],
}


class OtherStudy(ValueError):
    """The figures are of another recipe or other data than the weights."""


def keep(study: Study, weights: Path) -> None:
    """Add a study to seeds.json beside the weights, in place of one of the same seed; OtherStudy,
    and nothing is written, when more than its seed differs from how the weights were made, or
    when it is their own."""
    made, own = _made(weights)
    recipe = dict(study["recipe"])
    seed = recipe.pop("seed")
    if made != {"recipe": recipe, "data_sha256": study["data_sha256"]}:
        raise OtherStudy("the figures are of another recipe or other data than the weights")
    if seed == own:
        raise OtherStudy(f"{seed} is the seed of the weights, whose figures are kept already")
    others = [one for one in other_seeds(weights) if one["seed"] != seed]
    others.append({"seed": seed, **_short(study["pooled"])})
    kept = {**made, "studies": sorted(others, key=lambda one: one["seed"])}
    text = json.dumps(kept, indent=1, sort_keys=True)
    (weights / SEEDS).write_text(text + "\n", encoding="utf-8")


def other_seeds(weights: Path) -> list[dict[str, Any]]:
    """What was kept of other seeds than that of the weights, by seed; none when nothing was, or
    when the weights have been made in another way since."""
    path = weights / SEEDS
    if not path.is_file():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = kept.pop("studies")
    return found if kept == _made(weights)[0] else []


def _made(weights: Path) -> tuple[dict[str, Any], int]:
    """How the weights were made but for the seed, and the seed."""
    known = json.loads((weights / CALIBRATION).read_text(encoding="utf-8"))
    recipe = dict(known["recipe"])
    seed: int = recipe.pop("seed")
    return {"recipe": recipe, "data_sha256": known["sha256"]["data"]}, seed


def _short(pooled: Mapping[str, Any]) -> dict[str, Any]:
    """What the page tells; the least sensitive patient alone of all."""
    return {
        **{name: pooled[name] for name in _KEPT},
        "sensitivity_at": pooled["sensitivity_at"],
        "least_sensitive": pooled["least_sensitive"][:1],
    }


def seeds_table(own: Study, seed: int, others: Sequence[Study]) -> str:
    """A row for each seed as Markdown, the weights' own first, then mean and standard deviation;
    "" when there is no other seed."""
    if not others:
        return ""
    studies = {seed: own, **{one["seed"]: one for one in others}}
    rows = [_row(str(name), _figures(one)) for name, one in studies.items()]
    each = [_figures(one) for one in studies.values()]
    spread = [(mean(of), stdev(of)) for of in zip(*each, strict=True)]
    told = " | ".join(f"{middle:.4f} ± {apart:.4f}" for middle, apart in spread)
    head = f"| seed | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}\n"
    return head + "\n".join([*rows, f"| mean ± standard deviation | {told} |"])


def _figures(study: Study) -> list[float]:
    return [read(study) for read in COLUMNS.values()]


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} |"
