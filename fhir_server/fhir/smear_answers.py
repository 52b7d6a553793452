"""The answers about smear images, and how every other vocabulary says them; one table.

The governing list: parasites suspected, none found in N cells, indeterminate, insufficient,
refused. There is no "negative". Each answer has a code (CodeSystem finding) and one of the five
states in which a page shows a result; a page never makes a state of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SMEAR = "malaria-smear-ai"
ONE_CELL = "malaria-cell-ai"
"""What an image result is about: a smear, or one cell (Observation.code)."""


class Shown(StrEnum):
    """The state in which a result is shown, in words and shape."""

    SUSPECTED = "suspected"
    NONE = "none"
    UNCERTAIN = "uncertain"
    NO_OPINION = "no-opinion"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Answer:
    """One answer: the words of the governing list and the state in which it is shown.

    `words` may hold `{cells}`: the red cells read.
    """

    words: str
    shown: Shown

    @property
    def is_abstention(self) -> bool:
        """The model says nothing about parasites: no score, no heat map may go with it."""
        return self.shown in (Shown.UNCERTAIN, Shown.NO_OPINION, Shown.SUPERSEDED)


ANSWERS: Mapping[str, Answer] = {
    "parasites-suspected": Answer("Parasites suspected", Shown.SUSPECTED),
    "none-found": Answer("None found in {cells} cells", Shown.NONE),
    "indeterminate": Answer("Indeterminate", Shown.UNCERTAIN),
    "insufficient": Answer("Insufficient: too few cells", Shown.UNCERTAIN),
    "refused": Answer("No AI opinion: every image was refused", Shown.NO_OPINION),
    # About the picture of one cell, which is no smear.
    "parasite-likely": Answer("Parasites suspected in this cell image", Shown.SUSPECTED),
    "not-seen": Answer("None found in this cell image", Shown.NONE),
}
WITHDRAWN: Mapping[str, Shown] = {
    "entered-in-error": Shown.SUPERSEDED,
    "cancelled": Shown.NO_OPINION,
}
"""Observation.status that outweighs the answer: the result was withdrawn, or never was one."""


def shown_as(code: str, status: str) -> Shown | None:
    """The state of an image result with this answer and Observation.status; None for an answer
    that this release does not know, which is then shown as it came."""
    if status in WITHDRAWN:
        return WITHDRAWN[status]
    answer = ANSWERS.get(code)
    return None if answer is None else answer.shown
