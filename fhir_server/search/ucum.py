"""UCUM units in canonical form, so that quantities compare across units.

A subset of UCUM's case-sensitive codes: its base units, the derived units that clinical data
uses, metric prefixes, `.` `/` exponents, parentheses and annotations. A unit that is not in the
table has no canonical form; it is then compared by its code alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

UCUM = "http://unitsofmeasure.org"

_CONTEXT = Context(prec=200)
_TOKEN = re.compile(r"[./()]|[^./()]+")
_COMPONENT = re.compile(r"(?P<unit>(?:\[[^\]]*\]|[^\[\]\d+-])*|10\*|10\^)(?P<power>[+-]?\d+)?")
_LONE_ANNOTATION = re.compile(r"(?<![^./(])\{[^{}]*\}")
_ANNOTATION = re.compile(r"\{[^{}]*\}")

_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip

_BASE = ("m", "s", "g", "rad", "K", "C", "cd")

_METRIC = {
    "mol": ("6.0221367e23", ""), "sr": ("1", "rad2"), "Hz": ("1", "s-1"),
    "N": ("1000", "g.m.s-2"), "Pa": ("1000", "g.m-1.s-2"), "J": ("1000", "g.m2.s-2"),
    "W": ("1000", "g.m2.s-3"), "A": ("1", "C.s-1"), "V": ("1000", "g.m2.s-2.C-1"),
    "Ohm": ("1000", "g.m2.s-1.C-2"), "S": ("0.001", "g-1.m-2.s.C2"),
    "F": ("0.001", "g-1.m-2.s2.C2"),
    "T": ("1000", "g.s-1.C-1"), "Bq": ("1", "s-1"), "Gy": ("1", "m2.s-2"), "Sv": ("1", "m2.s-2"),
    "kat": ("6.0221367e23", "s-1"), "U": ("1.00368945e16", "s-1"), "eq": ("6.0221367e23", ""),
    "osm": ("6.0221367e23", ""), "l": ("0.001", "m3"), "L": ("0.001", "m3"),
    "bar": ("1e8", "g.m-1.s-2"),
    "cal": ("4184", "g.m2.s-2"), "m[Hg]": ("133322000", "g.m-1.s-2"),
    "m[H2O]": ("9806650", "g.m-1.s-2"),
    "t": ("1e6", "g"), "eV": ("1.60217733e-16", "g.m2.s-2"), "dyn": ("0.01", "g.m.s-2"),
    "erg": ("0.0001", "g.m2.s-2"), "lm": ("1", "cd.rad2"), "lx": ("1", "cd.rad2.m-2"),
    "[iU]": ("1", "[iU]"), "[IU]": ("1", "[iU]"),
}  # fmt: skip
"""Derived units that take prefixes: factor and canonical unit. Arbitrary units stand for
themselves."""

_PLAIN = {
    "10*": ("10", ""), "10^": ("10", ""), "%": ("0.01", ""), "[ppth]": ("0.001", ""),
    "[ppm]": ("1e-6", ""), "[ppb]": ("1e-9", ""), "min": ("60", "s"), "h": ("3600", "s"),
    "d": ("86400", "s"), "wk": ("604800", "s"), "mo": ("2629800", "s"), "a": ("31557600", "s"),
    "deg": ("0.0174532925199432957692369076848861271", "rad"), "[in_i]": ("0.0254", "m"),
    "[ft_i]": ("0.3048", "m"), "[yd_i]": ("0.9144", "m"), "[mi_i]": ("1609.344", "m"),
    "[mi_us]": ("1609.34721869443738887477774955550", "m"),
    "[lb_av]": ("453.59237", "g"), "[oz_av]": ("28.349523125", "g"), "[gr]": ("0.06479891", "g"),
    "[foz_us]": ("2.95735295625e-5", "m3"), "[gal_us]": ("3.785411784e-3", "m3"),
    "[pt_us]": ("4.73176473e-4", "m3"), "[psi]": ("6894757.293168361", "g.m-1.s-2"),
    "[drp]": ("5e-8", "m3"), "[pH]": ("1", "[pH]"), "[degRe]": ("1.25", "K"),
    "Ao": ("1e-10", "m"), "[arb'U]": ("1", "[arb'U]"), "[CFU]": ("1", "[CFU]"),
}  # fmt: skip

_WITH_ZERO = {
    "Cel": (Fraction(1), Fraction("273.15")),
    "[degF]": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
}
"""Units whose zero is not zero: kelvin = factor · value + zero. They stand alone only."""


@dataclass(frozen=True, slots=True)
class CanonicalUnit:
    """A unit as a product of base units, and how a value gets there."""

    unit: str
    factor: Fraction
    zero: Fraction = Fraction(0)

    def convert(self, value: Decimal) -> Decimal:
        """The value in the canonical unit: multiplied first, so that what is equal stays so."""
        factor, zero = self.factor, self.zero
        numerator = _CONTEXT.multiply(value, Decimal(factor.numerator * zero.denominator))
        if zero:
            numerator = _CONTEXT.add(numerator, Decimal(zero.numerator * factor.denominator))
        denominator = factor.denominator * zero.denominator
        return numerator if denominator == 1 else _CONTEXT.divide(numerator, Decimal(denominator))


@lru_cache(maxsize=4096)
def canonical_unit(code: str) -> CanonicalUnit | None:
    """The canonical form of a UCUM code, None when it is not in the table."""
    if code in _WITH_ZERO:
        factor, zero = _WITH_ZERO[code]
        return CanonicalUnit("K", factor, zero)
    try:
        bare = _ANNOTATION.sub("", _LONE_ANNOTATION.sub("1", code))
        factor, dimensions = _Reader(bare).read()
    except (LookupError, ValueError):
        return None
    parts = [
        each if power == 1 else f"{each}{power}"
        for each, power in sorted(dimensions.items())
        if power
    ]
    return CanonicalUnit(".".join(parts) or "1", factor)


_Measure = tuple[Fraction, dict[str, int]]


class _Reader:
    """A recursive-descent reader of one unit expression."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text) or ["1"]

    def read(self) -> _Measure:
        """The whole expression; LookupError or ValueError when it cannot be read."""
        found = self._product()
        if self._tokens:
            raise ValueError("something is left over")
        return found

    def _product(self) -> _Measure:
        total: _Measure = (Fraction(1), {})
        sign = 1
        if self._tokens and self._tokens[0] == "/":
            sign = -1
            self._tokens.pop(0)
        while True:
            total = _times(total, self._factor(), sign)
            if not self._tokens or self._tokens[0] == ")":
                return total
            sign = {".": 1, "/": -1}[self._tokens.pop(0)]

    def _factor(self) -> _Measure:
        piece = self._tokens.pop(0)
        if piece != "(":
            return _component(piece)
        inner = self._product()
        if self._tokens.pop(0) != ")":
            raise ValueError("a parenthesis is left open")
        return inner


def _component(text: str) -> _Measure:
    if text.isdigit():
        return Fraction(int(text)), {}
    match = _COMPONENT.fullmatch(text)
    if match is None or not match["unit"]:
        raise ValueError(text)
    power = int(match["power"] or 1)
    if abs(power) > 30:
        raise ValueError(text)
    factor, dimensions = _unit(match["unit"])
    return factor**power, {name: count * power for name, count in dimensions.items()}


def _unit(name: str) -> _Measure:
    if name in _PLAIN:
        return _defined(_PLAIN, name)
    if name in _METRIC:
        return _defined(_METRIC, name)
    if name in _BASE:
        return Fraction(1), {name: 1}
    for length in (2, 1):
        prefix, rest = name[:length], name[length:]
        if prefix in _PREFIXES and (rest in _METRIC or rest in _BASE):
            factor, dimensions = _unit(rest)
            return factor * Fraction(10) ** _PREFIXES[prefix], dimensions
    raise LookupError(name)


def _defined(table: Mapping[str, tuple[str, str]], name: str) -> _Measure:
    factor, unit = table[name]
    if unit.startswith("["):
        return Fraction(factor), {unit: 1}
    if not unit:
        return Fraction(factor), {}
    return _times((Fraction(factor), {}), _Reader(unit).read(), 1)


def _times(left: _Measure, right: _Measure, sign: int) -> _Measure:
    dimensions = dict(left[1])
    for name, power in right[1].items():
        dimensions[name] = dimensions.get(name, 0) + sign * power
    return left[0] * right[0] ** sign, dimensions
