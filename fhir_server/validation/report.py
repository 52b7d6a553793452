"""The issues found while walking a resource, and the words they are told in."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from fhir_server.fhir.outcome import Issue

MAX_ISSUES = 100
# Looking for near matches is slow, and nobody reads more than a few.
MAX_HINTS = 10
MAX_SLIP = 40


class ReportFull(Exception):
    """MAX_ISSUES have been found; looking on serves nobody."""


class Report:
    """Collects issues in the order they are found."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []
        self._errors = 0
        self._hints = 0

    @property
    def errors(self) -> int:
        return self._errors

    def error(self, code: str, place: str, text: str) -> None:
        """An error at the FHIRPath `place` (empty when there is none yet)."""
        expression = (place,) if place else ()
        self.put(Issue("error", code, f"{place}: {text}" if place else text, expression))

    def warning(self, code: str, place: str, text: str) -> None:
        self.put(Issue("warning", code, f"{place}: {text}", (place,)))

    def put(self, issue: Issue) -> None:
        """Adds the issue; raises ReportFull when there are too many."""
        if len(self._issues) >= MAX_ISSUES:
            raise ReportFull
        self._issues.append(issue)
        self._errors += issue.severity == "error"

    def near(self, word: str, known: Iterable[str]) -> str:
        """A hint at what may have been meant; empty when nothing is near."""
        if len(word) > MAX_SLIP or self._hints >= MAX_HINTS:
            return ""
        self._hints += 1
        matches = get_close_matches(word, list(known), n=2)
        return f"; did you mean {' or '.join(matches)}?" if matches else ""

    def issues(self, is_complete: bool) -> tuple[Issue, ...]:
        """All issues, with a note when the walk was cut short."""
        if is_complete:
            return tuple(self._issues)
        text = f"More than {MAX_ISSUES} problems were found; the rest is not listed"
        return (*self._issues, Issue("information", "incomplete", text))


def kind(value: Any) -> str:
    """What sort of JSON the value is, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def show(value: Any) -> str:
    """The value as its writer would know it again, cut to a line."""
    if isinstance(value, str):
        text = f'"{value[:80]}"'
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = kind(value) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= 80 else text[:70] + "…"
