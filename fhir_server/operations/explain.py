"""$explain: how a search would be answered (an operation of this server), without running it.

Who may not see every resource that the search asks about is told what it means and which orders
have an index, and nothing that follows from how many candidates there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from fhir_server.fhir.outcome import FhirError, operation_outcome, unsupported
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.search import Search, narrowing_in, place_of, planned
from fhir_server.operations.operation import Operation, OperationRequest
from fhir_server.operations.own import definition_url
from fhir_server.search.advice import MANY, advice
from fhir_server.search.cost import is_listed, is_ordered
from fhir_server.search.expression import AllOf, Expression, Query
from fhir_server.search.parse import Include
from fhir_server.search.readable import asked as asks
from fhir_server.search.readable import inner
from fhir_server.storage.port import COUNTED_TO, Explanation

Part = dict[str, Any]
Counts = Mapping[Expression, int]

MOST_NODES = 200
"""Most nodes of an expression that are shown."""

RESTRICTED = (
    "the plan and the candidates are shown to those who may see every resource that the search"
    " asks about"
)


async def explain(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and a Parameters, for a search that would be refused too."""
    if context.is_in_transaction:
        raise unsupported("$explain inside a transaction; use a batch")
    request = replace(asked.request, query=asked.search, body=b"")
    try:
        _, search = narrowing_in(await planned(context, request))
        one = await _explained(context, search)
    except FhirError as refusal:
        if refusal.status != 400:
            raise
        return _answer([_refused(True), _resource("outcome", refusal)])
    if one is None:
        raise unsupported("$explain of a search with _contained: it is one search for each type")
    return _answer(_parts(context, search, *one))


async def _explained(context: Context, search: Search) -> tuple[Query, Explanation] | None:
    """The query and how the store answers it; None for one that looks inside resources, of which
    there is a query for each type that the caller may search, or none at all."""
    if search.options.contained != "false":
        return None
    query = replace(search.plans[0].query, after=place_of(context, search))
    return query, await context.store.explain(query)


def _parts(
    context: Context, search: Search, query: Query, explanation: Explanation
) -> Iterator[Part]:
    plan = replace(search.plans[0], applied=tuple(search.applied))
    yield _refused(False)
    for name, value in search.applied:
        yield _group("applied", _text("name", name), _text("value", value))
    for issue in search.ignored:
        yield _text("ignored", issue.diagnostics)
    cost = _cost(query, explanation)
    yield {"name": "cost", "valueCode": cost}
    yield from _start(explanation)
    yield next(_nodes(query.where, dict(explanation.candidates), [MOST_NODES]))
    yield _order(query)
    for step in explanation.steps:
        lines = (_text("plan", line) for line in step.plan)
        indexes = (_text("index", name) for name in step.indexes)
        yield _group("query", _text("purpose", step.purpose), *lines, *indexes)
    if search.options.wants_total or search.options.is_count_only:
        yield _text("total", "one more query that counts all matches")
    for include in search.options.includes:
        yield _text("include", _included(include))
    if cost != "low":
        for sentence in advice(plan, context.registry, explanation.candidates):
            yield _text("advice", sentence)


def _refused(is_refused: bool) -> Part:
    return {"name": "refused", "valueBoolean": is_refused}


def _cost(query: Query, explanation: Explanation) -> str:
    """`low`: few candidates, or a page of an order without criteria; `medium`: stops when the
    page is full; `high`: all candidates are looked at. Without a plan it is what the criteria
    promise."""
    few = [count for _, count in explanation.candidates if count < MANY]
    match explanation.start:
        case None if is_listed(query.where):
            return "medium"
        case None:
            return "high"
        case "terms" if few and is_listed(query.where):
            return "low"
        case "terms" | "order" if is_ordered(query.sort):
            return "low" if query.where == AllOf() else "medium"
        case _:
            return "high"


def _start(explanation: Explanation) -> Iterator[Part]:
    if explanation.start is None:
        yield _text("note", RESTRICTED)
        return
    yield {"name": "start", "valueCode": explanation.start}
    if explanation.source is not None:
        yield _text("source", _described(explanation.source))


def _described(expression: Expression) -> str:
    """A node in one line."""
    param = getattr(expression, "param", "")
    return " ".join(filter(None, (type(expression).__name__, param, asks(expression))))


def _nodes(expression: Expression, counts: Counts, left: list[int]) -> Iterator[Part]:
    """The node and, inside of it, its own; beyond the number that is `left` nothing."""
    if not left[0]:
        return
    left[0] -= 1
    parts: list[Part] = [{"name": "kind", "valueCode": type(expression).__name__}]
    if param := getattr(expression, "param", None):
        parts.append(_text("parameter", param))
    parts.append(_text("asks", asks(expression)))
    if (count := counts.get(expression)) is not None:
        parts.append({"name": "candidates", "valueInteger": count})
        parts.append({"name": "orMore", "valueBoolean": count >= COUNTED_TO})
    for each in inner(expression):
        parts.extend(_nodes(each, counts, left))
    yield _group("expression", *parts)


def _order(query: Query) -> Part:
    keys = [
        _text("key", f"{'-' if key.is_descending else ''}{key.param.partition('.')[2]}")
        for key in query.sort
    ]
    index = {"name": "hasIndex", "valueBoolean": is_ordered(query.sort)}
    return _group("sort", *(keys or [_text("key", "_id")]), index)


def _included(include: Include) -> str:
    name = "_revinclude" if include.is_reverse else "_include"
    code = "*" if include.parameter is None else include.parameter.code
    what = ":".join(filter(None, (include.source, code, include.target)))
    how = (
        "one query for each type that refers to the page"
        if include.is_reverse
        else "what the page refers to, by its ids"
    )
    again = ", and again for what it finds" if include.is_iterated else ""
    return f"{name} {what}: {how}{again}"


def _text(name: str, value: str) -> Part:
    return {"name": name, "valueString": value}


def _group(name: str, *parts: Part) -> Part:
    return {"name": name, "part": list(parts)}


def _resource(name: str, refusal: FhirError) -> Part:
    return {"name": name, "resource": operation_outcome(refusal.issues)}


def _answer(parts: Any) -> FhirResponse:
    body = {"resourceType": "Parameters", "parameter": list(parts)}
    return FhirResponse(200, orjson.dumps(body))


EXPLAIN = Operation(
    code="explain",
    definition=definition_url("explain"),
    levels=frozenset({"type"}),
    actions=("s",),
    takes_search=True,
    run=explain,
)
