"""`near` (R4 Location, "Positional Searching"): `latitude|longitude|distance|units`."""

from math import isfinite
from typing import Any

from fhir_server.search import positions
from fhir_server.search.expression import Expression, Within
from fhir_server.search.kinds.asked import Asked, Entry, Extraction, KindOfParameter
from fhir_server.search.kinds.ordered import asked_number
from fhir_server.search.kinds.text import split, unescape
from fhir_server.search.ucum import canonical_unit

DEFAULT_METRES = 10_000.0
"""What counts as near when the query does not say: R4 leaves it to the server."""

DEFAULT_UNIT = "km"


def position(value: Any, _: Extraction) -> Entry:
    """The latitude and longitude, where both are on Earth."""
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if latitude is None or longitude is None:
        return []
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return []
    return [("", positions.position(float(latitude), float(longitude)))]


def near(asked: Asked, value: str) -> Expression:
    """Some position lies within the distance of the point."""
    parts = [unescape(part) for part in split(value, "|")]
    if not 2 <= len(parts) <= 4:
        raise asked.refuse(f"{value!r} is not latitude|longitude|distance|units")
    latitude, longitude = _degrees(asked, parts[0], 90), _degrees(asked, parts[1], 180)
    metres = _metres(asked, *parts[2:])
    cells = positions.cells(latitude, longitude, metres)
    return Within(asked.key, cells, latitude, longitude, metres)


def _degrees(asked: Asked, text: str, most: int) -> float:
    number = _number(asked, text)
    if abs(number) > most:
        raise asked.refuse(f"{text} is beyond {most} degrees; the latitude comes first")
    return number


def _metres(asked: Asked, distance: str = "", unit: str = "") -> float:
    found = canonical_unit(unit or DEFAULT_UNIT)
    if found is None or found.unit != "m":
        raise asked.refuse(f"{unit!r} is not a UCUM unit of length (km, m, [mi_i] …)")
    if not distance:
        return DEFAULT_METRES
    number = _number(asked, distance)
    if number < 0:
        raise asked.refuse(f"the distance {distance} is below zero")
    return float(number * found.factor)


def _number(asked: Asked, text: str) -> float:
    try:
        number = float(asked_number(text.strip()).value)
    except ValueError as problem:
        raise asked.refuse(str(problem)) from None
    if not isfinite(number):
        raise asked.refuse(f"{text!r} is too large")
    return number


NEAR = KindOfParameter(encoders={"Location.position": position}, modifiers={"": near})
