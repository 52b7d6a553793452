"""What a kind is told about the parameter it is asked for, and the tests that kinds share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from fhir_server.fhir.outcome import FhirError, bad_parameter, too_costly
from fhir_server.search import terms
from fhir_server.search.codes import CodeResolver, CodesUnknown, NoCodes
from fhir_server.search.expression import Expression, HasRange, HasTerm

T = TypeVar("T")

MOST_CODES = 20_000
"""Most codes, or parts of a whole, that one test may name."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """The surroundings of a value: its resource and this server's own base URL, which ends
    with a slash."""

    resource: Mapping[str, Any]
    own_url: str


Entry = Sequence[tuple[str, str]]
"""What one value gives: (key suffix, term). A value with two bounds gives its lower one first."""

Encoder = Callable[[Any, Extraction], Entry]
"""A value of one datatype → its terms."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A parameter as a query names it.

    `label` is how the caller wrote it; `targets` and `datatypes` come from its definition;
    `is_repeating` says that a resource may have several values of it, so that two bounds must
    be tested together; `now` is the injected time, `own_url` ends with a slash; `codes` answers for
    value sets, code systems and hierarchies.
    """

    label: str
    key: str
    now: datetime
    own_url: str
    is_repeating: bool = False
    targets: tuple[str, ...] = ()
    datatypes: frozenset[str] = frozenset()
    codes: CodeResolver = field(default_factory=NoCodes)

    def refuse(self, text: str) -> FhirError:
        """A 400 that names the parameter."""
        return bad_parameter(f"{self.label}: {text}")

    def known(self, answer: Callable[[CodeResolver], frozenset[T]]) -> frozenset[T]:
        """What `codes` answers; the refusal names the parameter when it cannot."""
        try:
            found = answer(self.codes)
        except CodesUnknown as problem:
            raise self.refuse(str(problem)) from None
        if len(found) > MOST_CODES:
            raise too_costly(f"{self.label}: more than {MOST_CODES} codes or resources")
        return found


ValueTest = Callable[[Asked, str], Expression]
"""One value as written (escapes still in) → the expression that finds it."""


@dataclass(frozen=True, slots=True)
class KindOfParameter:
    """One search parameter type: how its values become terms, and how they are asked for.

    `encoders` go by datatype; `modifiers` hold the test of each modifier ("" for none);
    `negations` name the modifiers that mean "not" and the modifier that they negate.
    """

    encoders: Mapping[str, Encoder]
    modifiers: Mapping[str, ValueTest]
    negations: Mapping[str, str] = field(default_factory=dict)


def starts_with(key: str, prefix: str) -> HasRange:
    """Some term of `key` starts with `prefix`."""
    return HasRange(key, prefix, terms.next_after(prefix))


def under(key: str, prefix: str, low: str | None, high: str | None) -> HasRange:
    """Some term of `key` is `prefix` followed by something in `[low, high)`."""
    if not prefix:
        return HasRange(key, low, high)
    upper = terms.next_after(prefix) if high is None else prefix + high
    return HasRange(key, prefix + (low or ""), upper)


def equals(key: str, text: str) -> HasTerm:
    """Some term of `key` is `text`, however long."""
    return HasTerm(key, terms.bounded(text))
