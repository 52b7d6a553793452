"""The models that this release can run, listed one by one and loaded only when asked for.

Another condition is one folder and one line here (docs/architecture.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.port import Model
from models.spoken import Spoken, SpokenBy


class UnknownModel(KeyError):
    """No model of that name is registered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered model: what it looks for, its card, cheap to read, and how to load it
    (blocking). `card` and `load` take the folder of a version, the shipped `weights` by default;
    they raise RuntimeError when its files do not belong together. `kinds` are AIdeviceTypeCS
    codes. `says` makes of a prediction what a report says; None: the report knows its shape. One
    that `is_demonstration` runs where the setting allows it, and never among clinical inputs.
    """

    condition: str
    weights: Path
    card: Callable[..., ModelCard]
    load: Callable[..., Model[Any, Any]]
    kinds: tuple[str, ...]
    says: Callable[[Any, SpokenBy], Spoken] | None = None
    is_demonstration: bool = False


def _malaria_card(folder: Path | None = None) -> ModelCard:
    from models.malaria.calibration import WEIGHTS, malaria_card

    return malaria_card(folder or WEIGHTS)


def _malaria_model(folder: Path | None = None) -> Model[Any, Any]:
    from models.malaria.predict import MalariaModel

    return MalariaModel.load(folder)


MALARIA = "malaria-cell"
MODELS: Mapping[str, Entry] = {
    MALARIA: Entry(
        condition="malaria",
        weights=Path(__file__).parent / "malaria" / "weights",
        card=_malaria_card,
        load=_malaria_model,
        kinds=("Deep-Learning-Models", "Deterministic-AI", "Medical-Image-Analysis"),
    ),
}


def entry(name: str) -> Entry:
    """The entry of that name; raises UnknownModel naming what there is."""
    if name not in MODELS:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(MODELS))}")
    return MODELS[name]
