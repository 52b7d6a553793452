"""The nodes of a search expression, and the Query that a store is asked.

A parameter is named by its key, `Type.code` with an optional suffix that `search/terms.py` owns
(`Observation.date<`, `Patient.identifier:of-type`, `Patient.has`). Values are the order-preserving
strings that `search/terms.py` makes; they compare by Unicode code point, everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

TermTuple = tuple[str, str]
"""(parameter key, value): what extraction produces and what HasTerm and HasRange test."""


class TupleOfTerms(NamedTuple):
    """The terms of one element of a composite or two-bounded value, kept together."""

    param: str
    terms: tuple[TermTuple, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a search can find a resource by. `sort` maps a parameter key to its lowest and
    highest term."""

    terms: tuple[TermTuple, ...] = ()
    tuples: tuple[TupleOfTerms, ...] = ()
    sort: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HasTerm:
    """Some term of `param` equals `value`."""

    param: str
    value: str


@dataclass(frozen=True, slots=True)
class HasRange:
    """Some term of `param` lies in `[low, high)`; None leaves that side open."""

    param: str
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class HasText:
    """Some term of `param` contains `part` (the bounded scan)."""

    param: str
    part: str


@dataclass(frozen=True, slots=True)
class HasAnyTerm:
    """Some term of `param` equals one of `values`: a value set, of thousands of codes maybe."""

    param: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Within:
    """Some position of `param` lies at most `metres` from the point, on the great circle.
    `cells` are the ranges `[low, high)` of terms in which such a position can be."""

    param: str
    cells: tuple[tuple[str, str | None], ...]
    latitude: float
    longitude: float
    metres: float


TermTest = HasTerm | HasRange | HasText
"""What a single term decides."""


@dataclass(frozen=True, slots=True)
class Lacks:
    """No term of the tuple passes `test`; stands in `Together` alone."""

    test: TermTest


@dataclass(frozen=True, slots=True)
class Together:
    """One tuple recorded under `param` passes all `tests` (composites; values with two bounds;
    contained resources)."""

    param: str
    tests: tuple[TermTest | Lacks, ...]


@dataclass(frozen=True, slots=True)
class LinksTo:
    """Chain: `param` refers to a current resource of `type` that matches `test`."""

    param: str
    type: str
    test: "Expression"


@dataclass(frozen=True, slots=True)
class LinkedFrom:
    """Reverse chain (`_has`): a current resource of `type` matches `test` and its `param`
    refers to this one."""

    type: str
    param: str
    test: "Expression"


@dataclass(frozen=True, slots=True)
class Shares:
    """A current resource of `type` matches `test`, and one of its terms of `other` is one of this
    resource's terms of `param`: chains over canonicals, where the one names what the other is
    called, either way round."""

    param: str
    type: str
    other: str
    test: "Expression"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every test passes; the empty AllOf is true."""

    tests: tuple["Expression", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one test passes; the empty AnyOf is false."""

    tests: tuple["Expression", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The resource does not pass `test`; exists only at resource level."""

    test: "Expression"


Leaf = HasTerm | HasRange | HasText | HasAnyTerm | Within | Together
"""What one resource's own terms decide."""
Link = LinksTo | LinkedFrom | Shares
"""What other resources decide."""
Expression = Leaf | Link | AllOf | AnyOf | Not

EVERYTHING = AllOf()
NOTHING = AnyOf()


def all_of(tests: Iterable[Expression]) -> Expression:
    """AllOf, flattened; one test stands alone and NOTHING wins."""
    flat: list[Expression] = []
    for test in tests:
        if test == NOTHING:
            return NOTHING
        flat.extend(test.tests if isinstance(test, AllOf) else (test,))
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def any_of(tests: Iterable[Expression]) -> Expression:
    """AnyOf, flattened; one test stands alone and EVERYTHING wins."""
    flat: list[Expression] = []
    for test in tests:
        if test == EVERYTHING:
            return EVERYTHING
        flat.extend(test.tests if isinstance(test, AnyOf) else (test,))
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


@dataclass(frozen=True, slots=True)
class SortKey:
    """Order by a sortable parameter (`Observation.date`): ascending by the lowest term,
    descending by the highest, missing values last both ways. The id breaks ties, ascending."""

    param: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a store: the current resources of `type` that match `where`.

    `after` is the sort values (None where missing) and the id of the last match of the page
    before: keyset paging. `limit` is the largest number of matches to return.
    """

    type: str
    where: Expression = EVERYTHING
    sort: tuple[SortKey, ...] = ()
    limit: int = 50
    after: tuple[str | None, ...] | None = None
