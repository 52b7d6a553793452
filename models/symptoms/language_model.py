"""Symptom analysis by a language model, whoever provides it (ADR 0023).

Redacted facts out, a typed answer back, only grounded sentences kept. Around the call stand a
cache, a circuit breaker and a time limit; every way in which it can fail ends as NoAnswer.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from models.symptoms.answer_cache import AnswerCache
from models.symptoms.circuit import CircuitBreaker
from models.symptoms.facts import SymptomFacts
from models.symptoms.grounding import Fate, evidence, judge, supports
from models.symptoms.port import (
    Analysis,
    Evidence,
    ModelUse,
    NoAnswer,
    Possibility,
    Statement,
    Urgency,
)
from models.symptoms.prompt import PROMPT_SHA256, PROMPT_VERSION, chart_facts, prompt
from models.symptoms.redact import has_command
from models.symptoms.schema import MOST_CHARACTERS, SCHEMA_VERSION, ModelAnswer
from models.symptoms.usage import Outcome, Usage


@dataclass(frozen=True)
class Reply:
    """What a provider sent back, and the tokens that it counted (0 when it did not)."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0


class ProviderFailure(Exception):
    """The provider gave no reply; the text names the kind of failure and repeats nothing sent.
    `is_throttled`: it asked to be left alone (429)."""

    def __init__(self, kind: str, *, is_throttled: bool = False) -> None:
        super().__init__(kind)
        self.is_throttled = is_throttled


class LanguageModel(Protocol):
    """One model of one provider."""

    @property
    def name(self) -> str:
        """The model's name as the provider calls it."""
        ...

    async def ask(self, question: str) -> Reply:
        """One reply to the instructions of this prompt version and `question`. Raises
        ProviderFailure."""
        ...


@dataclass(frozen=True)
class Guards:
    """What stands around the calls of one model in one process."""

    circuit: CircuitBreaker
    cache: AnswerCache
    usage: Usage
    clock: Callable[[], float]
    timeout_seconds: float = 8.0


class LanguageAnalyst:
    """The analyst that asks a language model."""

    def __init__(self, model: LanguageModel, guards: Guards) -> None:
        self._model = model
        self._guards = guards
        guards.usage.watch(model.name, guards.circuit)

    @property
    def origin(self) -> str:
        version = f"prompt {PROMPT_VERSION} {PROMPT_SHA256[:12]}, schema {SCHEMA_VERSION}"
        return f"{self._model.name} ({version})"

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """The model's part, from the cache or within the time limit. Raises NoAnswer."""
        numbered = chart_facts(facts)
        question = prompt(numbered)
        key = self._hash(question)
        kept = self._guards.cache.get(key)
        text = await self._asked(question) if kept is None else kept
        analysis = self._read(text, numbered, key, is_cached=kept is not None)
        if kept is None:
            self._guards.cache.put(key, text)
        self._ended(Outcome.ANSWERED if kept is None else Outcome.CACHED)
        if has_command(facts.text):
            note = "The text holds words that are no note about a patient; they were not sent."
            return _with_note(analysis, note)
        return analysis

    def _hash(self, question: str) -> str:
        whole = "\n".join((self._model.name, PROMPT_SHA256, question))
        return hashlib.sha256(whole.encode()).hexdigest()

    async def _asked(self, question: str) -> str:
        """The text of a reply; the circuit learns how the call ended, however it ended."""
        circuit, started = self._guards.circuit, self._guards.clock()
        if not circuit.admits():
            self._ended(Outcome.CIRCUIT_OPEN)
            raise NoAnswer("the provider failed before and is left alone for a while")
        try:
            async with asyncio.timeout(self._guards.timeout_seconds):
                reply = await self._model.ask(question)
        except TimeoutError as late:
            circuit.failed()
            self._ended(Outcome.LATE)
            raise NoAnswer("the provider did not answer in time") from late
        except ProviderFailure as failure:
            circuit.failed(is_final=failure.is_throttled)
            self._ended(Outcome.THROTTLED if failure.is_throttled else Outcome.FAILED)
            raise NoAnswer(f"the provider failed ({failure})") from failure
        except BaseException:
            circuit.gave_up()
            raise
        finally:
            self._guards.usage.took(self._model.name, self._guards.clock() - started)
        circuit.succeeded()
        self._guards.usage.spent(self._model.name, reply.input_tokens, reply.output_tokens)
        return reply.text

    def _read(
        self, text: str, numbered: Mapping[str, str], key: str, *, is_cached: bool
    ) -> Analysis:
        """The reply as an analysis: of the agreed shape, and only what rests on the chart."""
        try:
            if len(text) > MOST_CHARACTERS:
                raise ValueError(f"more than {MOST_CHARACTERS} characters")
            answer = ModelAnswer.model_validate_json(text)
        except ValueError as wrong:  # pydantic's ValidationError is one
            self._ended(Outcome.MALFORMED)
            raise NoAnswer("the provider's answer was not of the agreed shape") from wrong
        judged = judge(answer.summary, answer.next_steps, numbered)
        if not is_cached:
            self._guards.usage.judged(self._model.name, [each.fate for each in judged])
        kept = [each for each in judged if each.fate is Fate.KEPT]
        if not kept:
            self._ended(Outcome.UNGROUNDED)
            raise NoAnswer("nothing in the provider's answer rests on the chart")
        dropped = len(judged) - len(kept)
        return Analysis(
            origin=self.origin,
            urgency=Urgency[answer.urgency.upper()],
            statements=tuple(Statement(each.text, each.facts) for each in kept),
            possibilities=self._possibilities(answer, numbered),
            notes=(_dropped(dropped),) if dropped else (),
            model_use=ModelUse(
                self._model.name,
                PROMPT_VERSION,
                PROMPT_SHA256,
                SCHEMA_VERSION,
                key,
                is_cached,
            ),
        )

    def _possibilities(
        self, answer: ModelAnswer, numbered: Mapping[str, str]
    ) -> tuple[Possibility, ...]:
        named: dict[str, Possibility] = {}
        for item in answer.differential:
            if supports(item, numbered):
                favour, against = (
                    tuple(Evidence(line) for line in evidence(facts, numbered))
                    for facts in (item.facts_for, item.facts_against)
                )
                possibility = Possibility(item.name, favour, against, self.origin)
                named.setdefault(item.name.casefold(), possibility)
        return tuple(named.values())

    def _ended(self, outcome: Outcome) -> None:
        self._guards.usage.ended(self._model.name, outcome)


def _dropped(count: int) -> str:
    return f"{count} sentence{'s' if count > 1 else ''} of the language model left out."


def _with_note(analysis: Analysis, note: str) -> Analysis:
    return replace(analysis, notes=(*analysis.notes, note))
