"""What one AI system says, made ready for a report: the shape that further models answer in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.outcome import Issue
from models.ai_systems import AiSystem

Resource = dict[str, Any]


@dataclass(frozen=True)
class SpokenBy:
    """Which system speaks, and the references of what it read."""

    system: AiSystem
    sources: Sequence[str]


@dataclass(frozen=True)
class Spoken:
    """One system's part of a report.

    `observation` makes the AI's Observation of what it is about (subject, encounter, time) and
    the reference of the Device; `heading` begins its paragraph, `lines` are its sentences;
    `report` is the report's code when nothing else is in it; `refusals` say which inputs were
    not read, and when none was, `is_refused`.
    """

    by: SpokenBy
    observation: Callable[[Resource, str], Resource]
    heading: str
    lines: Sequence[str]
    code: Resource
    report: Resource
    refusals: Sequence[Issue] = ()
    is_refused: bool = False
