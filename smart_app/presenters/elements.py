"""FHIR datatypes as text: names, codes, quantities, values and references."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from smart_app.language import gettext as _
from smart_app.presenters.times import show_time

Element = Mapping[str, Any]

# How units are shown where the UCUM code is not what people write.
UNITS: Mapping[str, str] = {"Cel": "°C", "mm[Hg]": "mmHg", "/min": "/min"}


def show_concept(concept: Element | None) -> str:
    """The text of a CodeableConcept: its own words, else a display, else the code."""
    if not concept:
        return _("Not known")
    codings = concept.get("coding", ())
    shown = [coding["display"] for coding in codings if "display" in coding]
    codes = [coding["code"] for coding in codings if "code" in coding]
    return str(concept.get("text") or next(iter([*shown, *codes]), _("Not known")))


def has_code(concept: Element | None, system: str, code: str) -> bool:
    """Whether a CodeableConcept has this coding."""
    return any(
        coding.get("system") == system and coding.get("code") == code
        for coding in (concept or {}).get("coding", ())
    )


def code_in(concept: Element | None, system: str) -> str | None:
    """The first code of this system in a CodeableConcept."""
    codings = (concept or {}).get("coding", ())
    return next((c.get("code") for c in codings if c.get("system") == system), None)


def show_number(value: Any) -> str:
    """A number without exponent, as many digits as it was given with."""
    return f"{value:f}" if isinstance(value, Decimal) else f"{value}"


def show_quantity(quantity: Element) -> str:
    """Value and unit, never one without the other."""
    unit = str(quantity.get("unit") or quantity.get("code") or "")
    number = f"{quantity.get('comparator', '')}{show_number(quantity.get('value', ''))}"
    return f"{number} {UNITS.get(unit, unit)}".strip() if unit != "1" else number


def show_value(element: Element) -> str:
    """The `value[x]` of an Observation, component or answer; why it is absent where it says so."""
    for name, value in element.items():
        if name.startswith("value") and name in _SHOWN:
            return str(_SHOWN[name](value))
    if "dataAbsentReason" in element:
        return _("No value: %(reason)s") % {"reason": show_concept(element["dataAbsentReason"])}
    return _("No value")


def _range(value: Element) -> str:
    low, high = (show_quantity(value[side]) if side in value else "" for side in ("low", "high"))
    return f"{low} – {high}"


def _ratio(value: Element) -> str:
    return " / ".join(show_quantity(value.get(side, {})) for side in ("numerator", "denominator"))


_SHOWN: Mapping[str, Any] = {
    "valueQuantity": show_quantity,
    "valueCodeableConcept": show_concept,
    "valueCoding": lambda coding: show_concept({"coding": [coding]}),
    "valueString": str,
    "valueBoolean": lambda value: _("Yes") if value else _("No"),
    "valueInteger": str,
    "valueDecimal": show_number,
    "valueDate": show_time,
    "valueDateTime": show_time,
    "valueRange": _range,
    "valueRatio": _ratio,
}


def show_name(names: Iterable[Element], *, family_first: bool = True) -> str:
    """The name to use now: `FAMILY, Given` for patients, `Prefix Given Family` for staff."""
    listed = [name for name in names if name.get("use") != "old"]
    if not listed:
        return _("Name not known")
    order = {"official": 0, "usual": 1}
    name = min(listed, key=lambda n: order.get(n.get("use", ""), 2))
    given, family = " ".join(name.get("given", ())), name.get("family", "")
    if not given and not family:
        return str(name.get("text") or _("Name not known"))
    if family_first:
        return ", ".join(part for part in (family.upper(), given) if part)
    return " ".join([*name.get("prefix", ()), given, family]).strip()
