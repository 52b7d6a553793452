"""The port of symptom analysis: facts in, an analysis out, whoever makes it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from models.symptoms.facts import SymptomFacts


class Urgency(IntEnum):
    """How soon the patient must be seen; the order is that of danger."""

    ROUTINE = 0
    URGENT = 1
    EMERGENCY = 2

    @property
    def code(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Source:
    """A published guideline that a rule rests on."""

    name: str
    section: str

    def __str__(self) -> str:
        return f"{self.name}, {self.section}"


@dataclass(frozen=True)
class Finding:
    """One thing that a rule saw: what, how urgent, by which rule, from which facts."""

    code: str
    text: str
    urgency: Urgency
    rule: str
    source: Source
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """One line for or against a condition: a chart fact, or what the named rule found."""

    text: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.text} (rule {self.rule})" if self.rule else self.text


@dataclass(frozen=True)
class Possibility:
    """A condition to think of, with the lines that speak for and against it; no probability and
    no rank. `rule` and `source` say why it is named; a language model has neither."""

    name: str
    evidence_for: tuple[Evidence, ...]
    evidence_against: tuple[Evidence, ...]
    origin: str
    rule: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Statement:
    """A sentence by a language model, with the chart facts that it rests on."""

    text: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class ModelUse:
    """Which language model was asked what: its name, the version and SHA-256 of prompt and
    schema together, and the SHA-256 of the input. `is_cached`: the same question was answered
    before, and that answer was taken."""

    model: str
    prompt_version: str
    prompt_sha256: str
    schema_version: str
    input_sha256: str
    is_cached: bool = False


@dataclass(frozen=True)
class Analysis:
    """The answer of an analyst. `origin` names the rule set or the model and its version;
    `notes` say what could not be judged and why; `model_use` is there when a language model
    contributed."""

    origin: str
    urgency: Urgency
    findings: tuple[Finding, ...] = ()
    recommendations: tuple[str, ...] = ()
    possibilities: tuple[Possibility, ...] = ()
    statements: tuple[Statement, ...] = ()
    notes: tuple[str, ...] = field(default=())
    model_use: ModelUse | None = None


class NoAnswer(Exception):
    """The analyst has no result: the provider failed, or its answer was not acceptable."""


class SymptomAnalyst(Protocol):
    """Analyses one set of facts. Raises NoAnswer when it has no result, never a guess."""

    @property
    def origin(self) -> str:
        """Name and version, as written in reports."""
        ...

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """What the facts may mean and how urgent they are."""
        ...
