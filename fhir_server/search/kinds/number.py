"""Number parameters (R4 Search, "number")."""

from decimal import Decimal
from typing import Any

from fhir_server.search import terms
from fhir_server.search.expression import Expression
from fhir_server.search.kinds.asked import Asked, Entry, Extraction, KindOfParameter
from fhir_server.search.kinds.ordered import Place, asked_number, compare, split_prefix
from fhir_server.search.kinds.text import unescape


def number(value: Any, _: Extraction) -> Entry:
    """The number as a point."""
    return [("", terms.number(value))]


def range_of_numbers(value: Any, _: Extraction) -> Entry:
    """The bounds of a Range, whatever its unit."""
    low, high = _number_of(value.get("low")), _number_of(value.get("high"))
    if low is None and high is None:
        return []
    return [
        ("<", terms.LOWEST if low is None else terms.number(low)),
        (">", terms.HIGHEST if high is None else terms.above(terms.number(high))),
    ]


def _number_of(quantity: Any) -> Decimal | int | None:
    return None if quantity is None else quantity.get("value")


def compared(asked: Asked, value: str) -> Expression:
    """Some number compares with this one as the prefix says."""
    try:
        prefix, text = split_prefix(unescape(value))
        wanted = asked_number(text)
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    has_bounds = not asked.datatypes or "Range" in asked.datatypes
    return compare(prefix, wanted, Place(asked.key, asked.key, has_bounds=has_bounds))


NUMBER = KindOfParameter(
    encoders={
        **dict.fromkeys(("decimal", "integer", "positiveInt", "unsignedInt"), number),
        "Range": range_of_numbers,
    },
    modifiers={"": compared},
)
