"""What was found when somebody looked whether a part works, for `medsage check` and the operator's
page; no text of a finding is about a patient."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its `state`, what was `found`, and what is `to_do` about it
    (nothing when all is well)."""

    what: str
    state: State
    found: str
    to_do: str = ""


@dataclass(frozen=True)
class Section:
    """Findings under one heading."""

    title: str
    findings: tuple[Finding, ...]


Status = Callable[[], Awaitable[Sequence[Section]]]
"""How everything is at this moment."""


async def nothing_known() -> Sequence[Section]:
    """The status of a server that nobody watches."""
    return ()


def worst(findings: Sequence[Finding]) -> State:
    """The state of the whole; what is not known is no failure."""
    states = {finding.state for finding in findings}
    order: tuple[State, ...] = ("failed", "warning", "unknown")
    return next((state for state in order if state in states), "ok")
