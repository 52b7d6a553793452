"""Search parameters as written → one Query (R4 Search).

What is unknown, not built or malformed is refused by name; with lenient handling it is left out
instead, and the plan says so. That is decided here, once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import BUSY, FhirError, Issue, bad_parameter, too_costly, unsupported
from fhir_server.search import terms
from fhir_server.search.chains import chained, reverse
from fhir_server.search.codes import CodeResolver, NoCodes
from fhir_server.search.compiled import Shape, compiled
from fhir_server.search.composite import together
from fhir_server.search.expression import (
    NOTHING,
    Expression,
    HasRange,
    HasTerm,
    Not,
    Query,
    all_of,
    any_of,
)
from fhir_server.search.filter import Meaning, filtered
from fhir_server.search.full_text import content_key, narrative_key
from fhir_server.search.kinds import KINDS, reference
from fhir_server.search.kinds.asked import Asked, ValueTest
from fhir_server.search.kinds.text import split
from fhir_server.search.lists import listed
from fhir_server.search.parse import (
    NOT_BUILT,
    PASSED_ON,
    Options,
    find_parameter,
    near,
    not_built,
    read_option,
)
from fhir_server.search.readiness import require_standard
from fhir_server.search.registry import Parameter, Registry

MOST_VALUES = 1000
"""Most alternatives (commas) of one parameter."""

MOST_CRITERIA = 500
"""Most criteria of one search: each is a test of its own on every candidate."""

MOST_LINKS = 5
"""Longest chain."""

NOT_BUILT_MODIFIERS = frozenset({"in", "not-in", "above", "below", "text", "identifier"})
"""Modifiers of R4; refused as not built where a kind's table lacks them."""

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the meaning of a query depends on besides its text."""

    registry: Registry
    now: datetime
    base_url: str
    codes: CodeResolver = field(default_factory=NoCodes)

    @property
    def own_url(self) -> str:
        """The base URL with a final slash."""
        return self.base_url.rstrip("/") + "/"


@dataclass(frozen=True, slots=True)
class Plan:
    """A search ready to be run. `applied` are the parameters that count, as written;
    `ignored` says for each one left out why."""

    query: Query
    options: Options
    applied: tuple[tuple[str, str], ...]
    ignored: tuple[Issue, ...] = ()


def plan_search(
    scope: Scope,
    type_: str,
    pairs: Pairs,
    *,
    is_lenient: bool = False,
    among: frozenset[str] | None = None,
) -> Plan:
    """The plan of a search on one type; FhirError 400 naming the first parameter at fault.
    `among` are all types of the search that this one is a part of (empty: every type)."""
    options = Options()
    tests: list[Expression] = []
    applied: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    for name, value in pairs:
        try:
            pair = (name, value)
            is_passed_on = name in PASSED_ON
            place = (type_, among)
            changed = options if is_passed_on else read_option(options, scope.registry, place, pair)
            if changed is None:
                tests.append(criterion(scope, type_, name, value))
            else:
                options = changed
            applied.append((name, value))
        except FhirError as error:
            # What is being indexed is no mistake of the caller's that could be left out.
            if not is_lenient or name == "_cursor" or error.status == BUSY:
                raise
            ignored.extend(ignored_issues(name, error))
        if len(tests) > MOST_CRITERIA:
            raise too_costly(
                f"more than {MOST_CRITERIA} criteria; alternatives of one parameter are one,"
                " with commas"
            )
    query = Query(type_, all_of(tests), options.sort, options.count)
    return Plan(query, options, tuple(applied), tuple(ignored))


def ignored_issues(name: str, refusal: FhirError) -> list[Issue]:
    """What a lenient caller is told of a parameter that was left out."""
    return [
        Issue("warning", issue.code, f"ignored {name}: {issue.diagnostics}")
        for issue in refusal.issues
    ]


def criterion(scope: Scope, type_: str, name: str, value: str, links: int = 0) -> Expression:
    """One search criterion on resources of a type; `links` counts the chain so far."""
    if links > MOST_LINKS:
        raise too_costly(f"{name}: more than {MOST_LINKS} links in one chain")
    if name.startswith("_has:"):
        return reverse(
            scope.registry,
            type_,
            name,
            lambda source, rest: criterion(scope, source, rest, value, links + 1),
        )
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    if code in NOT_BUILT:
        raise not_built(code)
    if code == "_list":
        require_standard(scope.registry)
        return listed(head, _alternatives(head, value))
    if code == "_filter":
        if name != "_filter":
            raise bad_parameter(f"{name}: _filter has no modifiers, and its paths stand in it")
        return filtered(_meaning(scope, links), type_, value)
    parameter = find_parameter(scope.registry, type_, code)
    shape = compiled(scope.registry, type_).shapes[code]
    if dot:
        return chained(
            parameter, modifier, lambda target: criterion(scope, target, rest, value, links + 1)
        )
    if modifier == "missing":
        return _missing(parameter, value)
    test, is_negated = _modified(scope, parameter, shape, modifier)
    asked = _asked(scope, parameter, shape, head)
    alternatives = _composites(parameter, head, value) or _alternatives(head, value)
    found = any_of(test(asked, each) for each in alternatives)
    return Not(found) if is_negated else found


def _alternatives(label: str, value: str) -> list[str]:
    values = split(value, ",")
    if not all(values):
        what = "has no value" if len(values) == 1 else "has an empty value between commas"
        raise bad_parameter(f"{label} {what}")
    if len(values) > MOST_VALUES:
        raise too_costly(f"{label}: more than {MOST_VALUES} values; send several requests")
    return values


def _composites(parameter: Parameter, label: str, value: str) -> list[str] | None:
    """A composite whose only `$` stand between lists (`a,b$c`) means each combination
    (docs/spec-readings.md, "Lists inside a composite"); None for any other value."""
    parts = split(value, "$")
    if parameter.kind != "composite" or len(parts) != len(parameter.components):
        return None
    return ["$".join(each) for each in product(*(_alternatives(label, part) for part in parts))]


def _asked(scope: Scope, parameter: Parameter, shape: Shape, label: str) -> Asked:
    return Asked(
        label=label,
        key=parameter.key,
        now=scope.now,
        own_url=scope.own_url,
        is_repeating=shape.is_repeating,
        targets=parameter.targets,
        datatypes=shape.datatypes,
        codes=scope.codes,
    )


def _meaning(scope: Scope, links: int) -> Meaning:
    def asked(parameter: Parameter, label: str) -> Asked:
        shape = compiled(scope.registry, parameter.type).shapes[parameter.code]
        return _asked(scope, parameter, shape, label)

    return Meaning(scope.registry, MOST_LINKS - links, asked, _missing)


def _missing(parameter: Parameter, value: str) -> Expression:
    if value not in ("true", "false"):
        raise bad_parameter(f"{parameter.code}:missing is true or false, not {value!r}")
    if parameter.code in ("_id", "_lastUpdated"):  # every resource has them
        return NOTHING if value == "true" else all_of(())
    present = _present(parameter)
    return Not(present) if value == "true" else present


def _present(parameter: Parameter) -> Expression:
    """The resource has a value of the parameter; of words, any word."""
    match parameter.kind:
        case "narrative":
            return HasRange(parameter.key, None, None)
        case "content":
            keys = (narrative_key(parameter.type), content_key(parameter.type))
            return any_of(HasRange(key, None, None) for key in keys)
        case "age":
            return HasTerm(terms.has_key(parameter.type), "birthdate")
        case _:
            return HasTerm(terms.has_key(parameter.type), parameter.code)


def _modified(
    scope: Scope, parameter: Parameter, shape: Shape, modifier: str
) -> tuple[ValueTest, bool]:
    """The test of one value under a modifier, and whether the whole is negated."""
    if parameter.kind == "composite":
        if modifier:
            raise bad_parameter(f"{parameter.code} is a composite; it has no :{modifier}")
        return _composite_test(scope, parameter), False
    kind = KINDS[parameter.kind]
    if modifier in kind.modifiers:
        return kind.modifiers[modifier], False
    if modifier in kind.negations:
        return kind.modifiers[kind.negations[modifier]], True
    if parameter.kind == "reference" and modifier in resource_types():
        if modifier not in parameter.targets:
            raise bad_parameter(
                f"{parameter.code} of {parameter.type} does not refer to {modifier}"
            )
        return reference.of_type(modifier), False
    text = f"{parameter.code}:{modifier} on {parameter.type}"
    if modifier in NOT_BUILT_MODIFIERS:
        raise unsupported(f"{text}: the modifier is not supported by this server")
    known = ["missing", *(each for each in kind.modifiers if each), *kind.negations]
    if parameter.kind == "reference":
        known.extend(parameter.targets)
    raise bad_parameter(
        f"{text}: {modifier!r} is no modifier of a {parameter.fhir_type} parameter"
        f"{near(modifier, known)}"
    )


def _composite_test(scope: Scope, parameter: Parameter) -> ValueTest:
    def test(_: Asked, value: str) -> Expression:
        parts = split(value, "$")
        if len(parts) != len(parameter.components) or not all(parts):
            codes = "$".join(each.parameter.code for each in parameter.components)
            raise bad_parameter(f"{parameter.code}: {value!r} is not {codes}")
        tests = []
        for component, part in zip(parameter.components, parts, strict=True):
            inner = component.parameter
            known = compiled(scope.registry, parameter.type).shapes[inner.code]
            one = replace(known, is_repeating=False)
            asked = _asked(scope, inner, one, f"{parameter.code} ({inner.code})")
            tests.append(KINDS[inner.kind].modifiers[""](asked, part))
        return together(parameter.key, tests)

    return test
