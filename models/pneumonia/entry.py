"""The line of this model in the table of models; nothing heavy is imported before it is asked."""

from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.entry import Entry
from models.port import Model
from models.spoken import Spoken, SpokenBy


def _card(folder: Path | None = None) -> ModelCard:
    from models.pneumonia.manifest import pneumonia_card

    return pneumonia_card(folder)


def _load(folder: Path | None = None) -> Model[Any, Any]:
    from models.pneumonia.predict import PneumoniaModel

    return PneumoniaModel(folder)


def _says(prediction: Any, by: SpokenBy) -> Spoken:
    from models.pneumonia.says import says

    return says(prediction, by)


PNEUMONIA = Entry(
    condition="pneumonia",
    weights=Path(__file__).parent / "weights",
    card=_card,
    load=_load,
    kinds=("Deep-Learning-Models", "Medical-Image-Analysis"),
    says=_says,
    is_demonstration=True,
)
