"""A language model with scripted replies, its guards on a clock that the test moves, and the
recorded answers of tests/samples/vignettes/answers.json.

Those answers were composed by hand: no key of a provider was at hand. They show what the checks
do with good and bad answers, not how often a model gives which.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry

from models.symptoms.answer_cache import MemoryCache
from models.symptoms.circuit import CircuitBreaker
from models.symptoms.language_model import Guards, LanguageAnalyst, Reply
from models.symptoms.usage import Prices, Usage
from tests.vignettes import FOLDER

NAME = "scripted-1"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedModel:
    """Replies in turn, the last one for ever; an exception is raised. `delay_seconds` is real."""

    replies: Sequence[str | BaseException]
    delay_seconds: float = 0.0
    asked: list[str] = field(default_factory=list)
    name: str = NAME

    async def ask(self, question: str) -> Reply:
        self.asked.append(question)
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        if isinstance(reply, BaseException):
            raise reply
        return Reply(reply, 1000, 200)


@dataclass
class Bench:
    """An analyst with its model, clock and metrics."""

    model: ScriptedModel
    clock: Clock = field(default_factory=Clock)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    timeout_seconds: float = 8.0
    most_kept: int = 256

    def __post_init__(self) -> None:
        self.circuit = CircuitBreaker(self.clock)
        self.cache = MemoryCache(self.clock, most=self.most_kept)
        usage = Usage(self.registry, Prices(0.3, 2.5))
        guards = Guards(self.circuit, self.cache, usage, self.clock, self.timeout_seconds)
        self.analyst = LanguageAnalyst(self.model, guards)

    def metric(self, name: str, **labels: str) -> float:
        """A counter's value; 0 when it was never counted."""
        labels = {"model": NAME, **labels}
        return self.registry.get_sample_value(f"medsage_language_model_{name}", labels) or 0

    def outcomes(self) -> dict[str, float]:
        """How many questions ended how; what never happened is left out."""
        return {
            sample.labels["outcome"]: sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "medsage_language_model_questions_total" and sample.value
        }


@dataclass(frozen=True)
class Recorded:
    """One answer: for which vignette, the reply, and what must become of it."""

    id: str
    vignette: str
    about: str
    reply: Any
    expect: Mapping[str, Any]

    def text(self, numbered: Mapping[str, str]) -> str:
        """The reply as it would have come: a fact named by its subject (`@Fever`) gets the number
        that it has among the facts sent. ValueError when there is no such fact."""
        whole = self.reply if isinstance(self.reply, str) else json.dumps(self.reply)
        for subject in sorted(_subjects(self.reply), key=len, reverse=True):
            number = next((n for n, line in numbered.items() if line.startswith(subject[1:])), "")
            if not number:
                raise ValueError(f"{self.id}: no fact {subject}")
            whole = whole.replace(json.dumps(subject), json.dumps(number))
        return whole


@cache
def recorded() -> tuple[Recorded, ...]:
    """All recorded answers."""
    found = json.loads((FOLDER / "answers.json").read_text("utf-8"))
    return tuple(Recorded(**each) for each in found)


def _subjects(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value} if value.startswith("@") else set()
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(_subjects, value)) if isinstance(value, list) else set()
