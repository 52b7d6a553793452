"""What each operator of `_filter` means for each kind of parameter (R4 Search, "_filter
Parameter", "Operators").

Most are a prefix or a modifier of the ordinary searches, so that a filter means the same as they
do; docs/spec-readings.md, "Filters", has the rest.
"""

from collections.abc import Mapping
from functools import partial

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasRange, Not, any_of
from fhir_server.search.kinds import KINDS, date, reference, string, token, uri
from fhir_server.search.kinds.asked import Asked, ValueTest, equals
from fhir_server.search.kinds.text import ESCAPED, split, unescape
from fhir_server.search.ucum import UCUM

SYSTEMS: Mapping[str, str] = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": UCUM,
}
"""Names that stand for their code systems."""

_AFTER = "\x01"
"""The lowest character that a value can have: what is above a text begins with text and this."""


def operators_of(kind: str) -> Mapping[str, ValueTest]:
    """The operators that a kind of parameter has, besides `pr`."""
    return _OPERATORS.get(kind, {})


def as_searched(kind: str, value: str) -> str:
    """The value as an ordinary search would have it: of texts and uris every character is
    itself, of codes and quantities the system may be a name."""
    if kind in ("string", "uri", "id"):
        return "".join("\\" + each if each in ESCAPED else each for each in value)
    if kind not in ("token", "quantity"):
        return value
    parts = split(value, "|")
    place = 0 if kind == "token" else 1
    if len(parts) == place + 2:
        parts[place] = SYSTEMS.get(parts[place], parts[place])
    return "|".join(parts)


def _prefixed(kind: str, prefix: str) -> ValueTest:
    def test(asked: Asked, value: str) -> Expression:
        return KINDS[kind].modifiers[""](asked, prefix + value)

    return test


def _prefixes(kind: str) -> dict[str, ValueTest]:
    prefixes = ("eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb")
    return {prefix: _prefixed(kind, prefix) for prefix in prefixes}


def _unequal(key: str, term: str) -> Expression:
    return any_of([HasRange(key, None, term), HasRange(key, term + _AFTER, None)])


def _same_text(asked: Asked, value: str) -> Expression:
    return equals(asked.key, terms.fold(unescape(value)))


def _other_text(asked: Asked, value: str) -> Expression:
    return _unequal(asked.key, terms.bounded(terms.fold(unescape(value))))


def _ordered_text(operator: str, asked: Asked, value: str) -> Expression:
    """ "Based on … comparison of Unicode code points … (case insensitive)"."""
    text = terms.fold(unescape(value))
    if len(text) > terms.KEY_LENGTH:
        raise asked.refuse(f"longer than {terms.KEY_LENGTH} characters")
    match operator:
        case "gt":
            return HasRange(asked.key, text + _AFTER, None)
        case "ge":
            return HasRange(asked.key, text, None)
        case "lt":
            return HasRange(asked.key, None, text)
        case "le":
            return HasRange(asked.key, None, text + _AFTER)
        case _:
            raise ValueError(f"not an order: {operator}")


def _other_uri(asked: Asked, value: str) -> Expression:
    return _unequal(asked.key, terms.bounded(unescape(value)))


def _other_code(asked: Asked, value: str) -> Expression:
    """Some code is another one. Where one value stands under several terms, none of them alone
    tells that it is unequal."""
    parts = [unescape(part) for part in split(value, "|")]
    has_several = asked.datatypes & {"string", "markdown"} or (
        len(parts) > 1 and "ContactPoint" in asked.datatypes
    )
    if has_several or len(parts) > 2 or not parts[-1]:
        raise asked.refuse(f"ne cannot tell here what is not {value!r}; write not (… eq …)")
    if len(parts) == 2:
        return _unequal(asked.key, terms.joined(parts[1], parts[0]))
    start = terms.bounded(parts[0]) + terms.SEPARATOR
    after = terms.next_after(start)
    return any_of([HasRange(asked.key, None, start), HasRange(asked.key, after, None)])


def _other_id(asked: Asked, value: str) -> Expression:
    return Not(token.same_id(asked, value))


def _in_none(asked: Asked, value: str) -> Expression:
    return Not(token.among(asked, value))


_OPERATORS: Mapping[str, Mapping[str, ValueTest]] = {
    "string": {
        "eq": _same_text,
        "ne": _other_text,
        "co": string.contains,
        "sw": string.begins,
        **{each: partial(_ordered_text, each) for each in ("gt", "lt", "ge", "le")},
    },
    "number": _prefixes("number"),
    "age": _prefixes("age"),
    "quantity": _prefixes("quantity"),
    "date": {**_prefixes("date"), "co": date.includes, "po": date.overlaps},
    "token": {
        "eq": token.same,
        "ne": _other_code,
        "ss": token.below,
        "sb": token.above,
        "in": token.among,
        "ni": _in_none,
    },
    "id": {"eq": token.same_id, "ne": _other_id},
    "uri": {"eq": uri.same, "ne": _other_uri, "sw": uri.below},
    "reference": {"re": reference.same},
}
"""By `Parameter.kind`."""
