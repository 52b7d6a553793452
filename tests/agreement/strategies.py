"""Random small resources, random searches over them, and random raw expressions.

Everything is drawn from a `random.Random`: `Random(seed)` for many fast cases whose seed is
logged, or hypothesis's `randoms(use_true_random=False)` where a failure should shrink. Pools of
values are small on purpose, so that searches hit, nearly miss, and repeat each other.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from fhir_server.fhir.dates import time_range
from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    Shares,
    SortKey,
    Terms,
    TermTuple,
    Together,
)
from tests.agreement.pools import (
    CODES,
    DATES,
    IDS,
    LINKS,
    MODIFIERS,
    NUMBERS,
    PARAMETERS,
    PREFIXES,
    SYSTEMS,
    TYPES,
    UCUM,
    UNITS,
    URLS,
    WORDS,
)

Resource = dict[str, Any]
Make = Callable[[Random], Any]
MOST_DEPTH = 6


def _pick(pool: Sequence[Any]) -> Make:
    return lambda random: random.choice(pool)


def _some(**fields: Make) -> Make:
    """An object with one or more of the fields."""

    def make(random: Random) -> Resource:
        names = random.sample(sorted(fields), random.randint(1, len(fields)))
        return {name: fields[name](random) for name in names}

    return make


def _many(each: Make) -> Make:
    return lambda random: [each(random) for _ in range(random.choice((1, 1, 2)))]


def _one_of(*choices: Make) -> Make:
    return lambda random: random.choice(choices)(random)


coding = _some(system=_pick(SYSTEMS), code=_pick(CODES), display=_pick(WORDS))
concept = _some(coding=_many(coding), text=_pick(WORDS))
identifier = _some(system=_pick(SYSTEMS), value=_pick(CODES), type=concept)


def period(random: Random) -> Resource:
    """A period with one side or both, never one that ends before it starts (invariant per-1)."""
    start, end = sorted(random.choices(DATES, k=2), key=lambda each: time_range(each).low)
    sides = random.choice((("start", start), ("end", end), ("start", start, "end", end)))
    return dict(zip(sides[::2], sides[1::2], strict=True))


def reference(random: Random) -> Resource:
    """A literal or a logical reference."""
    if random.random() < 0.2:
        return {"identifier": identifier(random)}
    tail = random.choice(("", "", "", "/_history/1"))
    return {"reference": f"{random.choice(TYPES)}/{random.choice(IDS)}{tail}"}


def quantity(random: Random) -> Resource:
    """A quantity with or without unit and comparator."""
    found: Resource = {"value": Decimal(random.choice(NUMBERS))}
    unit = random.choice(UNITS)
    if unit is not None:
        found |= {"system": random.choice((UCUM, "http://l")), "code": unit, "unit": unit}
    if random.random() < 0.3:
        found["comparator"] = random.choice(("<", "<=", ">", ">="))
    return found


def _named(name: str, make: Make) -> Make:
    return lambda random: {name: make(random)}


def _range(random: Random) -> Resource:
    """A range with one side or both, the low side first (invariant rng-2)."""
    low, high = sorted(random.choices(NUMBERS, k=2), key=Decimal)
    sides = {"low": {"value": Decimal(low)}, "high": {"value": Decimal(high)}}
    kept = random.choice((("low",), ("high",), ("low", "high")))
    return {name: sides[name] for name in kept}


_place = _some(location=reference, period=period)
_prediction = _one_of(
    _named("probabilityDecimal", lambda random: Decimal(random.choice(NUMBERS))),
    _named("probabilityRange", _range),
)
_value = _one_of(
    _named("valueQuantity", quantity),
    _named("valueCodeableConcept", concept),
    _named("valueString", _pick(WORDS)),
    _named("valueDateTime", _pick(DATES)),
    lambda _: {},
)
_effective = _one_of(
    _named("effectiveDateTime", _pick(DATES)), _named("effectivePeriod", period), lambda _: {}
)


def _component(random: Random) -> Resource:
    return {"code": concept(random), **_value(random)}


FIELDS: dict[str, Make] = {
    "Patient": _some(
        name=_many(_some(family=_pick(WORDS), given=_many(_pick(WORDS)))),
        identifier=_many(identifier),
        birthDate=_pick(("2013", "2013-01", "2013-01-14", "2014")),
        active=_pick((True, False)),
        gender=_pick(("male", "female")),
        generalPractitioner=_many(reference),
        link=_many(_some(other=reference)),
    ),
    "Encounter": _some(
        subject=reference, period=period, location=_many(_place), type=_many(concept)
    ),
    "RiskAssessment": _some(
        subject=reference, prediction=_many(_prediction), occurrencePeriod=period
    ),
    "Questionnaire": _some(
        url=_pick(URLS), title=_pick(WORDS), version=_pick(CODES), date=_pick(DATES)
    ),
    "Observation": _some(
        status=_pick(("final", "amended")),
        code=concept,
        category=_many(concept),
        subject=reference,
        encounter=reference,
        component=_many(_component),
        hasMember=_many(reference),
    ),
}  # fmt: skip
_meta = _some(tag=_many(coding), profile=_many(_pick(URLS)), security=_many(coding))


def random_resource(random: Random, type_: str, id_: str) -> Resource:
    """One resource, searchable but not always valid; its versionId and time are still to come."""
    content = FIELDS[type_](random)
    if type_ == "Observation":
        content |= _value(random) | _effective(random)
    meta = _meta(random) if random.random() < 0.4 else {}
    return {"resourceType": type_, **content, "id": id_, "meta": meta}


def random_collection(random: Random) -> list[Resource]:
    """Some resources of the types, each with an id of its own."""
    places = [(type_, id_) for type_ in TYPES for id_ in IDS]
    chosen = random.sample(places, random.randint(0, len(places)))
    return [random_resource(random, type_, id_) for type_, id_ in chosen]


def _escaped(text: str) -> str:
    for each in "\\,|$":
        text = text.replace(each, "\\" + each)
    return text


def _token(random: Random) -> str:
    code, system = _escaped(random.choice(CODES)), random.choice(SYSTEMS)
    return str(random.choice((code, f"{system}|{code}", f"|{code}", f"{system}|")))


def _link(random: Random) -> str:
    id_ = random.choice(IDS)
    own = f"http://fhir.example/fhir/Patient/{id_}"
    return str(random.choice((f"{random.choice(TYPES)}/{id_}", id_, own)))


def _measure(random: Random) -> str:
    unit = (
        f"|{UCUM}|{random.choice(UNITS[1:])}",
        f"||{random.choice(UNITS[1:])}",
        "",
        "|http://l|kg",
    )
    return _prefixed(NUMBERS)(random) + str(random.choice(unit))


def _prefixed(pool: Sequence[str]) -> Make:
    return lambda random: random.choice(PREFIXES) + random.choice(pool)


def _text(random: Random) -> str:
    word = random.choice(WORDS)
    start = random.randrange(len(word))
    cut = word[start : start + random.randint(1, 6)].strip() or word
    return _escaped(random.choice((word, cut, cut.upper())))


VALUES: dict[str, Make] = {
    "token": _token,
    "date": _prefixed(DATES),
    "number": _prefixed(NUMBERS),
    "quantity": _measure,
    "string": _text,
    "word": _pick(("Ann", "maria", "neil", "京", "a b")),
    "reference": _link,
    "uri": _pick((*URLS, "http://e", "http://e/q/1/2")),
    "id": _pick(IDS),
}
"""A value as written in a search, by the kind of its parameter."""


def random_criterion(random: Random, type_: str, links_left: int = 2) -> tuple[str, str]:
    """One name and value; chains and `_has` while links are left."""
    way = random.randrange(10) if links_left else 9
    if way == 0 and type_ in LINKS:
        code, target = random.choice(LINKS[type_])
        name, value = random_criterion(random, target, links_left - 1)
        return f"{code}:{target}.{name}", value
    sources = [
        (source, code)
        for source, known in LINKS.items()
        for code, target in known
        if target == type_
    ]
    if way == 1 and sources:
        source, code = random.choice(sources)
        name, value = random_criterion(random, source, links_left - 1)
        return f"_has:{source}:{code}:{name}", value
    return _plain(random, type_)


def _plain(random: Random, type_: str) -> tuple[str, str]:
    code, kind = random.choice(sorted(PARAMETERS[type_].items()))
    if random.random() < 0.1:
        return f"{code}:missing", random.choice(("true", "false"))
    if kind == "composite":
        second = code.rpartition("-")[2]
        return code, f"{_token(random)}${VALUES[second](random)}"
    modifier, value_kind = random.choice(MODIFIERS.get(kind, (("", kind),)))
    values = [VALUES[value_kind](random) for _ in range(random.choice((1, 1, 2, 3)))]
    return (f"{code}:{modifier}" if modifier else code), ",".join(values)


def random_search(random: Random) -> tuple[str, list[tuple[str, str]]]:
    """A type and the pairs of a well-formed search on it, sort and page size included: what
    `plan_search` takes."""
    type_ = random.choice(TYPES)
    pairs = [random_criterion(random, type_) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    sortable = sorted(code for code, kind in PARAMETERS[type_].items() if kind != "composite")
    keys = random.sample(sortable, random.choice((0, 1, 2)))
    if keys:
        pairs.append(("_sort", ",".join(random.choice(("", "-")) + key for key in keys)))
    pairs.append(("_count", str(random.randint(1, 5))))
    return type_, pairs


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


def random_expression(random: Random, known: Sequence[Terms], depth: int = 0) -> Expression:
    """A raw expression of any node type, over terms like those of these resources."""
    way = random.randrange(12) if depth < MOST_DEPTH else 11
    if way < 4:
        tests = tuple(
            random_expression(random, known, depth + 1) for _ in range(random.randint(0, 3))
        )
        return AllOf(tests) if way < 2 else AnyOf(tests)
    if way == 4:
        return Not(random_expression(random, known, depth + 1))
    if way in (5, 6):
        type_ = random.choice(sorted(LINKS))
        code, target = random.choice(LINKS[type_])
        inner = random_expression(random, known, depth + 1)
        param = f"{type_}.{code}"
        return LinksTo(param, target, inner) if way == 5 else LinkedFrom(type_, param, inner)
    if way == 7:
        return _shares(random, known, random_expression(random, known, depth + 1))
    return _leaf(random, known)


def _shares(random: Random, known: Sequence[Terms], inner: Expression) -> Expression:
    """A term in common under two parameters, which now and then there is."""
    params = sorted({param for one in known for param, _ in one.terms}) or ["Patient._id"]
    other = random.choice(params)
    param = other if random.random() < 0.3 else random.choice(params)
    return Shares(param, other.partition(".")[0], other, inner)


def _leaf(random: Random, known: Sequence[Terms]) -> Expression:
    one = random.choice(known) if known else Terms()
    if one.tuples and random.random() < 0.4:
        element = random.choice(one.tuples)
        tests = tuple(_test(random, element.terms) for _ in range(random.randint(1, 3)))
        return Together(element.param, tests)
    if one.terms and random.random() < 0.15:
        some = random.sample(one.terms, min(len(one.terms), random.choice((0, 1, 3, 300))))
        return HasAnyTerm(random.choice(one.terms)[0], frozenset(value for _, value in some))
    return _test(random, one.terms or (("Patient._id", "a"),))


def random_query(random: Random, known: Sequence[Terms]) -> Query:
    """A raw Query over resources like these, with sort keys and a small page."""
    type_ = random.choice(TYPES)
    sortable = sorted({key for each in known for key in each.sort if key.startswith(type_ + ".")})
    keys = random.sample(sortable, min(len(sortable), random.choice((0, 1, 2))))
    sort = tuple(SortKey(key, random.random() < 0.5) for key in keys)
    return Query(type_, random_expression(random, known), sort, random.randint(1, 4))
