"""Random raw expressions of every node type, over terms like those of given resources."""

from collections.abc import Sequence
from random import Random

from fhir_server.search import positions
from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    Shares,
    SortKey,
    Terms,
    TermTuple,
    Together,
    Within,
)
from tests.agreement.pools import LINKS, PLACES
from tests.agreement.searches import random_type

MOST_DEPTH = 6


def _test(random: Random, terms: Sequence[TermTuple]) -> HasTerm | HasRange | HasText:
    """A test of one term, near the terms that exist."""
    param, value = random.choice(terms)

    def edge() -> str | None:
        other = random.choice(terms)[1] if random.random() < 0.3 else value
        end = random.choice(("", "", "!", "\x1f", "a", "\U0010ffff"))
        cut = other[: random.randint(0, 6)] if random.random() < 0.3 else other
        return random.choice((cut + end, cut, None))

    match random.randrange(4):
        case 0:
            return HasTerm(param, value)
        case 1:
            return HasTerm(param, random.choice(terms)[1])
        case 2:
            return HasRange(param, edge(), edge())
        case _:
            start = random.randint(0, 6)
            return HasText(param, value[start : start + random.randint(1, 5)])


def random_expression(
    random: Random, known: Sequence[Terms], type_: str, depth: int = 0
) -> Expression:
    """A raw expression of any node type about resources of a type, over terms like those of
    these resources."""
    way = random.randrange(14) if depth < MOST_DEPTH else 13
    if way < 4:
        tests = tuple(
            random_expression(random, known, type_, depth + 1) for _ in range(random.randint(0, 3))
        )
        return AllOf(tests) if way < 2 else AnyOf(tests)
    if way == 4:
        return Not(random_expression(random, known, type_, depth + 1))
    if way == 5 and type_ in LINKS:
        code, target = random.choice(LINKS[type_])
        inner = random_expression(random, known, target, depth + 1)
        return LinksTo(f"{type_}.{code}", target, inner)
    if way == 6:
        source = random.choice(sorted(LINKS))
        code, _ = random.choice(LINKS[source])
        inner = random_expression(random, known, source, depth + 1)
        return LinkedFrom(source, f"{source}.{code}", inner)
    if way == 7:
        return _shares(random, known, type_, depth)
    return _leaf(random, known, type_)


def _shares(random: Random, known: Sequence[Terms], type_: str, depth: int) -> Expression:
    """A term in common under two parameters, which now and then there is."""
    params = sorted({param for one in known for param, _ in one.terms}) or ["Patient._id"]
    own = [each for each in params if each.startswith(type_ + ".")] or params
    param = random.choice(own)
    other = param if random.random() < 0.3 else random.choice(params)
    other_type = other.partition(".")[0]
    inner = random_expression(random, known, other_type, depth + 1)
    return Shares(param, other_type, other, inner)


def _leaf(random: Random, known: Sequence[Terms], type_: str) -> Expression:
    own = [each for each in known if each.terms and each.terms[0][0].startswith(type_ + ".")]
    one = random.choice(own if own and random.random() < 0.9 else known) if known else Terms()
    if type_ == "Location" and random.random() < 0.3:
        latitude, longitude = (float(each) for each in random.choice(PLACES))
        metres = random.choice((0.0, 3_000.0, 30_000.0, 5_000_000.0))
        cells = positions.cells(latitude, longitude, metres)
        return Within("Location.near", cells, latitude, longitude, metres)
    if one.tuples and random.random() < 0.3:
        element = random.choice(one.tuples)
        some = [_test(random, element.terms) for _ in range(random.randint(1, 3))]
        tests = tuple(Lacks(each) if random.random() < 0.2 else each for each in some)
        other = random.choice(one.tuples) if random.random() < 0.3 else element
        return Together(other.param, tests)
    if one.terms and random.random() < 0.15:
        some = random.sample(one.terms, min(len(one.terms), random.choice((0, 1, 3, 300))))
        return HasAnyTerm(random.choice(one.terms)[0], frozenset(value for _, value in some))
    return _test(random, one.terms or (("Patient._id", "a"),))


def random_query(random: Random, known: Sequence[Terms]) -> Query:
    """A raw Query over resources like these, with sort keys and a small page."""
    type_ = random_type(random)
    sortable = sorted({key for each in known for key in each.sort if key.startswith(type_ + ".")})
    keys = random.sample(sortable, min(len(sortable), random.choice((0, 1, 2))))
    sort = tuple(SortKey(key, random.random() < 0.5) for key in keys)
    return Query(type_, random_expression(random, known, type_), sort, random.randint(1, 4))
