"""What makes a search cheaper: told to a caller whose search was too costly, and to one who asks
how a search would be answered."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.cost import ORDERED, is_listed, is_ordered, tests_in
from fhir_server.search.expression import AllOf, Expression, HasText
from fhir_server.search.plan import Plan
from fhir_server.search.registry import Registry

NARROWING = ("patient", "subject", "encounter", "identifier", "code", "date", "_lastUpdated")
"""Parameters that few resources share a value of, the most selective first."""
MOST_NAMED = 3
MANY = 400
"""From so many candidates on, one test alone does not make a search small."""

Candidates = Sequence[tuple[Expression, int]]
"""How many resources some of the tests find alone, as far as they were counted."""


def is_too_costly(refusal: FhirError) -> bool:
    """Whether something was refused for what it would cost."""
    return any(issue.code == "too-costly" for issue in refusal.issues)


def advised(
    refusal: FhirError, plan: Plan, registry: Registry, counted: Candidates = ()
) -> FhirError:
    """The refusal of a search that was too costly, with what would make it cheaper."""
    found = list(advice(plan, registry, counted))
    if not found:
        return refusal
    issues = tuple(
        replace(issue, diagnostics="; ".join((issue.diagnostics, *found)))
        if issue.code == "too-costly"
        else issue
        for issue in refusal.issues
    )
    return FhirError(refusal.status, issues, refusal.headers)


def advice(plan: Plan, registry: Registry, counted: Candidates = ()) -> Iterator[str]:
    """What would make the search cheaper, a sentence each."""
    query = plan.query
    helpful = _helpful(plan, registry)
    if helpful:
        yield f"what narrows a search on {query.type}: {', '.join(helpful)}"
    for param, count in _broad(counted):
        yield f"{param} alone has {count} candidates or more"
    for param in _scanned(query.where):
        yield f"{param} looks at every value, since it asks for text inside of values"
    if not is_listed(query.where) and query.where != AllOf():
        yield "no criterion is one that an index lists (:not, :missing=true and :contains are none)"
    if not is_ordered(query.sort):
        known = " or ".join(sorted(ORDERED))
        yield f"_sort by {known} alone has an index; any other puts all matches in order first"
    if plan.options.wants_total or plan.options.is_count_only:
        yield "a total counts all matches; _total=none, or estimate, does without"
    if plan.options.includes:
        yield "_include and _revinclude ask once more for each page; a smaller _count asks for less"


def _helpful(plan: Plan, registry: Registry) -> list[str]:
    used = {name.partition(":")[0].partition(".")[0] for name, _ in plan.applied}
    type_ = plan.query.type
    known = [code for code in NARROWING if registry.parameter(type_, code) is not None]
    return [code for code in known if code not in used][:MOST_NAMED]


def _broad(counted: Candidates) -> Iterator[tuple[str, int]]:
    """The tests with many candidates, where none has few."""
    if counted and min(count for _, count in counted) >= MANY:
        for test, count in counted:
            yield str(getattr(test, "param", "")), count


def _scanned(expression: Expression) -> list[str]:
    scans = (each for each in tests_in(expression) if isinstance(each, HasText))
    return list(dict.fromkeys(each.param.removesuffix("+") for each in scans))
