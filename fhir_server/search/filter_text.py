"""How a `_filter` is written (R4 Search, "_filter Parameter", the grammar): text → tree.

`and` and `or` are taken from left to right, "with no precedence between" them. Every refusal
names the column, counted from 1.
"""

import json
import re
from dataclasses import dataclass

from fhir_server.fhir.outcome import FhirError, bad_parameter, too_costly

MOST_CHARACTERS = 8000
MOST_TESTS = 100
MOST_NESTED = 10
"""Parentheses, brackets and `not` inside each other."""
MOST_STEPS = 6

OPERATORS = (
    "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb",
    "in", "ni", "re",
)  # fmt: skip

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*", re.ASCII)
_WORD = re.compile(r"[^\s()\[\]]+")
_TOKEN = re.compile(r"[^\s)\]]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
"""What no FHIR string may have."""


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path; `inside` is the filter that its targets must pass."""

    column: int
    name: str
    inside: "Filter | None" = None


@dataclass(frozen=True, slots=True)
class Test:
    """`path operator value`; the last step of the path is what is compared."""

    path: tuple[Step, ...]
    operator: str
    value: str

    @property
    def column(self) -> int:
        """Where the test begins."""
        return self.path[0].column


@dataclass(frozen=True, slots=True)
class Joined:
    """Filters of which all (`and`) or one (`or`) must pass."""

    word: str
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """A filter that must not pass."""

    part: "Filter"


Filter = Test | Joined | Negated


def parse_filter(text: str) -> Filter:
    """The tree of a filter; FhirError 400 naming the column that is at fault."""
    if len(text) > MOST_CHARACTERS:
        raise too_costly(f"_filter: longer than {MOST_CHARACTERS} characters")
    reader = _Reader(text)
    found = reader.joined(0)
    if not reader.is_at_end:
        raise reader.refuse("expected 'and', 'or' or the end")
    return found


def at(column: int, text: str) -> FhirError:
    """A 400 that names the column of a filter."""
    return bad_parameter(f"_filter, column {column}: {text}")


class _Reader:
    """A recursive-descent reader of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._tests = 0
        self._skip()

    @property
    def is_at_end(self) -> bool:
        return self._place >= len(self._text)

    def refuse(self, text: str) -> FhirError:
        """The refusal of what comes next."""
        word = _WORD.match(self._text, self._place)
        found = word[0] if word else self._text[self._place : self._place + 1]
        there = f"found {found[:40]!r}" if found else "the filter ends"
        return at(self._place + 1, f"{text}, {there}")

    def joined(self, depth: int) -> Filter:
        """`filter (("and" / "or") filter)*`."""
        if depth > MOST_NESTED:
            raise too_costly(f"_filter: more than {MOST_NESTED} filters inside each other")
        found = self._one(depth)
        while (word := self._join_word()) is not None:
            other = self._one(depth)
            if isinstance(found, Joined) and found.word == word:
                found = Joined(word, (*found.parts, other))
            else:
                found = Joined(word, (found, other))
        return found

    def _one(self, depth: int) -> Filter:
        if self._takes("("):
            return self._inner(depth, ")")
        name = _NAME.match(self._text, self._place)
        if name is not None and name[0] == "not" and self._follows_parenthesis(name.end()):
            self._go_to(name.end())
            self._takes("(")
            return Negated(self._inner(depth, ")"))
        return self._test(depth)

    def _inner(self, depth: int, closing: str) -> Filter:
        found = self.joined(depth + 1)
        if not self._takes(closing):
            raise self.refuse(f"expected 'and', 'or' or {closing!r}")
        return found

    def _test(self, depth: int) -> Test:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise too_costly(f"_filter: more than {MOST_TESTS} tests")
        path = self._path(depth)
        if not self._text[self._place - 1].isspace():
            raise self.refuse(f"expected white space after {path[-1].name!r}")
        word = _WORD.match(self._text, self._place)
        if word is None or word[0] not in OPERATORS:
            raise self.refuse(f"expected an operator ({' '.join(OPERATORS)})")
        self._go_to(word.end())
        if not self._text[self._place - 1].isspace():
            raise self.refuse(f"expected a value after {word[0]!r}")
        return Test(path, word[0], self._value())

    def _path(self, depth: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            column = self._place + 1
            name = _NAME.match(self._text, self._place)
            if name is None or (steps and self._text[self._place - 1].isspace()):
                raise self.refuse("expected the name of a search parameter")
            self._go_to(name.end())
            step = Step(column, name[0])
            must_go_on = self._place == name.end() and self._takes("[")
            if must_go_on:
                step = Step(column, name[0], self._inner(depth, "]"))
            steps.append(step)
            if len(steps) > MOST_STEPS:
                raise too_costly(f"_filter: more than {MOST_STEPS - 1} links in one path")
            is_dot = not self._text[self._place - 1].isspace() and self._takes(".")
            if must_go_on and not is_dot:
                raise self.refuse("expected '.' and a name after a filter in brackets")
            if not is_dot:
                return tuple(steps)

    def _value(self) -> str:
        if self._text.startswith('"', self._place):
            return self._string()
        token = _TOKEN.match(self._text, self._place)
        if token is None:
            raise self.refuse("expected a value")
        self._go_to(token.end())
        return token[0]

    def _string(self) -> str:
        found = _STRING.match(self._text, self._place)
        if found is None:
            raise self.refuse("the string is left open")
        try:
            value = json.loads(found[0], strict=False)
        except ValueError as problem:
            column = self._place + 1 + getattr(problem, "pos", 0)
            raise at(column, "a backslash that escapes nothing in a JSON string") from None
        if _CONTROLS.search(value):
            raise self.refuse("the string has a character that no FHIR string has")
        if not value:
            raise self.refuse("the value is empty")
        self._go_to(found.end())
        after = self._text[found.end() : found.end() + 1]
        if after and not after.isspace() and after not in ")]":
            raise self.refuse("expected white space after a string")
        return str(value)

    def _join_word(self) -> str | None:
        word = _NAME.match(self._text, self._place)
        if word is None or word[0] not in ("and", "or"):
            return None
        self._go_to(word.end())
        return word[0]

    def _follows_parenthesis(self, place: int) -> bool:
        return self._text[place:].lstrip().startswith("(")

    def _takes(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._place):
            return False
        self._go_to(self._place + 1)
        return True

    def _go_to(self, place: int) -> None:
        self._place = place
        self._skip()

    def _skip(self) -> None:
        while self._place < len(self._text) and self._text[self._place].isspace():
            self._place += 1
