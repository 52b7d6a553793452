"""What Consents take from one caller, as expressions of terms (docs/spec-readings.md, "Consent").

A condition may be undecidable here: a date that a type doesn't have, the Organization of a
service. So each is two expressions, what surely meets it and what may meet it; permission is
given by the first, refusal by the second.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from fhir_server.fhir.dates import TimeRange, microseconds
from fhir_server.search import terms
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    Expression,
    HasRange,
    HasTerm,
    Not,
    all_of,
    any_of,
)
from fhir_server.search.registry import Registry
from fhir_server.security.actors import Actor
from fhir_server.security.consents import LOINC, RESOURCE_TYPES, Code, Provision
from fhir_server.security.labels import CONFIDENTIALITY, LEVELS, label_key, label_term

DOCUMENTS = {
    "Composition": ("type", "category"),
    "DiagnosticReport": ("code", "category"),
    "DocumentReference": ("type", "category"),
}
"""Where a LOINC class of documents stands."""
CODED = {"Immunization": "vaccine-code", "Observation": "combo-code"}
"""Where a code stands that is not under `code`."""
CONTENT = frozenset({"Binary"})
"""Types that tell nothing of what is in them."""
_SHOWN_BY_CONTENT = frozenset({"Binary", "DocumentReference", "Media", "DiagnosticReport"})


class Met(NamedTuple):
    """The resources of a type that meet a condition: surely, and perhaps."""

    surely: Expression
    maybe: Expression


ALWAYS = Met(EVERYTHING, EVERYTHING)
NEVER = Met(NOTHING, NOTHING)
PERHAPS = Met(NOTHING, EVERYTHING)


class Ruling(NamedTuple):
    """What a rule permits of a type, and what it denies."""

    permitted: Expression
    denied: Expression


@dataclass(frozen=True, slots=True)
class Judging:
    """For whom, and when, rules are put into expressions."""

    actor: Actor
    now: datetime
    registry: Registry


def ruling(provision: Provision, type: str, judging: Judging) -> Ruling:
    """What the provision, with its exceptions, says of resources of the type that are the
    patient's. Where exceptions contradict each other the stricter one holds."""
    met = _met(provision, type, judging)
    if met.maybe == NOTHING:
        return Ruling(NOTHING, NOTHING)
    exceptions = [ruling(each, type, judging) for each in provision.exceptions]
    denied = any_of(each.denied for each in exceptions)
    permitted = all_of([any_of(each.permitted for each in exceptions), _not(denied)])
    if provision.permits is None:
        return Ruling(all_of([met.surely, permitted]), all_of([met.maybe, denied]))
    if provision.permits:
        return Ruling(all_of([met.surely, _not(denied)]), all_of([met.maybe, denied]))
    return Ruling(all_of([met.surely, permitted]), all_of([met.maybe, _not(permitted)]))


def _not(expression: Expression) -> Expression:
    if expression == NOTHING:
        return EVERYTHING
    return NOTHING if expression == EVERYTHING else Not(expression)


def _met(rule: Provision, type: str, judging: Judging) -> Met:
    """The resources of the type that meet all conditions of one rule."""
    conditions = [
        _in_time(rule.period, judging.now),
        _by_actor(rule.actors, judging.actor),
        _by_purpose(rule.purposes, judging.actor),
        _by_class(rule.classes, type),
        _by_code(rule.codes, type, judging.registry),
        _by_label(rule.labels, type, permits=bool(rule.permits)),
        _by_date(rule.dates, type, judging.registry),
        _by_instance(rule.instances, type),
    ]
    return Met(all_of(each.surely for each in conditions), all_of(e.maybe for e in conditions))


def _any(alternatives: Iterable[Met]) -> Met:
    listed = list(alternatives)
    return Met(any_of(each.surely for each in listed), any_of(each.maybe for each in listed))


def _known(*expressions: Expression) -> Met:
    either = any_of(expressions)
    return Met(either, either)


def _in_time(period: TimeRange | None, now: datetime) -> Met:
    if period is None:
        return ALWAYS
    return ALWAYS if period.low <= microseconds(now) < period.high else NEVER


def _by_actor(named: frozenset[str], actor: Actor) -> Met:
    if not named or named & actor.names:
        return ALWAYS
    if not actor.is_person and any(each.startswith("Organization/") for each in named):
        return PERHAPS
    return NEVER


def _by_purpose(named: frozenset[str], actor: Actor) -> Met:
    if not named:
        return ALWAYS
    if actor.purposes is None:
        return PERHAPS
    return ALWAYS if named & actor.purposes else NEVER


def _by_class(classes: tuple[Code, ...], type: str) -> Met:
    return _any(_one_class(each, type) for each in classes) if classes else ALWAYS


def _one_class(content: Code, type: str) -> Met:
    code, system = content
    if system == RESOURCE_TYPES and code == type:
        return ALWAYS
    if type in CONTENT and (system == LOINC or code in _SHOWN_BY_CONTENT):
        return PERHAPS
    if system != LOINC or type not in DOCUMENTS:
        return NEVER
    term = terms.joined(code, LOINC)
    return _known(*(HasTerm(terms.key(type, each), term) for each in DOCUMENTS[type]))


def _by_code(codes: tuple[Code, ...], type: str, registry: Registry) -> Met:
    if not codes:
        return ALWAYS
    if type in CONTENT:
        return PERHAPS
    name = CODED.get(type, "code")
    parameter = registry.parameter(type, name)
    if parameter is None or parameter.kind != "token":
        return NEVER
    return _known(*(HasTerm(terms.key(type, name), terms.joined(*each)) for each in codes))


def _by_label(labels: tuple[Code, ...], type: str, *, permits: bool) -> Met:
    """Levels of confidentiality reach down where they permit and up where they deny; what has
    none is normal. Any other label stands for itself."""
    if not labels:
        return ALWAYS
    return _any(_one_label(each, type, permits=permits) for each in labels)


def _one_label(label: Code, type: str, *, permits: bool) -> Met:
    code, system = label
    key = label_key(type)
    if system != CONFIDENTIALITY or code not in LEVELS:
        return _known(HasTerm(key, terms.joined(code, system)))
    at = LEVELS.index(code)
    above = any_of(HasTerm(key, label_term(each)) for each in LEVELS[at + (1 if permits else 0) :])
    if permits:
        is_normal_above = at < LEVELS.index("N")
        lower = any_of(HasTerm(key, label_term(each)) for each in LEVELS[: at + 1])
        return _known(all_of([_not(above), lower if is_normal_above else EVERYTHING]))
    if at <= LEVELS.index("N"):
        levels = any_of(HasTerm(key, label_term(each)) for each in LEVELS)
        return _known(above, _not(levels))
    return _known(above)


def _by_date(dates: TimeRange | None, type: str, registry: Registry) -> Met:
    """What is dated within the range: surely when all of its dates are, perhaps when some date
    reaches into it, or there is none."""
    if dates is None:
        return ALWAYS
    parameter = registry.parameter(type, "date")
    if parameter is None or parameter.kind != "date":
        return PERHAPS
    key = terms.key(type, "date")
    low, high = terms.instant(dates.low), terms.instant(dates.high)
    is_dated = HasTerm(terms.has_key(type), "date")
    before, after = HasRange(f"{key}<", None, low), HasRange(f"{key}>", terms.above(high), None)
    reaches_in = all_of(
        [HasRange(f"{key}<", None, high), HasRange(f"{key}>", terms.above(low), None)]
    )
    return Met(all_of([is_dated, Not(before), Not(after)]), any_of([reaches_in, Not(is_dated)]))


def _by_instance(instances: tuple[tuple[str, str], ...], type: str) -> Met:
    if not instances:
        return ALWAYS
    key = terms.key(type, "_id")
    return _known(*(HasTerm(key, id) for of, id in instances if of == type))
