"""Searches made from the values that resources have: hits, near misses and the reverse."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from bench.oracle.elements import Row, Value, component_values, row, rows
from bench.oracle.quantities import units
from bench.oracle.ranges import PREFIXES
from bench.oracle.searches import Library
from bench.oracle.tests_of_values import codes
from bench.oracle.texts import displays, strings

Question = tuple[str, str]
"""Modifier (with its colon, or empty) and value."""


def escaped(text: str) -> str:
    """The text as a search value, its separators escaped."""
    for each in "\\,|$":
        text = text.replace(each, "\\" + each)
    return text


def questions(kind: str, value: Value) -> Iterator[Question]:
    """What can be asked about one value of a parameter of this kind."""
    match kind:
        case "token":
            yield from _token(value)
        case "string":
            yield from _string(value)
        case "date":
            yield from _date(value)
        case "number":
            for prefix in ("", *PREFIXES):
                yield from (("", f"{prefix}{each}") for each in _numbers(value.content))
        case "quantity":
            yield from _quantity(value)
        case "reference":
            yield from _reference(value)
        case "uri":
            yield from _uri(str(value.content))
        case _:
            raise ValueError(kind)


def _token(value: Value) -> Iterator[Question]:
    for system, code in codes(value):
        if code:
            yield "", escaped(code)
            yield "", escaped(code) + "x"
            yield ":not", escaped(code)
            yield "", "|" + escaped(code)
            yield "", f"{escaped(system or 'http://none')}|{escaped(code)}"
        if system:
            yield "", escaped(system) + "|"
    if value.datatype in ("Coding", "CodeableConcept", "Identifier"):
        words = [word for text in displays(value) for word in text.split() if word.isalnum()]
        yield from ((":text", word[:4]) for word in words[:2])
    if value.datatype == "Identifier":
        for each in value.content.get("type", {}).get("coding", ()):
            parts = (each.get("system"), each.get("code"), value.content.get("value"))
            if all(parts):
                yield ":of-type", "|".join(escaped(part) for part in parts)


def _string(value: Value) -> Iterator[Question]:
    for text in strings(value)[:3]:
        shown = " ".join(text.split())[:60]
        if len(shown) > 1:
            yield "", escaped(shown)
            yield "", escaped(shown[: len(shown) // 2].upper())
            yield "", escaped(shown[1:])
            yield ":exact", escaped(text)
            yield ":exact", escaped(text.upper())
            yield ":contains", escaped(shown[1:5])


def _date(value: Value) -> Iterator[Question]:
    content = value.content
    if isinstance(content, Mapping):
        sides = [content.get("start"), content.get("end"), *content.get("event", ())]
    else:
        sides = [content]
    for text in sides:
        for prefix in PREFIXES if text else ():
            yield "", f"{prefix}{text}"
            yield "", f"{prefix}{text[:7]}"
            yield "", f"{prefix}{text[:4]}"


def _numbers(number: Any) -> list[str]:
    if isinstance(number, Mapping):
        sides = [number[side]["value"] for side in ("low", "high") if side in number]
        return [str(side) for side in sides]
    exact = Decimal(str(number))
    near = (exact, exact + 1, Decimal(round(exact)), exact * Decimal("1.05"))
    return [f"{each:f}" for each in near]


def _quantity(value: Value) -> Iterator[Question]:
    content = value.content
    if value.datatype == "SampledData":
        return
    sides = [content.get(side) for side in ("low", "high")] if "value" not in content else [content]
    for side, (system, code, unit) in zip(filter(None, sides), units(value), strict=False):
        for figure in _numbers(side["value"]) if "value" in side else ():
            for prefix in ("", *PREFIXES):
                yield "", f"{prefix}{figure}"
            if code:
                yield "", f"{figure}|{escaped(system or '')}|{escaped(code)}"
            if unit:
                yield "", f"{figure}||{escaped(unit)}"


def _reference(value: Value) -> Iterator[Question]:
    content = value.content
    if "resourceType" in content:
        yield "", f"{content['resourceType']}/{content.get('id', 'none')}"
        return
    text = content.get("reference") if isinstance(content, Mapping) else content
    if isinstance(text, str) and not text.startswith("#"):
        yield "", escaped(text) if value.datatype != "canonical" else text
        yield "", text.rpartition("/")[2].partition("|")[0]
        yield "", f"{text}x"
    found = content.get("identifier") if isinstance(content, Mapping) else None
    if found and found.get("value"):
        yield ":identifier", f"{escaped(found.get('system', ''))}|{escaped(found['value'])}"


def _uri(text: str) -> Iterator[Question]:
    yield "", escaped(text)
    yield "", escaped(text) + "x"
    yield ":below", escaped(text[: len(text) // 2])
    yield ":above", escaped(text) + "/more"


def composites(elements: Sequence[Sequence[Sequence[Value]]], kinds: Sequence[str]) -> list[str]:
    """Composite values: of one element, and crossed between two."""
    asked: list[list[str]] = []
    for element in elements:
        parts = []
        for kind, found in zip(kinds, element, strict=True):
            plain = [text for value in found for modifier, text in questions(kind, value)
                     if not modifier]  # fmt: skip
            parts.append(plain[:2])
        if all(parts):
            asked.append([each[0] for each in parts])
            asked.append([each[-1] for each in parts])
    crossed = [[one[0], *other[1:]] for one in asked[:3] for other in asked[:3]]
    return ["$".join(each) for each in [*asked, *crossed]]


ASKED = ("date", "number", "quantity", "reference", "string", "token", "uri")


def random_question(
    random: Random, library: Library, type_: str, codes: Sequence[str]
) -> tuple[str, str] | None:
    """A criterion made from a value that some resource of the type has; None when none has."""
    names = sorted(each for each in library.resources if each.startswith(type_ + "/"))
    known = {code: row(type_, code) for code in sorted(codes)}
    asked_about = [code for code, each in known.items() if _has_values(each)]
    for code in random.sample(asked_about, len(asked_about)) if names else ():
        asked = _asked(random, library, random.choice(names), known[code])
        if asked:
            modifier, value = random.choice(asked)
            return code + modifier, value
    return None


def _asked(random: Random, library: Library, name: str, definition: Row) -> list[Question]:
    """What can be asked about one value that the resource has."""
    if definition["type"] == "composite":
        elements = list(component_values(library.resources[name], definition))
        kinds = [rows()[part["url"]]["type"] for part in definition["component"]]
        return [("", text) for text in composites(elements, kinds)]
    values = library.values(name, definition["code"])
    return list(questions(definition["type"], random.choice(values))) if values else []


def _has_values(definition: Row) -> bool:
    return definition["type"] in (*ASKED, "composite") and "expression" in definition
