"""What drift is measured against: the model's own validation, counted once for each release.

`reference.json` is written by `medsage models drift-reference` from the validation cells and
fields. It names the weights that gave the scores; for other weights there is no reference, and the
scores of that version are not judged.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.monitoring.limits import SIGNS
from models.monitoring.stability import Bins

SHIPPED = Path(__file__).with_name("reference.json")


class UnusableReference(ValueError):
    """The file of the reference is no such file; the text says where."""


@dataclass(frozen=True, slots=True)
class SignBins:
    """A sign's bins: the inner edges, and the reference in the bins that they make."""

    edges: tuple[float, ...]
    bins: Bins

    def place(self, value: float) -> int:
        """The number of the bin that the value falls in."""
        return sum(value >= edge for edge in self.edges)


@dataclass(frozen=True, slots=True)
class Reference:
    """`scores` are (uninfected, infected) for single cells and for fields; `signs` of fields."""

    model_sha256: str
    scores: Mapping[str, tuple[Bins, Bins]]
    signs: Mapping[str, SignBins]

    def is_of(self, system_key: str) -> bool:
        """Whether this version (AiSystem.key) runs the weights that the scores are of."""
        return f"-{self.model_sha256[:12]}" in system_key


def read_reference(path: Path = SHIPPED) -> Reference:
    """The reference of a file; UnusableReference when something in it is wrong."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return Reference(
            model_sha256=content["model_sha256"],
            scores={
                kind: (read_bins(content["scores"][kind][0]), read_bins(content["scores"][kind][1]))
                for kind in ("cell", "field")
            },
            signs={name: _sign(content["signs"][name]) for name in SIGNS},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as problem:
        raise UnusableReference(f"{path}: {type(problem).__name__} {problem}") from problem


def as_json(reference: Reference) -> dict[str, Any]:
    """What `read_reference` reads."""
    return {
        "model_sha256": reference.model_sha256,
        "scores": {k: [plain_bins(b) for b in both] for k, both in reference.scores.items()},
        "signs": {
            name: {"edges": list(sign.edges), **plain_bins(sign.bins)}
            for name, sign in reference.signs.items()
        },
    }


def plain_bins(bins: Bins) -> dict[str, Any]:
    """As they stand in a JSON file."""
    return {"counts": list(bins.counts), "units": bins.units}


def read_bins(content: dict[str, Any]) -> Bins:
    """What `plain_bins` wrote."""
    return Bins(tuple(float(count) for count in content["counts"]), int(content["units"]))


def _sign(content: dict[str, Any]) -> SignBins:
    edges = tuple(float(edge) for edge in content["edges"])
    bins = read_bins(content)
    if len(bins.counts) != len(edges) + 1:
        raise ValueError("a sign has one count more than edges")
    return SignBins(edges, bins)
