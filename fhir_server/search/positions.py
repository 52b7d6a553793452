"""Positions on the Earth as terms: the cell of a fixed grid, then the exact coordinates.

A cell is named by one digit for each halving of the world's width and height, so that the cells
inside a larger one all start with its name. A circle is covered by a few cells; whether a
position in them lies within the circle is then decided by `is_within`, in every store alike.
"""

from math import asin, ceil, cos, degrees, floor, pi, radians, sin, sqrt

from fhir_server.search.terms import SEPARATOR, next_after

EARTH_METRES = 6_371_008.8
"""Mean radius of WGS84's ellipsoid: distances are at most 0.56 % off."""

LEVELS = 26
"""Halvings of a term's cell: half a metre and less."""

ROUNDING = 1e-10
"""Radians by which a circle's boxes are wider than it: what floating-point numbers may lose."""

MOST_CELLS_ACROSS = 4
"""Most cells along each side of what covers a circle."""

Box = tuple[float, float, float, float]
"""South, north, west, east in degrees; west is not beyond east."""


def position(latitude: float, longitude: float) -> str:
    """The term of a position. The antimeridian, one line with two names, is the west."""
    column = _column(-180.0 if longitude == 180 else longitude, LEVELS)
    cell = _cell(_row(latitude, LEVELS), column, LEVELS)
    return f"{cell}{SEPARATOR}{latitude!r}{SEPARATOR}{longitude!r}"


def is_within(term: str, latitude: float, longitude: float, metres: float) -> bool:
    """Whether the position of a term lies at most so far from the point (haversine)."""
    _, north, east = term.split(SEPARATOR)
    return _distance(float(north), float(east), latitude, longitude) <= metres


def _distance(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    here, there = radians(latitude), radians(to_latitude)
    across = sin(radians(to_longitude - longitude) / 2) ** 2
    half = sin((there - here) / 2) ** 2 + cos(here) * cos(there) * across
    return 2 * EARTH_METRES * asin(min(1.0, sqrt(half)))


def cells(latitude: float, longitude: float, metres: float) -> tuple[tuple[str, str | None], ...]:
    """Ranges of terms in which every position of the circle lies."""
    names = {name for box in _boxes(latitude, longitude, metres) for name in _cover(box)}
    if "" in names:
        return (("", None),)
    return tuple((name, next_after(name)) for name in sorted(names))


def _boxes(latitude: float, longitude: float, metres: float) -> list[Box]:
    """The circle's bounding boxes: all longitudes where it reaches a pole, two boxes where it
    crosses the antimeridian."""
    angle = metres / EARTH_METRES + ROUNDING
    south, north = latitude - degrees(angle), latitude + degrees(angle)
    if south <= -90 or north >= 90 or angle >= pi / 2:
        return [(max(south, -90), min(north, 90), -180, 180)]
    reach = degrees(asin(min(1.0, sin(angle) / cos(radians(latitude)))))
    west, east = longitude - reach, longitude + reach
    if west <= -180:
        return [(south, north, -180, east), (south, north, west + 360, 180)]
    if east >= 180:
        return [(south, north, west, 180), (south, north, -180, east - 360)]
    return [(south, north, west, east)]


def _cover(box: Box) -> list[str]:
    """The names of the cells of one size that cover a box."""
    south, north, west, east = box
    level = LEVELS
    while level and not _is_coarse(box, level):
        level -= 1
    return [
        _cell(row, column, level)
        for row in range(_row(south, level), _row(north, level) + 1)
        for column in range(_column(west, level), _column(east, level) + 1)
    ]


def _is_coarse(box: Box, level: int) -> bool:
    south, north, west, east = box
    tall, wide = (north - south) * (1 << level) / 180, (east - west) * (1 << level) / 360
    return max(ceil(tall), ceil(wide)) < MOST_CELLS_ACROSS


def _row(latitude: float, level: int) -> int:
    return min(floor((latitude + 90) * (1 << level) / 180), (1 << level) - 1)


def _column(longitude: float, level: int) -> int:
    return min(floor((longitude + 180) * (1 << level) / 360), (1 << level) - 1)


def _cell(row: int, column: int, level: int) -> str:
    digits = [str((row >> bit & 1) * 2 + (column >> bit & 1)) for bit in range(level - 1, -1, -1)]
    return "".join(digits)
