"""Searches on a type, over several types and in a compartment (R4 Search): criteria in, a
searchset Bundle out."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.narrow import Narrowing, narrowing_of
from fhir_server.fhir.outcome import FhirError, Issue, bad_parameter, not_found, unsupported
from fhir_server.interactions import merged
from fhir_server.interactions.codes import with_codes
from fhir_server.interactions.contained import alone, plans_inside
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.included import included
from fhir_server.interactions.searchset import Form, Found, searchset
from fhir_server.search.advice import Candidates, advised, is_too_costly
from fhir_server.search.compartment import members, types_of
from fhir_server.search.expression import all_of
from fhir_server.search.parse import PASSED_ON, RESULT_PARAMETERS, Options
from fhir_server.search.plan import Plan, Scope, plan_search
from fhir_server.search.readiness import require_standard
from fhir_server.search.several import After, by_type, plan_all, plan_named, split_types
from fhir_server.storage.port import Page

_FREE = frozenset(PASSED_ON.union(RESULT_PARAMETERS) - {"_sort"})
"""Parameters that may change from page to page."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search ready to be run: `path` below the base, one plan for each type, and the
    parameters that were applied. `contained` is what was asked of contained resources that are
    sent without their containers."""

    path: str
    plans: Sequence[Plan]
    applied: Sequence[tuple[str, str]]
    ignored: Sequence[Issue]
    options: Options
    is_lenient: bool
    contained: Plan | None = None

    @property
    def is_single(self) -> bool:
        """Whether there is one type only, in the URL: its cursors name no type."""
        return len(self.plans) == 1 and self.path.rpartition("/")[2] == self.plans[0].query.type


async def search_type(context: Context, request: FhirRequest) -> FhirResponse:
    """Search the current resources of `request.type`, in a compartment if the request names one;
    refusals are FhirErrors that name the parameter."""
    return await _run(context, request, await planned(context, request))


async def planned(context: Context, request: FhirRequest) -> Search:
    """The search on one type that the request asks for, not yet run."""
    if request.type is None:
        raise not_found("a search without a type")
    is_lenient = request.handling == "lenient"
    ask = partial(plan_search, type_=request.type, pairs=request.query, is_lenient=is_lenient)
    plan = await with_codes(context.store, _scope(context), ask)
    if request.compartment is not None:
        require_standard(context.registry)
        plan = _inside(plan, request.compartment)
    plans, contained = [plan], None
    if plan.options.contained != "false":
        if request.compartment is not None:
            raise unsupported("_contained in a compartment: what is contained is in none")
        plans = plans_inside(context, plan)
        contained = None if plan.options.is_container_sent else plan
    told = (plan.applied, plan.ignored, plan.options, is_lenient)
    return Search(_path(request), plans, *told, contained)


async def search_system(context: Context, request: FhirRequest) -> FhirResponse:
    """Search several types: those that `_type` names, else all that the caller may search (in a
    compartment: that it holds)."""
    named, pairs = split_types(request.query)
    types = _searched_types(context, request, named)
    is_lenient = request.handling == "lenient"
    ask = partial(plan_named, types=types, pairs=pairs, is_lenient=is_lenient)
    if named is None:
        is_bounded = request.compartment is not None
        ask = partial(
            plan_all, types=types, pairs=pairs, is_lenient=is_lenient, is_bounded=is_bounded
        )
    plans = await with_codes(context.store, _scope(context), ask)
    if request.compartment is not None:
        require_standard(context.registry)
        plans = [_inside(plan, request.compartment) for plan in plans]
    if not plans:
        return searchset(context, Form(_path(request), request.query), Found(total=0))
    first = plans[0]
    applied = first.applied if named is None else [("_type", ",".join(named)), *first.applied]
    search = Search(_path(request), plans, applied, first.ignored, first.options, is_lenient)
    return await _run(context, request, search)


def _scope(context: Context) -> Scope:
    return Scope(context.registry, context.clock(), context.base_url)


def _path(request: FhirRequest) -> str:
    if request.compartment is None:
        return request.type or ""
    focus_type, focus_id = request.compartment
    return f"{focus_type}/{focus_id}/{request.type or '*'}"


def _inside(plan: Plan, focus: tuple[str, str]) -> Plan:
    """The plan, for what lies in the compartment."""
    query = plan.query
    where = all_of([members(focus, query.type), query.where])
    return replace(plan, query=replace(query, where=where))


def _searched_types(
    context: Context, request: FhirRequest, named: Sequence[str] | None
) -> Sequence[str]:
    """The types that are searched. One that is named must be permitted, as it would have to be
    in a search of its own; of those that are not named, what the caller may not search is left
    out."""
    for type_ in named or ():
        context.access.require(type_, "s")
    if request.compartment is not None:
        known = types_of(request.compartment[0])
        for type_ in named or ():
            members(request.compartment, type_)
        return named or [type_ for type_ in known if context.access.permits(type_, "s")]
    return named or [
        type_ for type_ in sorted(resource_types()) if context.access.permits(type_, "s")
    ]


async def _run(context: Context, request: FhirRequest, search: Search) -> FhirResponse:
    if request.body:
        raise bad_parameter("a search takes its parameters from the URL or a form, not a resource")
    narrowing, search = narrowing_in(search)
    form = Form(search.path, _counted(search), narrowing)
    try:
        return searchset(context, form, await _found(context, search))
    except FhirError as refusal:
        raise await _advised(context, search, refusal) from None


async def _advised(context: Context, search: Search, refusal: FhirError) -> FhirError:
    """The refusal; one for being too costly also says what would make the search cheaper."""
    if not is_too_costly(refusal):
        return refusal
    plan = replace(search.plans[0], applied=tuple(search.applied))
    counted: Candidates = ()
    if not context.is_in_transaction:  # a unit holds up others
        with suppress(FhirError):
            counted = (await context.store.explain(plan.query)).candidates
    return advised(refusal, plan, context.registry, counted)


async def _found(context: Context, search: Search) -> Found:
    options = search.options
    if options.is_count_only:
        return Found(total=await _count(context, search), notes=search.ignored)
    binding = _binding(context, search)
    after = None if options.cursor is None else context.cursors.open(options.cursor, binding)
    page = await _page(context, search, after)
    if search.contained is not None:
        page = replace(page, matches=tuple(alone(context, search.contained, page.matches)))
    reached, notes = await included(context, options.includes, page.matches)
    total, missing = await _total(context, search, page)
    return Found(
        matches=page.matches,
        included=reached,
        total=total,
        next_cursor=None if page.next is None else context.cursors.seal(page.next, binding),
        notes=(*search.ignored, *notes, *missing),
    )


def place_of(context: Context, search: Search) -> After | None:
    """The place that the page begins after; FhirError 400 for a cursor of another search."""
    cursor = search.options.cursor
    return None if cursor is None else context.cursors.open(cursor, _binding(context, search))


async def _page(context: Context, search: Search, after: After | None) -> Page:
    if search.is_single:
        return await context.store.find(replace(search.plans[0].query, after=after))
    return await merged.find(context.store, by_type(search.plans), after)


async def _count(context: Context, search: Search) -> int:
    return sum([await context.store.count(plan.query) for plan in search.plans])


def _binding(context: Context, search: Search) -> str:
    """A cursor fits the caller that it was made for, and the same criteria and order."""
    asked = sorted(pair for pair in search.applied if pair[0].partition(":")[0] not in _FREE)
    types = [pair for pair in search.applied if pair[0] == "_type"]
    return repr((context.access.binding, search.path, asked, types))


async def _total(
    context: Context, search: Search, page: Page
) -> tuple[int | None, Sequence[Issue]]:
    """The exact number of matches when asked for, or when this page shows them all. An estimate
    that would take too long is left out, and said to be."""
    wants = search.options.wants_total
    if wants:
        try:
            return await _count(context, search), ()
        except FhirError as refusal:
            if not search.options.may_lack_total or not is_too_costly(refusal):
                raise
            return None, (Issue("warning", "too-costly", "the total would take too long to count"),)
    is_whole = search.options.cursor is None and page.next is None
    return (len(page.matches) if is_whole and wants is None else None), ()


def narrowing_in(search: Search) -> tuple[Narrowing | None, Search]:
    """What part of the resources is asked for; what a lenient caller asked for in vain is said
    and not in the self link."""
    types = [plan.query.type for plan in search.plans]
    narrowing = narrowing_of(search.applied, types, is_lenient=search.is_lenient)
    if narrowing is None:
        return None, search
    if narrowing.form == "text" and search.options.includes:
        raise bad_parameter("_summary=text cannot be combined with _include or _revinclude")
    if not narrowing.unknown:
        return narrowing, search
    unknown = set(narrowing.unknown)
    text = f"ignored in _elements: {', '.join(narrowing.unknown)} is no element"
    pairs = ((name, _without(value, unknown, name)) for name, value in search.applied)
    applied = [(name, value) for name, value in pairs if value]
    ignored = (*search.ignored, Issue("warning", "invalid", text))
    left = replace(search, applied=applied, ignored=ignored)
    return (narrowing if narrowing.elements else None), left


def _without(value: str, unknown: set[str], name: str) -> str:
    if name != "_elements":
        return value
    return ",".join(each for each in value.split(",") if each.strip() not in unknown)


def _counted(search: Search) -> list[tuple[str, str]]:
    """The parameters as they counted: a `_count` above the limit was cut to it."""
    if search.options.is_count_only:
        return list(search.applied)
    count = str(search.options.count)
    return [(name, count if name == "_count" else value) for name, value in search.applied]
