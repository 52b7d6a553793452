"""What a search must know of codes and of hierarchies: the port that a plan asks.

The answers are whole or refused: `CodesUnknown` says what is not known here, and a search never
takes that for "none".
"""

from typing import Protocol

Place = tuple[str, str]
"""System and code."""


class CodesUnknown(ValueError):
    """A value set, a code system, a code or a hierarchy cannot be answered for; the text says
    why."""


class CodeResolver(Protocol):
    """Who answers for codes. Methods raise CodesUnknown, and whatever else tells the caller of
    the plan that something has to be loaded first."""

    def members(self, value_set: str) -> frozenset[Place]:
        """The codes of a value set: by canonical, or `ValueSet/id`."""

    def below(self, system: str, code: str) -> frozenset[str]:
        """The code and every code of its system that it subsumes."""

    def above(self, system: str, code: str) -> frozenset[str]:
        """The code and every code of its system that subsumes it."""

    def parts(self, type_: str, id_: str) -> frozenset[str]:
        """The ids of the resource and of all that are part of it, step by step."""

    def wholes(self, type_: str, id_: str) -> frozenset[str]:
        """The ids of the resource and of all that it is part of, step by step."""


class NoCodes:
    """Where nothing can be looked up: criteria that must mean the same at any time."""

    def members(self, value_set: str) -> frozenset[Place]:
        raise CodesUnknown(f"value sets cannot be looked up here ({value_set})")

    def below(self, system: str, code: str) -> frozenset[str]:
        raise CodesUnknown(f"code systems cannot be looked up here ({system}|{code})")

    def above(self, system: str, code: str) -> frozenset[str]:
        raise CodesUnknown(f"code systems cannot be looked up here ({system}|{code})")

    def parts(self, type_: str, id_: str) -> frozenset[str]:
        raise CodesUnknown(f"other resources cannot be looked up here ({type_}/{id_})")

    def wholes(self, type_: str, id_: str) -> frozenset[str]:
        raise CodesUnknown(f"other resources cannot be looked up here ({type_}/{id_})")
