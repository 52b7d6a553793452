"""What the regulatory pages are made of: the tables that lie here, and the cards of the models."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import ModelCard

_HERE = Path(__file__).parent
UNANSWERED = "Not answered."


@dataclass(frozen=True)
class Requirement:
    """What the software must do, the files that do it, and the tests that show it."""

    id: str
    text: str
    code: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Risk:
    """One hazard, from its cause to what is left of it. Severity and both probabilities are 1 to
    5, estimated; `requirements` are the ids of its controls."""

    id: str
    hazard: str
    cause: str
    harm: str
    severity: int
    before: int
    after: int
    controls: tuple[str, ...]
    requirements: tuple[str, ...]
    residual: str


@dataclass(frozen=True)
class Principle:
    """One principle of good machine learning practice, and what is there for it."""

    number: int
    text: str
    how: str
    files: tuple[str, ...]
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Attribute:
    """One source attribute: what is asked, and the answer of each model by its id."""

    id: str
    group: str
    asked: str
    answers: Mapping[str, str]


def requirements() -> tuple[Requirement, ...]:
    """All of them, in order. A row with a key too many or too few raises TypeError."""
    return tuple(Requirement(**row) for row in _rows("requirements", "requirement"))


def risks() -> tuple[Risk, ...]:
    """All of them, in order."""
    return tuple(Risk(**row) for row in _rows("risks", "risk"))


def principles() -> tuple[Principle, ...]:
    """All of them, in order."""
    return tuple(Principle(**row) for row in _rows("principles", "principle"))


def attributes(cards: Sequence[ModelCard]) -> tuple[Attribute, ...]:
    """All of them, answered for each card; of a model that says nothing to one, that is told."""
    found = []
    for row in _rows("attributes", "attribute"):
        answers = {card.id: row.get(card.id, UNANSWERED).format_map(_words(card)) for card in cards}
        found.append(Attribute(row["id"], row["group"], row["asked"], answers))
    return tuple(found)


def _words(card: ModelCard) -> Mapping[str, str]:
    """The facts of a card, each as one line."""
    facts = card.as_json()
    return {
        "contact": card.contact,
        "summary": _line(card.summary),
        "intended_use": _line(card.intended_use),
        "users": _line(card.users),
        "not_for": "; ".join(card.not_for) + ".",
        "limits": " ".join(line if line.endswith(".") else f"{line}." for line in card.limits),
        "training_data": _line(card.training_data),
        "metrics": _metrics(facts["metrics"]),
    }


def _metrics(values: Any) -> str:
    return "; ".join(f"{name} {value:.4g}" for name, value in values.items()) + "."


def _line(text: str) -> str:
    return " ".join(text.split())


def _rows(file: str, table: str) -> list[dict[str, Any]]:
    text = (_HERE / f"{file}.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)[table]
    return [
        {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        for row in rows
    ]
