"""The typed answer asked of a language model; anything else is no answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = "2"
MOST_CHARACTERS = 20_000  # of an answer as text; a full one has a third of that


class GroundedSentence(BaseModel):
    """One sentence and the numbers of the chart facts that it rests on ("F1", "F2" …)."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=400)
    facts: list[str] = Field(min_length=1, max_length=20)


class Differential(BaseModel):
    """A condition to think of, and the facts for and against it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    facts_for: list[str] = Field(max_length=20)
    facts_against: list[str] = Field(max_length=20)


class ModelAnswer(BaseModel):
    """The whole answer."""

    model_config = ConfigDict(extra="forbid")

    urgency: Literal["emergency", "urgent", "routine"]
    language: Literal["en"]
    summary: list[GroundedSentence] = Field(max_length=6)
    next_steps: list[GroundedSentence] = Field(max_length=6)
    differential: list[Differential] = Field(max_length=6)
