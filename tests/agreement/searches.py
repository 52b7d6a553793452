"""Random well-formed searches, as a client writes them."""

import json
from collections.abc import Sequence
from random import Random

from bench.oracle.searches import Library
from tests.agreement.pools import (
    CODES,
    DATES,
    DISTANCES,
    EVERYWHERE,
    IDS,
    LINKS,
    MODIFIERS,
    NUMBERS,
    PARAMETERS,
    PARENTS,
    PLACES,
    PREFIXES,
    SYSTEMS,
    TYPES,
    UCUM,
    UNITS,
    URLS,
    VALUE_SETS,
    WORDS,
)
from tests.agreement.questions import escaped, random_question
from tests.agreement.resources import Make, pick

Pair = tuple[str, str]
UNSORTED = ("composite", "near", "words")


def _token(random: Random) -> str:
    code, system = escaped(random.choice(CODES)), random.choice(SYSTEMS)
    return str(random.choice((code, f"{system}|{code}", f"|{code}", f"{system}|")))


def _coded(random: Random) -> str:
    system, code = random.choice((
        ("", "true"), ("", "false"), ("http://hl7.org/fhir/observation-status", "final"),
        ("http://hl7.org/fhir/administrative-gender", "male"), ("", "completed"), ("", "home"),
    ))  # fmt: skip
    return str(random.choice((code, f"{system}|{code}", f"|{code}")))


def _typed_identifier(random: Random) -> str:
    parts = (random.choice(SYSTEMS), random.choice(CODES), random.choice(CODES))
    return "|".join(escaped(part) for part in parts)


def _place_in_a_system(random: Random) -> str:
    system = random.choice(sorted(PARENTS))
    return f"{system}|{random.choice(('a', 'A', '1', '10'))}"


def _telecom(random: Random) -> str:
    value = escaped(random.choice(("1", "a@b", "x|y")))
    return random.choice(("", "|", "phone|", "home|")) + value


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
    return escaped(random.choice((word, cut, cut.upper())))


def _canonical(random: Random) -> str:
    if random.random() < 0.1:
        return f"Questionnaire/{random.choice(IDS)}"
    return str(random.choice(URLS) + random.choice(("", "|1", "|10")))


def _near(random: Random) -> str:
    latitude, longitude = random.choice(PLACES)
    return f"{latitude}|{longitude}{random.choice(DISTANCES)}"


def _words(random: Random) -> str:
    one, other = (random.choice(("Ann", "anna", "mar", '"ann"', "neil", "京")) for _ in "ab")
    forms = (one, f"{one} {other}", f"{one} OR {other}", f"NOT {one}", f"({one} or {other}) ann")
    return random.choice(forms)


VALUES: dict[str, Make] = {
    "token": _token,
    "coded": _coded,
    "concept": _token,
    "date": _prefixed(DATES),
    "number": _prefixed(NUMBERS),
    "quantity": _measure,
    "string": _text,
    "word": pick(("Ann", "maria", "neil", "京", "a b")),
    "words": _words,
    "reference": _link,
    "canonical": _canonical,
    "uri": pick((*URLS, "http://e", "http://e/q/1/2")),
    "id": pick(IDS),
    "value set": pick(sorted(VALUE_SETS)),
    "place in a system": _place_in_a_system,
    "identifier of a type": _typed_identifier,
    "telecom": _telecom,
    "near": _near,
}
"""A value as written in a search, by the kind of its parameter."""


def parameters(type_: str) -> dict[str, str]:
    """What can be asked of a type, with the kind of each."""
    return EVERYWHERE | PARAMETERS[type_]


def random_criterion(random: Random, type_: str, links_left: int = 2) -> tuple[str, str]:
    """One name and value; chains and `_has` while links are left."""
    way = random.randrange(12) if links_left else 11
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
    if way == 3:
        return "_filter", _filter(random, type_)
    if way == 2:
        return "_list", ",".join(random.sample(IDS, random.choice((1, 1, 2))))
    return _plain(random, type_)


def _plain(random: Random, type_: str) -> tuple[str, str]:
    pool = EVERYWHERE if random.random() < 0.15 else PARAMETERS[type_]
    kind = random.choice(sorted(set(pool.values())))
    code = random.choice(sorted(each for each, own in pool.items() if own == kind))
    if random.random() < 0.1 and kind != "words":
        return f"{code}:missing", random.choice(("true", "false"))
    if kind == "composite":
        second = code.rpartition("-")[2]
        return code, f"{_token(random)}${VALUES[second](random)}"
    modifier, value_kind = random.choice(MODIFIERS.get(kind, (("", kind),)))
    values = [VALUES[value_kind](random) for _ in range(random.choice((1, 1, 2, 3)))]
    return (f"{code}:{modifier}" if modifier else code), ",".join(values)


ORDERED = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
OPERATORS: dict[str, tuple[tuple[str, Make], ...]] = {
    "string": tuple(
        (each, pick(WORDS)) for each in ("eq", "ne", "co", "sw", "gt", "ge", "lt", "le")
    ),
    "date": tuple((each, pick(DATES)) for each in ORDERED),
    "number": tuple((each, pick(NUMBERS)) for each in ORDERED),
    "token": (
        ("eq", _token),
        ("in", pick(sorted(VALUE_SETS))),
        ("ni", pick(sorted(VALUE_SETS))),
        ("ss", _place_in_a_system),
        ("sb", _place_in_a_system),
    ),
    "coded": (("eq", _coded),),
    "identifier": (("eq", _token),),
    "reference": (("re", _link),),
    "uri": (("eq", VALUES["uri"]), ("sw", VALUES["uri"])),
    "id": (("eq", pick(IDS)),),
}
"""The operators of a filter, by the kind of the parameter, each with its values."""


def _filter(random: Random, type_: str, depth: int = 2) -> str:
    """Tests joined by and, or, not and parentheses."""
    parts = []
    for _ in range(random.choice((1, 2, 2, 3))):
        way = random.randrange(6) if depth else 5
        inner = _filter(random, type_, depth - 1) if way < 2 else ""
        part = f"{'not ' if way else ''}({inner})" if inner else _filter_test(random, type_)
        parts += [part, random.choice(("and", "or"))]
    return " ".join(parts[:-1])


def _filter_test(random: Random, type_: str) -> str:
    known = [each for each in sorted(parameters(type_).items()) if each[1] in OPERATORS]
    code, kind = random.choice(known)
    if random.random() < 0.15:
        return f"{code} pr {random.choice(('true', 'false'))}"
    operator, make = random.choice(OPERATORS[kind])
    return f"{code} {operator} {json.dumps(make(random))}"


def random_type(random: Random) -> str:
    """A type, more often one of which much can be asked."""
    return random.choices(TYPES, [len(PARAMETERS[each]) for each in TYPES])[0]


def random_search(random: Random, library: Library | None = None) -> tuple[str, list[Pair]]:
    """A type and the pairs of a well-formed search on it, sort and page size included: what
    `plan_search` takes. With a library, often about the values that are in it."""
    type_ = random_type(random)
    pairs = [random_criterion(random, type_) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    if library is not None and random.random() < 0.4:
        question = random_question(random, library, type_, list(parameters(type_)))
        pairs = [*pairs[:1], *([question] if question else [])][-random.randint(1, 2) :]
    known = parameters(type_).items()
    sortable = sorted(code for code, kind in known if kind not in UNSORTED)
    keys = random.sample(sortable, random.choice((0, 1, 2)))
    if keys:
        pairs.append(("_sort", ",".join(random.choice(("", "-")) + key for key in keys)))
    pairs.append(("_count", str(random.randint(1, 5))))
    return type_, pairs
