"""Search criteria of conditional interactions (R4 RESTful API, "Conditional create" …)."""

from urllib.parse import parse_qsl

from fhir_server.fhir.outcome import FhirError, bad_parameter, precondition_failed
from fhir_server.search.expression import Query, all_of
from fhir_server.search.parse import NOT_BUILT, PASSED_ON, RESULT_PARAMETERS
from fhir_server.search.plan import Pairs, Scope, criterion

ENOUGH = 2
"""Matches to ask for: whether there are none, one or more is all that matters."""


def parse_condition(
    scope: Scope, type_: str, condition: str | Pairs, *, limit: int = ENOUGH
) -> Query:
    """The Query of a condition: the text after the `?`, or its decoded pairs.

    Always strict: parameters that are unknown or not about the resource are refused, and so
    is a condition without any criterion (412), which would mean every resource.
    """
    pairs = _pairs(condition) if isinstance(condition, str) else list(condition)
    tests = []
    for name, value in pairs:
        if name in PASSED_ON:
            continue
        code = name.partition(":")[0]
        if code in RESULT_PARAMETERS or code in NOT_BUILT:
            raise bad_parameter(f"{name} has no place in a condition")
        tests.append(criterion(scope, type_, name, value))
    if not tests:
        raise _no_criteria()
    return Query(type_, all_of(tests), limit=limit)


def _pairs(condition: str) -> list[tuple[str, str]]:
    text = condition.partition("?")[2] if "?" in condition.partition("=")[0] else condition
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise bad_parameter(f"{condition!r} is not a search condition") from None


def _no_criteria() -> FhirError:
    return precondition_failed("the condition has no search criterion", "required")
