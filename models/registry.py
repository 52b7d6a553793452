"""The models that this release can run, listed one by one and loaded only when asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.card import ModelCard
from models.port import Model


class UnknownModel(KeyError):
    """No model of that name is registered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered model: its card, cheap to read, and how to load it (blocking)."""

    card: Callable[[], ModelCard]
    load: Callable[[], Model[Any, Any]]


def _malaria_card() -> ModelCard:
    from models.malaria.calibration import malaria_card

    return malaria_card()


def _malaria_model() -> Model[Any, Any]:
    from models.malaria.predict import MalariaModel

    return MalariaModel.load()


MODELS: Mapping[str, Entry] = {
    "malaria-cell": Entry(card=_malaria_card, load=_malaria_model),
}


def entry(name: str) -> Entry:
    """The entry of that name; raises UnknownModel naming what there is."""
    if name not in MODELS:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(MODELS))}")
    return MODELS[name]
