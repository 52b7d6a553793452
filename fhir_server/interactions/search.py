"""Search on a type (R4 Search): criteria in, a searchset Bundle out.

Stored bodies go into the Bundle as they are; only resources that an `_include` starts from are
parsed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import orjson

from fhir_server.fhir.codec import instant, parse
from fhir_server.fhir.outcome import Issue, not_found, operation_outcome, too_costly
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.search import include as including
from fhir_server.search.parse import PASSED_ON, RESULT_PARAMETERS, Include
from fhir_server.search.plan import Plan, Scope, plan_search
from fhir_server.storage.port import Key, Page, Stored

MOST_INCLUDED = 5000
"""Most resources that one page may include."""

MOST_ROUNDS = 10
"""Longest way that `:iterate` follows."""


async def search_type(context: Context, request: FhirRequest) -> FhirResponse:
    """Search the current resources of `request.type`; refusals are FhirErrors that name the
    parameter."""
    if request.type is None:
        raise not_found("a search without a type")
    scope = Scope(context.registry, context.clock(), context.base_url)
    is_lenient = request.handling == "lenient"
    plan = plan_search(scope, request.type, request.query, is_lenient=is_lenient)
    if plan.options.is_count_only:
        return _answer(context, plan, _Results(total=await context.store.count(plan.query)))
    binding = _binding(context, plan)
    query = plan.query
    if plan.options.cursor is not None:
        query = replace(query, after=context.cursors.open(plan.options.cursor, binding))
    page = await context.store.find(query)
    results = _Results(
        matches=page.matches,
        included=await _included(context, plan.options.includes, page.matches),
        total=await _total(context, plan, page),
        next_cursor=None if page.next is None else context.cursors.seal(page.next, binding),
    )
    return _answer(context, plan, results)


@dataclass(frozen=True, slots=True)
class _Results:
    matches: Sequence[Stored] = ()
    included: Sequence[Stored] = ()
    total: int | None = None
    next_cursor: str | None = None


def _binding(context: Context, plan: Plan) -> str:
    """A cursor fits the caller that it was made for, and the same criteria and order."""
    asked = sorted(pair for pair in plan.applied if pair[0].partition(":")[0] not in _FREE)
    return repr((context.access.binding, plan.query.type, asked))


_FREE = frozenset(PASSED_ON.union(RESULT_PARAMETERS) - {"_sort"})
"""Parameters that may change from page to page."""


async def _total(context: Context, plan: Plan, page: Page) -> int | None:
    """The exact number of matches when asked for, or when this page shows them all."""
    if plan.options.wants_total:
        return await context.store.count(plan.query)
    is_whole = plan.options.cursor is None and page.next is None
    return len(page.matches) if is_whole and plan.options.wants_total is None else None


async def _included(
    context: Context, includes: Sequence[Include], matches: Sequence[Stored]
) -> list[Stored]:
    """What the includes lead to from the matches, each resource once and no match again."""
    known = {stored.key: stored for stored in matches}
    found: dict[Key, Stored] = {}
    start: Sequence[Stored] = matches
    for round_ in range(MOST_ROUNDS):
        asked = [each for each in includes if round_ == 0 or each.is_iterated]
        if not asked or not start:
            break
        reached = await _one_round(context, asked, start)
        new = {stored.key: stored for stored in reached if stored.key not in known}
        known.update(new)
        found.update(new)
        if len(found) > MOST_INCLUDED:
            raise too_costly(
                f"more than {MOST_INCLUDED} resources to include; ask for a smaller _count"
            )
        start = list(new.values())
    return list(found.values())


async def _one_round(
    context: Context, includes: Iterable[Include], start: Sequence[Stored]
) -> list[Stored]:
    forward = [each for each in includes if not each.is_reverse]
    keys: dict[Key, None] = {}
    for stored in start if forward else ():
        terms = context.extract(parse(stored.body))
        for each in forward:
            named = including.forward(each, stored.key.type, terms, context.registry)
            keys.update((Key(*reference), None) for reference in named)
    reached = await context.store.get_many(list(keys)) if keys else {}
    found = [reached[key] for key in keys if key in reached and not reached[key].is_deleted]
    limit = MOST_INCLUDED + 1
    for each in includes:
        if each.is_reverse:
            own = [(stored.key.type, stored.key.id) for stored in start]
            for query in including.reverse(each, own, context.registry, limit):
                found.extend((await context.store.find(query)).matches)
    return found


def _answer(context: Context, plan: Plan, results: _Results) -> FhirResponse:
    """The searchset, assembled from bytes."""
    base = context.base_url.rstrip("/")
    head = {
        "resourceType": "Bundle",
        "id": context.new_id(),
        "meta": {"lastUpdated": instant(context.clock())},
        "type": "searchset",
        **({} if results.total is None else {"total": results.total}),
        "link": _links(plan, base, results.next_cursor),
    }
    entries = [_entry(base, stored, b"match") for stored in results.matches]
    entries.extend(_entry(base, stored, b"include") for stored in results.included)
    if plan.ignored:
        entries.append(_outcome_entry(plan.ignored))
    body = orjson.dumps(head)
    if entries:
        body = body[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
    return FhirResponse(200, body)


def _entry(base: str, stored: Stored, mode: bytes) -> bytes:
    url = orjson.dumps(f"{base}/{stored.key}")
    return b"".join(
        (b'{"fullUrl":', url, b',"resource":', stored.body, b',"search":{"mode":"', mode, b'"}}')
    )


def _outcome_entry(issues: Iterable[Issue]) -> bytes:
    outcome = {"resource": operation_outcome(issues), "search": {"mode": "outcome"}}
    return orjson.dumps(outcome)


def _links(plan: Plan, base: str, next_cursor: str | None) -> list[dict[str, str]]:
    """The link of what was applied, and that of the page after this."""
    links = [{"relation": "self", "url": _url(plan, base, plan.applied)}]
    if next_cursor is not None:
        kept = [pair for pair in plan.applied if pair[0] != "_cursor"]
        url = _url(plan, base, [*kept, ("_cursor", next_cursor)])
        links.append({"relation": "next", "url": url})
    return links


def _url(plan: Plan, base: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = "&".join(f"{quote(name, safe=':')}={quote(_applied(plan, name, value), safe=_SAFE)}"
                     for name, value in pairs)  # fmt: skip
    return f"{base}/{plan.query.type}{'?' if query else ''}{query}"


_SAFE = ":/|,$-_.~"


def _applied(plan: Plan, name: str, value: str) -> str:
    """The value that counted: a `_count` above the limit was cut to it."""
    is_page_size = name == "_count" and not plan.options.is_count_only
    return str(plan.options.count) if is_page_size else value
