"""Searches over several types at once (R4 Search, "Search Context"): planned for each type, and
their pages merged into one order.

The order of the whole is the sort keys, then the type, then the id; the place of a match is its
sort values, its type and its id, so that each type's own search can go on from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cmp_to_key

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import BUSY, FhirError, Issue, bad_parameter, too_costly
from fhir_server.search.expression import Query, SortKey
from fhir_server.search.parse import ALL_TYPES, RESULT_CODES, near
from fhir_server.search.plan import Pairs, Plan, Scope, ignored_issues, plan_search
from fhir_server.search.renamed import renamed

After = tuple[str | None, ...]

_FIRST_ID, _AFTER_EVERY_ID = "", "~"
"""Ids are letters, digits, `-` and `.`: none comes before the one or after the other."""

_ASKS_OF_NO_TYPE = RESULT_CODES | {"_list"}
"""What stands in the URL and in no resource: R4 defines no SearchParameter for it."""


def split_types(pairs: Pairs) -> tuple[tuple[str, ...] | None, list[tuple[str, str]]]:
    """The types that `_type` names (None without it) and the other pairs; FhirError 400 for a
    type that R4 does not have."""
    named: list[str] = []
    others: list[tuple[str, str]] = []
    for name, value in pairs:
        if name != "_type":
            others.append((name, value))
            continue
        for type_ in value.split(","):
            if type_ not in resource_types():
                known = near(type_, sorted(resource_types()))
                raise bad_parameter(f"_type: {type_!r} is not a resource type of R4{known}")
            named.append(type_)
    return (tuple(sorted(set(named))) if named else None), others


def plan_named(
    scope: Scope, types: Sequence[str], pairs: Pairs, *, is_lenient: bool = False
) -> list[Plan]:
    """A plan for each of the types: the parameters must be known to all of them, else FhirError
    400 naming the type that does not have one. With lenient handling what one of them can't do
    is ignored for all."""
    among = frozenset(types)
    kept: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    for pair in pairs:
        try:
            for type_ in types:
                plan_search(scope, type_, [pair], among=among)
        except FhirError as refusal:
            if not is_lenient or pair[0] == "_cursor" or refusal.status == BUSY:
                raise
            ignored.extend(ignored_issues(pair[0], refusal))
        else:
            kept.append(pair)
    plans = [plan_search(scope, type_, kept, is_lenient=is_lenient, among=among) for type_ in types]
    return [replace(plan, ignored=(*ignored, *plan.ignored)) for plan in plans]


def plan_all(
    scope: Scope,
    types: Sequence[str],
    pairs: Pairs,
    *,
    is_lenient: bool = False,
    is_bounded: bool = False,
) -> list[Plan]:
    """A plan for each type of a search that names none: only parameters that every resource has,
    planned once and renamed. FhirError 400 naming any other, and for a search without criteria,
    which would read the whole store unless it `is_bounded` to a compartment."""
    pairs = list(pairs)
    refused: list[tuple[str, FhirError]] = []
    for name, _ in pairs:
        code = name.partition(":")[0].partition(".")[0]
        if code not in _ASKS_OF_NO_TYPE and scope.registry.parameter(ALL_TYPES, code) is None:
            refusal = bad_parameter(
                f"{name}: not every resource has a parameter {code!r}; name the types to be"
                " searched with _type"
            )
            if not is_lenient:
                raise refusal
            refused.append((name, refusal))
    names = {name for name, _ in refused}
    kept = [pair for pair in pairs if pair[0] not in names]
    has_criteria = any(name.partition(":")[0] not in RESULT_CODES for name, _ in kept)
    if not (has_criteria or is_bounded):
        raise too_costly(
            "a search over all types without any criterion reads the whole store; name types with"
            " _type, or add a criterion that every resource has, such as _lastUpdated or _id"
        )
    plan = plan_search(scope, ALL_TYPES, kept, is_lenient=is_lenient, among=frozenset())
    ignored = [issue for name, refusal in refused for issue in ignored_issues(name, refusal)]
    plan = replace(plan, ignored=(*ignored, *plan.ignored))
    return [replace(plan, query=renamed(plan.query, type_)) for type_ in types]


def continued(query: Query, after: After) -> Query | None:
    """One type's part of what comes after a place of the whole; None when nothing of it does."""
    *values, type_, id_ = after
    assert type_ is not None
    if query.type == type_:
        return replace(query, after=(*values, id_))
    if query.type > type_:
        return replace(query, after=(*values, _FIRST_ID)) if query.sort else query
    return replace(query, after=(*values, _AFTER_EVERY_ID)) if query.sort else None


def order(sort: Sequence[SortKey]) -> Callable[[After], object]:
    """The key by which places are sorted: missing values last both ways, then type and id."""

    def compare(one: After, other: After) -> int:
        for key, mine, its in zip(sort, one, other, strict=False):
            if mine != its:
                if mine is None or its is None:
                    return 1 if mine is None else -1
                return -1 if (mine < its) is not key.is_descending else 1
        mine_last, its_last = one[len(sort) :], other[len(sort) :]
        return (mine_last > its_last) - (mine_last < its_last)

    return cmp_to_key(compare)


def place(query: Query, own: After) -> After:
    """The place in the whole of a match whose place in its own type is `own`."""
    return (*own[:-1], query.type, own[-1])


def by_type(plans: Sequence[Plan]) -> Mapping[str, Query]:
    """The queries, in the order of their types."""
    return {plan.query.type: plan.query for plan in sorted(plans, key=lambda each: each.query.type)}
