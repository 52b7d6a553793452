"""How a store is laid out, by number: what a program does with one that was laid out by another.

An older store is brought forward, in steps that are done batch by batch. How far it is lies in the
store and is written with each batch, so a program that is killed goes on where it was, and of
several at once each batch is done by one. A newer store is refused, unless it says that programs
of this one's number may still use it.
"""

from collections.abc import Callable
from dataclasses import dataclass

AT_ONCE = 500
"""How many rows or documents one batch rewrites."""


class SchemaMismatch(Exception):
    """The store was laid out by a later program; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that leads to the schema `to`: what it is, and how much of it is done."""

    to: int
    what: str
    done: int = 0
    total: int = 1

    def __str__(self) -> str:
        counted = f" ({self.done} of {self.total})" if self.total > 1 else ""
        return f"schema {self.to}: {self.what}{counted}"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The schema that was `found` (None: there is no store yet), the one that the program has, and
    the steps from the one to the other that are still to be done."""

    found: int | None
    needed: int
    steps: tuple[Step, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether the program can use the store as it is."""
        return not self.steps and self.found is not None


Show = Callable[[Step], None]
"""Is told of each step that was taken, and of each batch of a long one."""


def newer(found: int, known: int) -> SchemaMismatch:
    """The refusal of a store that a later program has laid out."""
    return SchemaMismatch(
        f"the store has schema {found}, and this version of MedSAGE knows schemas up to {known}: "
        "start the version that the store was used with last, or a later one, or restore a backup "
        "into a new place"
    )
