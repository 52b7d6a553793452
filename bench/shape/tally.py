"""What became of the requests, by phase of the run and class of request."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.client import percentile

AIM = 0.999
"""The least share of requests that must be answered well."""


@dataclass
class Tally:
    """Counts of one class: seconds from when each request was due to its good answer; what was
    not well at the first time of asking, and what was not well at the end; first answers by
    status, 0 for none, the second ones of what failed, and what the first bad one of a status
    said."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)
    asked: int = 0
    failed_first: int = 0
    failed: int = 0
    said: dict[int, str] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Percentiles in milliseconds, and the counts."""
        ordered = sorted(self.seconds)
        percents = {f"p{each}_ms": _milliseconds(ordered, each) for each in (50, 95, 99)}
        return {
            "requests": self.asked,
            **percents,
            "failed": self.failed,
            "failed_without_a_retry": self.failed_first,
            "statuses": _by_status(self.statuses),
            **({"again": _by_status(self.again)} if self.again else {}),
            **(
                {"said": {str(status): text for status, text in self.said.items()}}
                if self.said
                else {}
            ),
        }

    def add(self, other: "Tally") -> None:
        """Count the other's in."""
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.again += other.again
        self.asked += other.asked
        self.failed_first += other.failed_first
        self.failed += other.failed
        self.said = other.said | self.said


def _by_status(counts: Counter[int]) -> dict[str, int]:
    return {str(status): n for status, n in sorted(counts.items())}


def _milliseconds(ordered: list[float], percent: int) -> float:
    return round(percentile(ordered, percent) * 1000, 1)


@dataclass
class Tallies:
    """Tallies by phase and class; what is due in a phase counts for it, whenever it ends."""

    phase: str = "calm"
    by: defaultdict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))

    def of(self, kind: str) -> Tally:
        """The tally of a class in the phase that goes on now."""
        return self.by[self.phase, kind]

    def by_class(self, phase: str | None = None) -> dict[str, Any]:
        """The figures of each class, of one phase or of all."""
        kinds = sorted({kind for at, kind in self.by if phase in (None, at)})
        return {kind: self._sum(phase, kind).figures() for kind in kinds}

    def failures(self, phase: str) -> dict[str, Any]:
        """The figures of the classes that were not all answered well at once in a phase."""
        return {
            kind: figures
            for kind, figures in self.by_class(phase).items()
            if figures["failed_without_a_retry"]
        }

    def phases(self) -> list[str]:
        """The phases in which something was asked, in their order."""
        return list(dict.fromkeys(at for at, _ in self.by))

    def answered(self) -> int:
        """How many were answered well until now."""
        return sum(len(each.seconds) for each in self.by.values())

    def availability(self, phase: str | None = None) -> dict[str, Any]:
        """The share of requests that were answered well, of one phase or of all: with the one
        retry that a client may make, and without."""
        return availability([self._sum(phase, None)])

    def _sum(self, phase: str | None, kind: str | None) -> Tally:
        whole = Tally()
        for (at, each), tally in self.by.items():
            if phase in (None, at) and kind in (None, each):
                whole.add(tally)
        return whole


def availability(tallies: Iterable[Tally]) -> dict[str, Any]:
    """`share` with one retry, `without_a_retry`, and the counts that they come from; a run without
    requests was available to nobody."""
    found = list(tallies)
    asked = sum(each.asked for each in found)
    failed: Mapping[str, int] = {
        "failed": sum(each.failed for each in found),
        "failed_without_a_retry": sum(each.failed_first for each in found),
    }
    return {
        "requests": asked,
        **failed,
        "share": _share(asked, failed["failed"]),
        "without_a_retry": _share(asked, failed["failed_without_a_retry"]),
    }


def _share(asked: int, failed: int) -> float:
    # Rounded down: 0.99899… must not read as 0.999.
    return (asked - failed) * 1_000_000 // asked / 1_000_000 if asked else 0.0
