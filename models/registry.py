"""The models that this release can run, listed one by one and loaded only when asked for.

Another condition is one folder and one line here (docs/architecture.md).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.entry import Entry
from models.pneumonia.entry import PNEUMONIA
from models.port import Model


class UnknownModel(KeyError):
    """No model of that name is registered."""


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
        kinds=(
            "Deep-Learning-Models",
            "Deterministic-AI",
            "Medical-Image-Analysis",
            "AI-for-Medical-Imaging-Data",
        ),
    ),
    "pneumonia-cxr": PNEUMONIA,
}


def entry(name: str) -> Entry:
    """The entry of that name; raises UnknownModel naming what there is."""
    if name not in MODELS:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(MODELS))}")
    return MODELS[name]
