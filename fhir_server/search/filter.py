"""`_filter` (R4 Search, "_filter Parameter"): a written filter → an expression on one type."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fhir_server.fhir.outcome import FhirError, bad_parameter, too_costly, unsupported
from fhir_server.search.chains import chained
from fhir_server.search.expression import Expression, Not, all_of, any_of
from fhir_server.search.filter_operators import as_searched, operators_of
from fhir_server.search.filter_text import Filter, Joined, Negated, Step, Test, parse_filter
from fhir_server.search.kinds.asked import Asked
from fhir_server.search.parse import find_parameter
from fhir_server.search.registry import Parameter, Registry

MOST_PLANNED = 2000
"""Most tests that come of one filter: a path may lead to many types, each with its own."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """How parameters are asked for: as in searches without a filter. `missing` takes the `true`
    or `false` of `:missing`."""

    registry: Registry
    most_links: int
    asked: Callable[[Parameter, str], Asked]
    missing: Callable[[Parameter, str], Expression]


def filtered(meaning: Meaning, type_: str, text: str) -> Expression:
    """The resources of a type that pass the filter; FhirError 400 naming the column of what
    has no meaning."""
    planner = _Planner(meaning)
    found = planner.expression(parse_filter(text), type_, 0)
    planner.require_small()
    return found


class _Planner:
    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._planned = 0

    def require_small(self) -> None:
        """FhirError 400 when too much came of the filter. A chain leaves out types to which its
        rest means nothing; so the end decides, lest it leave out some for this."""
        if self._planned > MOST_PLANNED:
            raise too_costly(f"_filter: its paths lead to more than {MOST_PLANNED} tests")

    def expression(self, found: Filter, type_: str, links: int) -> Expression:
        """A part of the filter, on resources of a type that `links` have led to."""
        match found:
            case Joined(word, parts):
                tests = [self.expression(part, type_, links) for part in parts]
                return all_of(tests) if word == "and" else any_of(tests)
            case Negated(part):
                return Not(self.expression(part, type_, links))
            case Test():
                try:
                    return self._path(found, found.path, type_, links)
                except FhirError as refusal:
                    raise _placed(refusal, found.column) from None
        raise TypeError(f"no filter: {found!r}")

    def _path(self, test: Test, path: tuple[Step, ...], type_: str, links: int) -> Expression:
        self._planned += 1
        self.require_small()
        step, *rest = path
        if step.name == "_filter":
            raise bad_parameter("a filter has no _filter in it; use parentheses")
        parameter = find_parameter(self._meaning.registry, type_, step.name)
        if not rest:
            return self._compared(parameter, test)
        if links >= self._meaning.most_links:
            raise too_costly(f"more than {self._meaning.most_links} links in one chain")

        def inner(target: str) -> Expression:
            passed = self._path(test, tuple(rest), target, links + 1)
            if step.inside is None:
                return passed
            return all_of([self.expression(step.inside, target, links + 1), passed])

        return chained(parameter, "", inner)

    def _compared(self, parameter: Parameter, test: Test) -> Expression:
        value, operator = test.value, test.operator
        label = f"{parameter.code} {operator}"
        if operator == "pr":
            if value not in ("true", "false"):
                raise bad_parameter(f"{label} takes true or false, not {value!r}")
            return self._meaning.missing(parameter, "false" if value == "true" else "true")
        known = operators_of(parameter.kind)
        if operator not in known:
            text = ", ".join([*known, "pr"])
            what = f"{label}: a {parameter.fhir_type} has no {operator} here; it has {text}"
            raise unsupported(what)
        asked = self._meaning.asked(parameter, label)
        return known[operator](asked, as_searched(parameter.kind, value))


def _placed(refusal: FhirError, column: int) -> FhirError:
    """The refusal, saying where in the filter; once is enough."""
    issues = tuple(
        issue
        if issue.diagnostics.startswith("_filter")
        else replace(issue, diagnostics=f"_filter, column {column}: {issue.diagnostics}")
        for issue in refusal.issues
    )
    return FhirError(refusal.status, issues, refusal.headers)
