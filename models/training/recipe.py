"""How the malaria network learns; TensorFlow isn't needed to speak of it."""

from dataclasses import dataclass, replace
from pathlib import Path

from models.malaria.calibration import WEIGHTS

VERSION_MADE = "1.2.0"
"""Of the weights that are made next; other weights are another version."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a run depends on besides its data."""

    seed: int = 20240611
    epochs: int = 32
    cells_per_batch: int = 96
    foreign_per_batch: int = 6
    """Red cells of another hospital, not parasitized."""
    outliers_per_batch: int = 18
    peak_rate: float = 2e-3
    decay: float = 0.01
    smoothing: float = 0.02
    reject_weight: float = 0.3


@dataclass(frozen=True, slots=True)
class Trial:
    """How a recipe that is judged differs from the one of the weights; None where it doesn't."""

    epochs: int | None = None
    seed: int | None = None

    def recipe(self) -> Recipe:
        """The recipe that is judged."""
        made = Recipe()
        return replace(
            made,
            epochs=made.epochs if self.epochs is None else self.epochs,
            seed=made.seed if self.seed is None else self.seed,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run writes to, and how it differs from a release. Networks that are done are kept in
    `work`, and taken from there when a run is repeated."""

    weights: Path = WEIGHTS
    work: Path | None = None
    epochs: int | None = None
