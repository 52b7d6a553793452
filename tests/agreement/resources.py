"""Random small resources.

Everything is drawn from a `random.Random`: `Random(seed)` for many fast cases whose seed is
logged, or hypothesis's `randoms(use_true_random=False)` where a failure should shrink. Pools of
values are small on purpose, so that searches hit, nearly miss, and repeat each other.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from fhir_server.fhir.dates import time_range
from tests.agreement.pools import (
    CODES,
    DATES,
    IDS,
    NUMBERS,
    PLACES,
    SYSTEMS,
    TYPES,
    UCUM,
    UNITS,
    URLS,
    WORDS,
)

Resource = dict[str, Any]
Make = Callable[[Random], Any]


def pick(pool: Sequence[Any]) -> Make:
    """One of the pool."""
    return lambda random: random.choice(pool)


def some(**fields: Make) -> Make:
    """An object with one or more of the fields."""

    def make(random: Random) -> Resource:
        names = random.sample(sorted(fields), random.randint(1, len(fields)))
        return {name: fields[name](random) for name in names}

    return make


def many(each: Make) -> Make:
    """One or two."""
    return lambda random: [each(random) for _ in range(random.choice((1, 1, 2)))]


def several(each: Make) -> Make:
    """One to three."""
    return lambda random: [each(random) for _ in range(random.choice((1, 2, 2, 3)))]


def one_of(*choices: Make) -> Make:
    """What one of them makes."""
    return lambda random: random.choice(choices)(random)


def named(name: str, make: Make) -> Make:
    """An object with this one field."""
    return lambda random: {name: make(random)}


def nothing(_: Random) -> Resource:
    """No field."""
    return {}


coding = some(system=pick(SYSTEMS), code=pick(CODES), display=pick(WORDS))
concept = some(coding=many(coding), text=pick(WORDS))
identifier = some(system=pick(SYSTEMS), value=pick(CODES), type=concept)
_use = pick(("home", "work"))
address = some(line=many(pick(WORDS)), city=pick(WORDS), text=pick(WORDS), use=_use)
telecom = some(system=pick(("phone", "email")), value=pick(("1", "a@b", "x|y")), use=_use)


def _ordered(random: Random) -> tuple[str, str]:
    start, end = sorted(random.choices(DATES, k=2), key=lambda each: time_range(each).low)
    return start, end


def period(random: Random) -> Resource:
    """A period with one side or both, never one that ends before it starts (invariant per-1)."""
    start, end = _ordered(random)
    return dict(
        random.choice(([("start", start)], [("end", end)], [("start", start), ("end", end)]))
    )


timing = some(event=many(pick(DATES)), repeat=named("boundsPeriod", period))


def reference(random: Random) -> Resource:
    """A literal or a logical reference."""
    if random.random() < 0.2:
        return {"identifier": identifier(random)}
    tail = random.choice(("", "", "", "/_history/1"))
    return {"reference": f"{random.choice(TYPES)}/{random.choice(IDS)}{tail}"}


def to(*types: str) -> Make:
    """A reference to one of the types."""
    return lambda random: {"reference": f"{random.choice(types)}/{random.choice(IDS)}"}


def canonical(random: Random) -> str:
    """A canonical, with or without a version, now and then relative."""
    if random.random() < 0.1:
        return f"Questionnaire/{random.choice(IDS)}"
    return str(random.choice(URLS) + random.choice(("", "", "|1", "|10")))


def quantity(random: Random) -> Resource:
    """A quantity with or without unit and comparator."""
    found: Resource = {"value": Decimal(random.choice(NUMBERS))}
    unit = random.choice(UNITS)
    if unit is not None:
        found |= {"system": random.choice((UCUM, "http://l")), "code": unit, "unit": unit}
    if random.random() < 0.3:
        found["comparator"] = random.choice(("<", "<=", ">", ">="))
    return found


def range_of(random: Random) -> Resource:
    """A range with one side or both, the low side first (invariant rng-2)."""
    low, high = sorted(random.choices(NUMBERS, k=2), key=Decimal)
    sides = {"low": {"value": Decimal(low)}, "high": {"value": Decimal(high)}}
    kept = random.choice((("low",), ("high",), ("low", "high")))
    return {name: sides[name] for name in kept}


def samples(random: Random) -> Resource:
    """SampledData in one of the units."""
    unit = random.choice(UNITS[1:])
    data = random.choice(("1 2 3", "E 5.4 U", "-1 100", "L"))
    origin = {"value": Decimal(random.choice(("0", "1"))), "system": UCUM, "code": unit}
    return {"origin": origin, "period": 1, "dimensions": 1, "data": data}


def position(random: Random) -> Resource:
    """A place on Earth."""
    latitude, longitude = random.choice(PLACES)
    return {"latitude": Decimal(latitude), "longitude": Decimal(longitude)}


def narrative(random: Random) -> Resource:
    """Some words, one of them in its own element."""
    first, second = random.choice(WORDS), random.choice(WORDS)
    return {"status": "generated", "div": f"<div>{first} <b>{second}</b></div>"}


_prediction = one_of(
    named("probabilityDecimal", lambda random: Decimal(random.choice(NUMBERS))),
    named("probabilityRange", range_of),
)
_value = one_of(
    named("valueQuantity", quantity),
    named("valueQuantity", quantity),
    named("valueCodeableConcept", concept),
    named("valueString", pick(WORDS)),
    named("valueDateTime", pick(DATES)),
    named("valueSampledData", samples),
    nothing,
)
_effective = one_of(
    named("effectiveDateTime", pick(DATES)),
    named("effectivePeriod", period),
    named("effectiveTiming", timing),
    nothing,
)
_deceased = one_of(
    named("deceasedBoolean", pick((True, False))), named("deceasedDateTime", pick(DATES)), nothing
)
_occurrence = one_of(
    named("occurrenceTiming", timing), named("occurrenceDateTime", pick(DATES)), nothing
)


def _component(random: Random) -> Resource:
    return {"code": concept(random), **_value(random)}


FIELDS: dict[str, Make] = {
    "Patient": some(
        name=many(some(family=pick(WORDS), given=many(pick(WORDS)), prefix=many(pick(WORDS)))),
        identifier=many(identifier),
        birthDate=pick(("2013", "2013-01", "2013-01-14", "2014")),
        active=pick((True, False)),
        gender=pick(("male", "female")),
        address=many(address),
        telecom=many(telecom),
        generalPractitioner=many(reference),
        link=many(some(other=reference)),
    ),
    "Encounter": some(
        subject=reference,
        period=period,
        location=several(some(location=reference, period=period)),
        type=many(concept),
        partOf=to("Encounter"),
    ),
    "RiskAssessment": some(
        subject=reference, prediction=many(_prediction), occurrencePeriod=period
    ),
    "Questionnaire": some(
        url=pick(URLS), title=pick(WORDS), version=pick(("1", "10", "A", "a")), date=pick(DATES)
    ),
    "QuestionnaireResponse": some(
        questionnaire=canonical, subject=reference, status=pick(("completed", "amended"))
    ),
    "Location": some(
        position=position, name=pick(WORDS), address=address, partOf=to("Location"),
        type=many(concept),
    ),
    "List": some(
        entry=several(named("item", one_of(reference, to("ServiceRequest", "RiskAssessment")))),
        title=pick(WORDS), code=concept, subject=reference,
    ),
    "ServiceRequest": some(
        instantiatesCanonical=many(canonical), code=concept, subject=reference,
        performer=many(reference),
    ),
    "Observation": some(
        status=pick(("final", "amended")),
        code=concept,
        category=many(concept),
        subject=reference,
        encounter=reference,
        component=many(_component),
        hasMember=many(reference),
        text=narrative,
    ),
}  # fmt: skip

CHOICES: dict[str, Make] = {
    "Observation": lambda random: _value(random) | _effective(random),
    "Patient": _deceased,
    "ServiceRequest": _occurrence,
}
"""What an element of the type `x[x]` adds."""

_meta = some(tag=many(coding), profile=many(pick(URLS)), security=many(coding), source=pick(URLS))


def random_resource(random: Random, type_: str, id_: str) -> Resource:
    """One resource, searchable but not always valid; its versionId and time are still to come."""
    content = FIELDS[type_](random) | CHOICES.get(type_, nothing)(random)
    meta = _meta(random) if random.random() < 0.4 else {}
    return {"resourceType": type_, **content, "id": id_, "meta": meta}


def random_collection(random: Random) -> list[Resource]:
    """Some resources of the types, each with an id of its own."""
    places = [(type_, id_) for type_ in TYPES for id_ in IDS]
    chosen = random.sample(places, random.randint(0, len(places)))
    return [random_resource(random, type_, id_) for type_, id_ in chosen]
