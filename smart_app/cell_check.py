"""A look at an upload before it is sent: would it be read, and how many cells does it hold?

The app knows no model. Whoever composes it may hand in a check that does; the analysis repeats it
and decides.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Looked:
    """What was found in one image: its whole cells, or why it would be refused and what to do
    (empty when it would be read)."""

    cells: int
    refusal: str


@dataclass(frozen=True)
class CellCheck:
    """`look` is given the bytes and the content type, and never blocks the event loop; `needed`
    is how many cells an answer about a smear needs."""

    look: Callable[[bytes, str], Awaitable[Looked]]
    needed: int
