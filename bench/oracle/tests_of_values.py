"""One value of a resource against one written value: R4's table of parameter types."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import asin, cos, dist, radians, sin
from typing import Any

from bench.oracle.elements import Row, Value
from bench.oracle.quantities import UCUM, converted, moments, numbers, unit_of, units
from bench.oracle.ranges import COMPARED, COMPARED_NUMBERS, date_asked, number_asked, prefixed
from bench.oracle.texts import displays, folded, has_words, parts, plain, strings

OWN_VERSION = "/_history/"
EARTH_METRES = 6_371_008.8


@dataclass(frozen=True, slots=True)
class Codes:
    """Value sets by URL, as (system, code), and per system the code above each code."""

    value_sets: Mapping[str, Sequence[tuple[str, str]]]
    parents: Mapping[str, Mapping[str, str]]

    def above(self, system: str, code: str) -> list[str]:
        """The code and all that subsume it."""
        found, known = [code], self.parents.get(system, {})
        while found[-1] in known:
            found.append(known[found[-1]])
        return found


NO_CODES = Codes({}, {})


@dataclass(frozen=True, slots=True)
class Setting:
    """What a test depends on besides its values: the parameter, now, our own base URL with its
    slash, what is known of codes, and what a resource (`Type/id`) is part of, itself included."""

    row: Row
    now: datetime
    base: str
    codes: Codes = NO_CODES
    wholes: Callable[[str], set[str]] = lambda name: {name}


Test = Callable[[Setting, Value, str], bool]


def codes(value: Value) -> list[tuple[str | None, str | None]]:
    """(system, code) of a token value."""
    content, datatype = value.content, value.datatype
    match datatype:
        case "CodeableConcept":
            return [(each.get("system"), each.get("code")) for each in content.get("coding", ())]
        case "Coding":
            return [(content.get("system"), content.get("code"))]
        case "Identifier":
            return [(content.get("system"), content.get("value"))]
        case "ContactPoint":
            systems = (None, content.get("use"), content.get("system"))
            return [(system, content.get("value")) for system in systems]
        case "code":
            return [(value.implied_system, content)]
        case "boolean" | "Boolean":
            return [(None, "true" if content else "false")]
        case _:
            return [(None, str(content))]


def token(setting: Setting, value: Value, text: str) -> bool:
    """`code`, `system|code`, `|code`, `system|`; a string does not mind case."""
    wanted = [plain(each) for each in parts(text, "|")]
    is_text = value.datatype in ("string", "markdown")
    for system, code in codes(value):
        is_code = code is not None and (
            code == wanted[-1] or (is_text and folded(code) == folded(wanted[-1]))
        )
        match wanted:
            case [_]:
                is_found = is_code
            case [asked, ""]:
                is_found = system == asked
            case [asked, _]:
                is_found = is_code and (system or "") == asked
            case _:
                raise ValueError(text)
        if is_found:
            return True
    return False


def token_in(setting: Setting, value: Value, text: str) -> bool:
    """A code of the value set; a `code` whose system nothing tells counts by itself."""
    known = setting.codes.value_sets[plain(text)]
    is_bare = value.datatype == "code" and value.implied_system is None
    return any(
        (system, code) in known or (is_bare and code in [each for _, each in known])
        for system, code in codes(value)
    )


def token_below(setting: Setting, value: Value, text: str) -> bool:
    """The code asked for, or one that it subsumes."""
    wanted, code = (plain(each) for each in parts(text, "|"))
    return any(
        system == wanted and own is not None and code in setting.codes.above(wanted, own)
        for system, own in codes(value)
    )


def token_above(setting: Setting, value: Value, text: str) -> bool:
    """The code asked for, or one that subsumes it."""
    wanted, code = (plain(each) for each in parts(text, "|"))
    subsuming = setting.codes.above(wanted, code)
    return any(system == wanted and own in subsuming for system, own in codes(value))


def of_type(_: Setting, value: Value, text: str) -> bool:
    """`system|code|value`: the type's system and code, and the identifier's value."""
    system, code, number = (plain(each) for each in parts(text, "|"))
    kinds = value.content.get("type", {}).get("coding", ())
    return value.content.get("value") == number and any(
        each.get("system") == system and each.get("code") == code for each in kinds
    )


def token_text(_: Setting, value: Value, text: str) -> bool:
    """See docs/spec-readings.md, "on tokens"; judged over one value at a time."""
    return has_words(plain(text), displays(value))


def begins(_: Setting, value: Value, text: str) -> bool:
    """A text of the value starts so, whatever the case and the accents."""
    return any(folded(each).startswith(folded(plain(text))) for each in strings(value))


def contains(_: Setting, value: Value, text: str) -> bool:
    """A text of the value has it somewhere."""
    return any(folded(plain(text)) in folded(each) for each in strings(value))


def exact(_: Setting, value: Value, text: str) -> bool:
    """A text of the value is just this."""
    return plain(text) in strings(value)


def uri(_: Setting, value: Value, text: str) -> bool:
    """The very uri."""
    return bool(value.content == plain(text))


def uri_below(_: Setting, value: Value, text: str) -> bool:
    """The value starts with what is asked for."""
    return str(value.content).startswith(plain(text))


def uri_above(_: Setting, value: Value, text: str) -> bool:
    """What is asked for starts with the value."""
    return plain(text).startswith(value.content)


def number(_: Setting, value: Value, text: str) -> bool:
    """The number compares as the prefix says."""
    prefix, rest = prefixed(plain(text))
    stored = numbers(value)
    return stored is not None and COMPARED_NUMBERS[prefix](stored, number_asked(prefix, rest))


def quantity(_: Setting, value: Value, text: str) -> bool:
    """`number`, `number|system|code` (UCUM converted), `number||code or unit`."""
    figure, *rest = [plain(each) for each in parts(text, "|")]
    prefix, written = prefixed(figure)
    stored, asked = numbers(value), number_asked(prefix, written)
    if stored is None:
        return False
    if not rest:
        return COMPARED_NUMBERS[prefix](stored, asked)
    system, code = rest
    wanted = unit_of(code) if system == UCUM else None
    if wanted is not None:
        known = [unit_of(own) for where, own, _ in units(value) if where == UCUM]
        unit = known[0] if known else None
        if unit is None or unit[0] != wanted[0]:
            return False
        return COMPARED_NUMBERS[prefix](converted(stored, unit), converted(asked, wanted))
    return any(
        _is_unit(each, system, code) and COMPARED_NUMBERS[prefix](stored, asked)
        for each in units(value)
    )


def _is_unit(unit: tuple[str | None, str | None, str | None], system: str, code: str) -> bool:
    where, own, text = unit
    return (where == system and own == code) if system else code in (own, text)


def date(setting: Setting, value: Value, text: str) -> bool:
    """The range of the date compares as the prefix says."""
    prefix, rest = prefixed(plain(text))
    stored = moments(value)
    return stored is not None and COMPARED[prefix](stored, date_asked(prefix, rest, setting.now))


def literal(value: Value, base: str) -> str | None:
    """The literal reference of a value, our own base taken off; None when there is none."""
    content = value.content
    if isinstance(content, Mapping) and "resourceType" in content:  # in a Bundle
        return f"{content['resourceType']}/{content['id']}" if "id" in content else None
    text = content.get("reference") if isinstance(content, Mapping) else content
    return text.removeprefix(base) if isinstance(text, str) else None


def reference(setting: Setting, value: Value, text: str) -> bool:
    """An id, `Type/id`, an absolute URL; a versioned reference is found without its version."""
    found = literal(value, setting.base)
    if found is None or found.startswith("#"):
        return False
    wanted = plain(text).removeprefix(setting.base)
    candidates = {found, found.partition(OWN_VERSION)[0]}
    if value.datatype == "canonical":
        candidates = {found, found.partition("|")[0]}
    if "/" in wanted or ":" in wanted:
        return wanted in candidates
    return any(f"{type_}/{wanted}" in candidates for type_ in targets(setting.row, value))


def targets(row: Row, value: Value) -> set[str]:
    """The types that the parameter refers to from this element."""
    declared = set(row.get("target", ()))
    possible = value.element.get("targets")
    return declared if possible is None else declared & set(possible)


def reference_of_type(type_: str) -> Test:
    """The test of `:[type]`."""

    def test(setting: Setting, value: Value, text: str) -> bool:
        wanted = plain(text).removeprefix(setting.base)
        full = wanted if "/" in wanted else f"{type_}/{wanted}"
        return full.startswith(type_ + "/") and reference(setting, value, full)

    return test


def reference_below(setting: Setting, value: Value, text: str) -> bool:
    """The resource asked for, or a part of it; of a canonical, a version that begins so."""
    if value.datatype == "canonical":
        url, _, version = plain(text).partition("|")
        own, _, own_version = str(value.content).partition("|")
        return own == url and f"{own_version}.".startswith(f"{version}." if version else "")
    found = _local(setting, value)
    return any(_full(type_, text) in setting.wholes(found) for type_ in targets(setting.row, value))


def reference_above(setting: Setting, value: Value, text: str) -> bool:
    """The resource asked for, or what it is part of."""
    found = _local(setting, value)
    return any(found in setting.wholes(_full(type_, text)) for type_ in targets(setting.row, value))


def _local(setting: Setting, value: Value) -> str:
    return (literal(value, setting.base) or "").partition(OWN_VERSION)[0]


def _full(type_: str, text: str) -> str:
    return text if "/" in text else f"{type_}/{text}"


def near(_: Setting, value: Value, text: str) -> bool:
    """`latitude|longitude|distance|units`, on a sphere; ten kilometres when nothing is said."""
    figures = [*parts(text, "|"), "", ""]
    if not {"latitude", "longitude"} <= value.content.keys():
        return False
    factor = {"": 1000, "km": 1000, "m": 1}[figures[3]]
    metres = float(figures[2] or 10) * factor if figures[2] else 10_000
    here = _on_sphere(float(figures[0]), float(figures[1]))
    there = _on_sphere(float(value.content["latitude"]), float(value.content["longitude"]))
    chord = dist(here, there)
    return 2 * EARTH_METRES * asin(min(1.0, chord / 2)) <= metres


def _on_sphere(latitude: float, longitude: float) -> tuple[float, float, float]:
    north, east = radians(latitude), radians(longitude)
    return cos(north) * cos(east), cos(north) * sin(east), sin(north)


def reference_identifier(setting: Setting, value: Value, text: str) -> bool:
    """The logical identifier of the reference, as a token."""
    content: Any = value.content
    found = content.get("identifier") if isinstance(content, Mapping) else None
    return found is not None and token(setting, Value(found, "Identifier", {}), text)


TESTS: Mapping[tuple[str, str], Test] = {
    ("token", ""): token,
    ("token", "text"): token_text,
    ("token", "of-type"): of_type,
    ("token", "in"): token_in,
    ("token", "below"): token_below,
    ("token", "above"): token_above,
    ("string", ""): begins,
    ("string", "contains"): contains,
    ("string", "exact"): exact,
    ("uri", ""): uri,
    ("uri", "below"): uri_below,
    ("uri", "above"): uri_above,
    ("number", ""): number,
    ("quantity", ""): quantity,
    ("date", ""): date,
    ("reference", ""): reference,
    ("reference", "identifier"): reference_identifier,
    ("reference", "below"): reference_below,
    ("reference", "above"): reference_above,
    ("special", ""): near,
}
"""(parameter type, modifier) → the test of one value. `:not` and `:missing` are about the whole
resource, `:[type]` is `reference_of_type`."""
