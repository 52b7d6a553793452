"""Token parameters (R4 Search, "token"): `code`, `system|code`, `|code`, `system|`."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from fhir_server.fhir.definitions import value_sets
from fhir_server.search import terms
from fhir_server.search.codes import CodeResolver
from fhir_server.search.expression import (
    NOTHING,
    Expression,
    HasAnyTerm,
    HasTerm,
    all_of,
    any_of,
)
from fhir_server.search.kinds.asked import (
    Asked,
    Encoder,
    Entry,
    Extraction,
    KindOfParameter,
    starts_with,
)
from fhir_server.search.kinds.text import split, unescape

CODED = frozenset({"Coding", "CodeableConcept", "Identifier"})
"""Datatypes whose values name their system themselves."""


def token(code: Any, system: Any) -> list[tuple[str, str]]:
    """The terms of a code in a system; either may be missing."""
    entry: list[tuple[str, str]] = []
    if isinstance(code, str):
        entry.append(("", terms.joined(code, system or "")))
    if isinstance(system, str):
        entry.append(("|", terms.bounded(system)))
    return entry


def _words(text: Any) -> list[tuple[str, str]]:
    if not isinstance(text, str):
        return []
    return [(":text", terms.bounded(word)) for word in terms.words(text)]


def coding(value: Any, _: Extraction) -> Entry:
    """The code in its system, and the words of its display."""
    return _coding(value.get("code"), value.get("system"), value.get("display"))


@lru_cache(maxsize=16_384)
def _coding(code: Any, system: Any, display: Any) -> Entry:
    return token(code, system) + _words(display)


def codeable_concept(value: Any, extraction: Extraction) -> Entry:
    """Every coding, and the words of the text."""
    entry = list(_words(value.get("text")))
    for each in value.get("coding", ()):
        entry.extend(coding(each, extraction))
    return entry


def identifier(value: Any, _: Extraction) -> Entry:
    """The value in its system; the type's codings with the value, for `:of-type`; the words of
    the type's text."""
    number = value.get("value")
    entry = token(number, value.get("system"))
    kind = value.get("type")
    if kind is not None:
        entry.extend(_words(kind.get("text")))
        for each in kind.get("coding", ()) if isinstance(number, str) else ():
            parts = (each.get("code", ""), each.get("system", ""), number)
            entry.append((":of-type", terms.joined(*parts)))
    return entry


def contact_point(value: Any, _: Extraction) -> Entry:
    """The number or address under no system, under its use (R4's table) and under its system
    (phone, email …): docs/spec-readings.md, "ContactPoint as token"."""
    return [
        each
        for system in (None, value.get("use"), value.get("system"))
        for each in token(value.get("value"), system)
    ]


def boolean(value: Any, _: Extraction) -> Entry:
    """`true` or `false`, in no system."""
    return token("true" if value else "false", None)


def text(value: Any, _: Extraction) -> Entry:
    """A string searched as a token does not mind case; as written too, for parameters that
    also have values of other datatypes."""
    if not isinstance(value, str):
        return []
    return token(terms.fold(value), None) + token(value, None)


def literal(value: Any, _: Extraction) -> Entry:
    """An id, uri or date as written, in no system."""
    return token(value, None)


@cache
def code_in(value_set: str | None) -> Encoder:
    """The encoder of a `code` element that is bound to the value set: the set gives the
    system of each code."""
    systems = {
        code: system
        for system, codes in value_sets().get(value_set or "", {}).items()
        for code in codes
    }
    known = {code: token(code, system) for code, system in systems.items()}
    return lambda value, _: known.get(value) or token(value, None)


def bare_id(value: Any, _: Extraction) -> Entry:
    """`_id`: the id itself."""
    return [("", value)]


def same(asked: Asked, value: str) -> Expression:
    """Some value has the code, in the system if one is given."""
    parts = [unescape(part) for part in split(value, "|")]
    if asked.datatypes and asked.datatypes <= {"string", "markdown"}:
        parts[-1] = terms.fold(parts[-1])
    match parts:
        case [code]:
            return starts_with(asked.key, terms.bounded(code) + terms.SEPARATOR)
        case [system, ""] if system:
            return HasTerm(asked.key + "|", terms.bounded(system))
        case [system, code] if code:
            return HasTerm(asked.key, terms.joined(code, system))
        case _:
            raise asked.refuse(f"{value!r} is not code, system|code, |code or system|")


def of_type(asked: Asked, value: str) -> Expression:
    """Some identifier has the value and a type with the code in the system."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise asked.refuse(f":of-type takes system|code|value, not {value!r}")
    system, code, number = parts
    return HasTerm(asked.key + ":of-type", terms.joined(code, system, number))


def with_text(asked: Asked, value: str) -> Expression:
    """The texts of the values have all these words, or words that start with them."""
    found = terms.words(unescape(value))
    if not found:
        raise asked.refuse(f":text needs a word, not {value!r}")
    return all_of([starts_with(asked.key + ":text", word[: terms.KEY_LENGTH]) for word in found])


def among(asked: Asked, value: str) -> Expression:
    """Some value is a code of the value set (`:in`)."""
    url = unescape(value)
    codes = asked.known(lambda codes: codes.members(url))
    terms_of = [terms.joined(code, system) for system, code in codes]
    if not asked.datatypes & CODED:
        # An element that is a bare code has the system of its binding, which not every one names.
        terms_of += [terms.joined(code, "") for _, code in codes]
    return HasAnyTerm(asked.key, frozenset(terms_of))


def below(asked: Asked, value: str) -> Expression:
    """Some value is the code or is subsumed by it; of a mime type, also one with parameters."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) == 1 and "/" in parts[0] and asked.datatypes == {"code"}:
        with_parameters = starts_with(asked.key, terms.bounded(parts[0]) + ";")
        return any_of([same(asked, value), with_parameters])
    return _subsumed(asked, value, parts, lambda codes, *place: codes.below(*place))


def above(asked: Asked, value: str) -> Expression:
    """Some value is the code or subsumes it."""
    parts = [unescape(part) for part in split(value, "|")]
    return _subsumed(asked, value, parts, lambda codes, *place: codes.above(*place))


def _subsumed(
    asked: Asked,
    value: str,
    parts: list[str],
    reach: Callable[[CodeResolver, str, str], frozenset[str]],
) -> Expression:
    if len(parts) != 2 or not all(parts):
        raise asked.refuse(f"{value!r} is not system|code, which :above and :below take")
    system, code = parts
    found = asked.known(lambda codes: reach(codes, system, code))
    return HasAnyTerm(asked.key, frozenset(terms.joined(each, system) for each in found))


def same_id(asked: Asked, value: str) -> Expression:
    """The resource has this id; an id is in no system."""
    *system, id_ = (unescape(part) for part in split(value, "|"))
    return NOTHING if any(system) else HasTerm(asked.key, id_)


TOKEN = KindOfParameter(
    encoders={
        "Coding": coding,
        "CodeableConcept": codeable_concept,
        "Identifier": identifier,
        "ContactPoint": contact_point,
        "boolean": boolean,
        "code": code_in(None),
        **dict.fromkeys(("string", "markdown"), text),
        **dict.fromkeys(("id", "uri", "url", "canonical", "oid", "uuid"), literal),
        **dict.fromkeys(("date", "dateTime", "instant"), literal),
    },
    modifiers={
        "": same,
        "text": with_text,
        "of-type": of_type,
        "in": among,
        "above": above,
        "below": below,
    },
    negations={"not": "", "not-in": "in"},
)

ID = KindOfParameter(encoders={"id": bare_id}, modifiers={"": same_id}, negations={"not": ""})
