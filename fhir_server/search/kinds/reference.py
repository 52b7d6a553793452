"""Reference parameters (R4 Search, "reference"): `id`, `Type/id`, a URL, `canonical|version`."""

import re
from collections.abc import Callable
from typing import Any

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.reference import ID
from fhir_server.search import terms
from fhir_server.search.codes import CodeResolver
from fhir_server.search.contained import INTO_ITSELF
from fhir_server.search.expression import NOTHING, Expression, HasAnyTerm, HasTerm, any_of
from fhir_server.search.hierarchy import PART_OF
from fhir_server.search.kinds import token
from fhir_server.search.kinds.asked import (
    Asked,
    Entry,
    Extraction,
    KindOfParameter,
    ValueTest,
    equals,
    starts_with,
)
from fhir_server.search.kinds.text import split, unescape

_VERSIONED = re.compile(rf"(.+/{ID})/_history/{ID}", re.ASCII)
_TYPED = re.compile(rf"(?:.*/)?([A-Z][A-Za-z]+)/({ID})(?:/_history/{ID})?", re.ASCII)
_BARE_ID = re.compile(ID, re.ASCII)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)


def reference(value: Any, extraction: Extraction) -> Entry:
    """The literal reference without our own base URL, and without its version too; the
    logical identifier. References into the resource itself are found by chains alone."""
    entry: list[tuple[str, str]] = []
    literal = value.get("reference")
    if isinstance(literal, str) and literal.startswith("#"):
        entry.append((INTO_ITSELF, terms.bounded(literal[1:])))
    elif isinstance(literal, str):
        entry.extend(_literal(literal.removeprefix(extraction.own_url)))
    logical = value.get("identifier")
    if logical is not None:
        for suffix, term in token.identifier(logical, extraction):
            if suffix in ("", "|"):
                entry.append((":identifier" + suffix, term))
    return entry


def _literal(text: str) -> Entry:
    versioned = _VERSIONED.fullmatch(text) if "/_history/" in text else None
    if versioned is None:
        return [("", terms.bounded(text))]
    return [("", terms.bounded(versioned[1])), ("", terms.bounded(text))]


def canonical(value: Any, _: Extraction) -> Entry:
    """The url and its version, which may be empty."""
    if not isinstance(value, str) or value.startswith("#"):
        return []
    url, _bar, version = value.partition("|")
    return [("", terms.joined(url, version))]


def uri(value: Any, extraction: Extraction) -> Entry:
    """A uri that points to a resource: as written, our own base URL taken off."""
    return _literal(value.removeprefix(extraction.own_url)) if isinstance(value, str) else []


def resource(value: Any, _: Extraction) -> Entry:
    """A resource in a Bundle is referred to by its own type and id."""
    if "id" not in value:
        return []
    return [("", f"{value['resourceType']}/{value['id']}")]


def target_type(value: Any, extraction: Extraction) -> str | None:
    """The type that `resolve() is T` sees: from the text of the reference, from its type, or
    from the contained resource; nothing is fetched."""
    if not isinstance(value, dict):
        return None
    literal = value.get("reference")
    if isinstance(literal, str) and literal.startswith("#"):
        for each in extraction.resource.get("contained", ()):
            if each.get("id") == literal[1:]:
                return str(each.get("resourceType"))
    if isinstance(literal, str):
        typed = _TYPED.fullmatch(literal)
        if typed is not None and typed[1] in resource_types():
            return typed[1]
    declared = value.get("type")
    return declared if isinstance(declared, str) else None


def same(asked: Asked, value: str) -> Expression:
    """Some value refers to this; an id alone may be of any type the parameter points to."""
    text = unescape(value).removeprefix(asked.own_url)
    if _ABSOLUTE.match(text) or unescape(value) != text:
        return any_of([HasTerm(asked.key, terms.bounded(text)), *_canonical(asked, value)])
    named = text.partition("|")[0] if "canonical" in asked.datatypes else text
    if _TYPED.fullmatch(named):
        return any_of([HasTerm(asked.key, text), *_canonical(asked, text)])
    if _BARE_ID.fullmatch(text):
        full = [f"{type_}/{text}" for type_ in asked.targets]
        tests = [[HasTerm(asked.key, each), *_canonical(asked, each)] for each in full]
        return any_of(test for either in tests for test in either)
    raise asked.refuse(f"{value!r} is not an id, Type/id, URL or canonical|version")


def _canonical(asked: Asked, value: str) -> list[Expression]:
    if "canonical" not in asked.datatypes:
        return []
    url, bar, version = _canonical_parts(asked, value)
    if bar:
        return [HasTerm(asked.key, terms.joined(url, version))]
    return [starts_with(asked.key, terms.bounded(url) + terms.SEPARATOR)]


def _canonical_parts(asked: Asked, value: str) -> tuple[str, bool, str]:
    """The url, whether a version was given, and the version."""
    url, *version = [unescape(part) for part in split(value, "|")]
    if len(version) > 1:
        raise asked.refuse(f"{value!r} is not canonical|version")
    return url, bool(version), version[0] if version else ""


def of_type(type_: str) -> ValueTest:
    """The test of the modifier `:[type]`."""

    def test(asked: Asked, value: str) -> Expression:
        text = unescape(value).removeprefix(asked.own_url)
        if _BARE_ID.fullmatch(text):
            return HasTerm(asked.key, f"{type_}/{text}")
        typed = _TYPED.fullmatch(text)
        if typed is None:
            raise asked.refuse(f"{value!r} is neither an id nor a reference to a {type_}")
        return equals(asked.key, text) if typed[1] == type_ else NOTHING

    return test


def with_identifier(asked: Asked, value: str) -> Expression:
    """Some value names this logical identifier, asked for as a token."""
    inner = Asked(asked.label, asked.key + ":identifier", asked.now, asked.own_url)
    return token.same(inner, value)


def below(asked: Asked, value: str) -> Expression:
    """Some value refers to the resource or to a part of it (R4 Search, "Searching Hierarchies");
    some canonical has the url and a version that begins with the one given."""
    if "canonical" in asked.datatypes:
        return _versions_below(asked, value)
    return _in_hierarchy(asked, value, lambda codes, *place: codes.parts(*place))


def above(asked: Asked, value: str) -> Expression:
    """Some value refers to the resource or to what it is part of."""
    return _in_hierarchy(asked, value, lambda codes, *place: codes.wholes(*place))


def _versions_below(asked: Asked, value: str) -> Expression:
    url, _, version = _canonical_parts(asked, value)
    if not version:
        return starts_with(asked.key, terms.bounded(url) + terms.SEPARATOR)
    exact = terms.joined(url, version)
    return any_of([HasTerm(asked.key, exact), starts_with(asked.key, f"{exact}.")])


def _in_hierarchy(
    asked: Asked, value: str, reach: Callable[[CodeResolver, str, str], frozenset[str]]
) -> Expression:
    text = unescape(value).removeprefix(asked.own_url)
    typed = _TYPED.fullmatch(text)
    types = (typed[1],) if typed is not None else asked.targets
    known = [type_ for type_ in types if type_ in asked.targets and type_ in PART_OF]
    if not known:
        raise asked.refuse("only references to " + ", ".join(PART_OF) + " have :above and :below")
    if _ABSOLUTE.match(text) or not (typed is not None or _BARE_ID.fullmatch(text)):
        raise asked.refuse(f"{value!r} is neither an id nor Type/id of this server")
    id_ = text if typed is None else typed[2]
    return any_of(_those(asked, type_, id_, reach) for type_ in known)


def _those(
    asked: Asked,
    type_: str,
    id_: str,
    reach: Callable[[CodeResolver, str, str], frozenset[str]],
) -> Expression:
    found = asked.known(lambda codes: reach(codes, type_, id_))
    return HasAnyTerm(asked.key, frozenset(f"{type_}/{each}" for each in found))


REFERENCE = KindOfParameter(
    encoders={
        "Reference": reference,
        "canonical": canonical,
        "uri": uri,
        "url": uri,
        "Resource": resource,
    },
    modifiers={"": same, "identifier": with_identifier, "above": above, "below": below},
)
