"""A measured value in the unit agreed for its vital sign: taken over, converted, or left out."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fhir_server.fhir.assessment import VITAL_SIGNS
from models.symptoms.rule import UNITS

# (vital sign, UCUM code it came in) → the exact conversion to the agreed unit.
CONVERSIONS: Mapping[tuple[str, str], Callable[[float], float]] = {
    ("temperature", "[degF]"): lambda value: (value - 32) / 1.8,
    ("weight", "g"): lambda value: value / 1000,
    ("weight", "[lb_av]"): lambda value: value * 0.45359237,
    ("height", "m"): lambda value: value * 100,
    ("height", "[in_i]"): lambda value: value * 2.54,
    ("hemoglobin", "g/L"): lambda value: value / 10,
}
# UCUM spells the litre in two ways and "per minute" in two. The last two are not UCUM, but so
# common beside it that a measured blood pressure would be lost.
_SPELLINGS = {
    "g/dl": "g/dL",
    "g/l": "g/L",
    "min-1": "/min",
    "mmHg": "mm[Hg]",
    "mm Hg": "mm[Hg]",
}
# UCUM 2.4: text in braces says what was counted, and ends a unit or stands for 1.
_ANNOTATION = re.compile(r"\{[!-z|~]*\}(?=$|[./)])")
_WRITTEN = {**UNITS, "[degF]": "°F", "[lb_av]": "lb", "[in_i]": "in"}


@dataclass(frozen=True)
class Reading:
    """The value in the agreed unit, None when it can't be used; `remark` says what was done with
    a value that could not be taken over as it stood."""

    value: float | None
    remark: str = ""


def in_agreed_unit(vital: str, value: float, unit: str | None) -> Reading:
    """`value` in the unit of VITAL_SIGNS; outside its possible range it is left out."""
    sign, ucum = VITAL_SIGNS[vital], _ucum(unit or "")
    given = f"{sign.display} of {value:g} {_WRITTEN.get(ucum, unit) or 'without a unit'}"
    if ucum == sign.unit:
        agreed, remark = value, ""
    elif (vital, ucum) in CONVERSIONS:
        agreed = round(CONVERSIONS[vital, ucum](value), 2)
        remark = f"{given}: read as {agreed:g} {_WRITTEN.get(sign.unit, sign.unit)}."
    else:
        return Reading(None, f"{given}: left out, the unit is not known here.")
    low, high = sign.possible
    if not low <= agreed <= high:
        return Reading(None, f"{given}: left out, no patient can have it; measure again.")
    return Reading(agreed, remark)


def _ucum(unit: str) -> str:
    """The unit without annotations, which change no value, as the table above spells it."""
    bare = _ANNOTATION.sub("", _SPELLINGS.get(unit, unit))
    bare = bare.removeprefix(".") if unit.startswith("{") else bare
    bare = bare.removeprefix("1") if bare.startswith("1/") else bare
    return _SPELLINGS.get(bare, bare)


def with_comparator(vital: str, reading: Reading, comparator: str) -> Reading:
    """A value that was only said to lie beyond a limit: the nearest number beyond it stands for
    it, so that "below 90" is below 90, and this is told (the true value may be graver)."""
    assert reading.value is not None  # what was left out needs no further remark
    sign = VITAL_SIGNS[vital]
    unit = _WRITTEN.get(sign.unit, sign.unit)
    remark = f"{sign.display} was given as {comparator} {reading.value:g} {unit}: read as that."
    beyond = {"<": -math.inf, ">": math.inf}.get(comparator, reading.value)
    value = math.nextafter(reading.value, beyond)
    return Reading(value, " ".join(filter(None, (reading.remark, remark))))


def replaced(vital: str, before: Reading) -> str:
    """The remark that an earlier value gave way to another of the same sign; empty for one that
    was left out anyway."""
    if before.value is None:
        return ""
    sign = VITAL_SIGNS[vital]
    value = f"{before.value:g} {_WRITTEN.get(sign.unit, sign.unit)}"
    return f"{sign.display} of {value}: another value came after it; this one was left out."
