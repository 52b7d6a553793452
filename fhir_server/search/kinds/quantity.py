"""Quantity parameters (R4 Search, "quantity"): `number`, `number|system|code`, `number||code`."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from fhir_server.search import terms
from fhir_server.search.expression import Expression
from fhir_server.search.kinds.asked import Asked, Entry, Extraction, KindOfParameter
from fhir_server.search.kinds.ordered import (
    AskedNumber,
    Place,
    asked_number,
    compare,
    split_prefix,
)
from fhir_server.search.kinds.text import split, unescape
from fhir_server.search.ucum import UCUM, CanonicalUnit, canonical_unit

CURRENCIES = "urn:iso:std:iso:4217"

Bound = tuple[str, Decimal | int | None, bool]
"""Suffix ("" point, "<", ">"), the number (None: open), and whether `!` comes after it."""


def quantity(value: Any, _: Extraction) -> Entry:
    """A Quantity: a point, or bounds when it has a comparator."""
    amount = value.get("value")
    if amount is None:
        return []
    bounds: tuple[Bound, ...]
    match value.get("comparator"):
        case "<" | "<=" as comparator:
            bounds = (("<", None, False), (">", amount, comparator == "<="))
        case ">" | ">=" as comparator:
            bounds = (("<", amount, comparator == ">"), (">", None, False))
        case _:
            bounds = (("", amount, False),)
    return _entry(bounds, value)


def range_of_quantities(value: Any, _: Extraction) -> Entry:
    """The bounds of a Range, in the unit of either of them."""
    low, high = value.get("low") or {}, value.get("high") or {}
    if "value" not in low and "value" not in high:
        return []
    bounds = (("<", low.get("value"), False), (">", high.get("value"), "value" in high))
    return _entry(bounds, low or high)


def money(value: Any, _: Extraction) -> Entry:
    """The amount in its currency."""
    if "value" not in value:
        return []
    unit = {"system": CURRENCIES, "code": value["currency"]} if "currency" in value else {}
    return _entry((("", value["value"], False),), unit)


def sampled_data(value: Any, _: Extraction) -> Entry:
    """The lowest and the highest sample, in the unit of the origin (the parameter's definition:
    "just search on the bounds of the values in sampled data")."""
    origin = value.get("origin") or {}
    factor, zero = value.get("factor", 1), origin.get("value", 0)
    samples = [zero + factor * sample for sample in _samples(value.get("data", ""))]
    if not samples:
        return []
    return _entry((("<", min(samples), False), (">", max(samples), True)), origin)


def _samples(text: str) -> Iterator[Decimal]:
    for word in text.split():
        if word not in ("E", "U", "L"):  # error, above and below the limits: no numbers
            try:
                yield Decimal(word)
            except InvalidOperation:
                continue


def _entry(bounds: tuple[Bound, ...], unit: Any) -> Entry:
    """The terms of the bounds in each form that a query may ask for."""
    forms, canonical = _forms(unit.get("system"), unit.get("code"), unit.get("unit"))
    entry = []
    for suffix, amount, is_marked in bounds:
        term = _term(suffix, amount, is_marked)
        entry += [(form + suffix, prefix + term) for form, prefix in forms]
        if canonical is not None:
            converted = None if amount is None else canonical.convert(Decimal(amount))
            term = _term(suffix, converted, is_marked)
            entry.append(("~" + suffix, terms.joined(canonical.unit, term)))
    return entry


@lru_cache(maxsize=4096)
def _forms(
    system: str | None, code: str | None, text: str | None
) -> tuple[tuple[tuple[str, str], ...], CanonicalUnit | None]:
    """(form, prefix of its terms) for a unit, and its canonical unit if there is one."""
    forms = [("", "")]
    if code is not None:
        forms.append((":unit", terms.joined(code, "")))
        if system is not None:
            forms.append(("|", terms.joined(system, code, "")))
    if text is not None and text != code:
        forms.append((":unit", terms.joined(text, "")))
    is_ucum = system == UCUM and code is not None
    return tuple(forms), canonical_unit(code or "") if is_ucum else None


def _term(suffix: str, amount: Decimal | int | None, is_marked: bool) -> str:
    if amount is None:
        return terms.LOWEST if suffix == "<" else terms.HIGHEST
    term = terms.number(amount)
    return terms.above(term) if is_marked else term


def compared(asked: Asked, value: str) -> Expression:
    """Some quantity compares with this one as the prefix says, in its unit if it has one.
    A UCUM unit also finds the same quantity in another unit."""
    number, *unit = [unescape(part) for part in split(value, "|")]
    try:
        prefix, text = split_prefix(number)
        wanted = asked_number(text)
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    match unit:
        case []:
            return compare(prefix, wanted, Place(asked.key, asked.key))
        case ["", code] if code:
            place = Place(asked.key + ":unit", asked.key, terms.joined(code, ""))
            return compare(prefix, wanted, place)
        case [system, code] if code:
            return _in_system(asked, prefix, wanted, (system, code))
        case _:
            raise asked.refuse(f"{value!r} is not number, number|system|code or number||code")


def _in_system(asked: Asked, prefix: str, wanted: AskedNumber, unit: tuple[str, str]) -> Expression:
    canonical = canonical_unit(unit[1]) if unit[0] == UCUM else None
    if canonical is None:
        place = Place(asked.key + "|", asked.key, terms.joined(*unit, ""))
        return compare(prefix, wanted, place)
    place = Place(asked.key + "~", asked.key, terms.joined(canonical.unit, ""))
    return compare(prefix, wanted.converted(canonical.convert), place)


QUANTITY = KindOfParameter(
    encoders={
        **dict.fromkeys(
            ("Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity"), quantity
        ),
        "Money": money,
        "MoneyQuantity": quantity,
        "Range": range_of_quantities,
        "SampledData": sampled_data,
    },
    modifiers={"": compared},
)
