"""How MongoDB would answer a query: the plans that it would choose for the queries of this
adapter. Chains are not run for it: an id stands in for what they would find."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from pymongo.errors import ExecutionTimeout

from fhir_server.search.cost import countable
from fhir_server.search.expression import (
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    LinkedFrom,
    LinksTo,
    Query,
    Shares,
    Within,
)
from fhir_server.storage.budget import search_too_slow
from fhir_server.storage.mongo.chains import Reader, both, chains_of
from fhir_server.storage.mongo.compile import Asked, term_range, to_filter
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.order import Phase, phases
from fhir_server.storage.mongo.records import term
from fhir_server.storage.port import COUNTED_TO, Explanation, Start, Step

_TERMS = "terms_1"
_IDS = "_id_"
_LACKING = "what lacks the sort key, after all that has it"


async def explain(reader: Reader, query: Query) -> Explanation:
    """The explanation of `reading.find`; FhirError too-costly when even this takes too long."""
    try:
        chains = [step async for step in _chains(reader, query.type, query.where)]
        where = _condition(query.type, query.where)
        pages = [await _page(reader, query, where, phase) for phase in phases(query)]
        counts = [(test, await _candidates(reader, test)) for test in countable(query.where)]
    except ExecutionTimeout:
        raise search_too_slow(reader.seconds) from None
    lacking = [replace(each, purpose=_LACKING) for each in pages[1:]]
    return Explanation(_start(query, pages[0]), None, (*chains, pages[0], *lacking), tuple(counts))


def _start(query: Query, first: Step) -> Start:
    are_ids_found = any(isinstance(each, LinkedFrom) for each in chains_of(query.where))
    if _TERMS in first.indexes or (are_ids_found and _IDS in first.indexes):
        return "terms"
    return "all" if any(line.startswith("SORT") for line in first.plan) else "order"


def _condition(type_: str, expression: Expression) -> Document:
    """The filter of the search, with one value in the place of those that its chains find."""
    links = {chain: _stand_in(type_, chain) for chain in chains_of(expression)}
    return both(to_filter(expression, links), {"type": type_})


def _stand_in(type_: str, asked: Asked) -> Document:
    match asked:
        case LinkedFrom():
            return {"_id": {"$in": [f"{type_}/x"]}}
        case LinksTo(param, target, _):
            return {"terms": {"$in": [term(param, f"{target}/x")]}}
        case Shares(param) | Within(param):
            return {"terms": {"$in": [term(param, "x")]}}
    raise TypeError(f"not asked by itself: {asked!r}")


async def _chains(reader: Reader, type_: str, expression: Expression) -> AsyncIterator[Step]:
    """The queries before the search itself, the innermost first."""
    for chain in dict.fromkeys(chains_of(expression)):
        if isinstance(chain, Within):
            near: Document = {"terms": {"$elemMatch": term_range(chain.param, None, None)}}
            yield await _step(reader, f"positions of {chain.param}", both(near, {"type": type_}))
            continue
        async for step in _chains(reader, chain.type, chain.test):
            yield step
        where = _condition(chain.type, chain.test)
        yield await _step(reader, f"{chain.type} for the chain over {chain.param}", where)


async def _page(reader: Reader, query: Query, where: Document, phase: Phase) -> Step:
    """One part of a page: what has the sort key, or what lacks it."""
    purpose = f"a page of {query.type}"
    if phase.computed:
        step = await _step(reader, purpose, both(where, phase.where))
        return Step(purpose, ("SORT by several keys", *step.plan), step.indexes)
    order = {"sort": phase.order, "limit": query.limit + 1}
    return await _step(reader, purpose, both(where, phase.where), order)


async def _step(
    reader: Reader, purpose: str, where: Document, order: Document | None = None
) -> Step:
    resources = reader.collections.resources
    asked = {"find": resources.name, "filter": where, **(order or {})}
    answer = await resources.database.command(
        {"explain": asked, "verbosity": "queryPlanner", "maxTimeMS": reader.milliseconds}
    )
    planner = answer["queryPlanner"]
    stages = list(_stages(planner["winningPlan"]))
    names = [each["indexName"] for each in stages if "indexName" in each]
    lines = tuple(" ".join(filter(None, (each["stage"], _words(each)))) for each in stages)
    return Step(purpose, lines, tuple(dict.fromkeys(names)))


def _stages(plan: Document) -> Iterator[Document]:
    """The stages of a plan, the last first. Where the engine compiles its plans, the readable one
    lies inside (MongoDB, "explain results")."""
    plan = plan.get("queryPlan", plan)
    if "stage" in plan:
        yield plan
    for name in ("inputStage", "outerStage", "innerStage"):
        if name in plan:
            yield from _stages(plan[name])
    for each in plan.get("inputStages", ()):
        yield from _stages(each)


def _words(stage: dict[str, Any]) -> str:
    """The index that a stage walks, or the order that it makes; never the values asked for."""
    if "indexName" in stage:
        return str(stage["indexName"])
    return ", ".join(stage.get("sortPattern", {}))


async def _candidates(reader: Reader, test: HasTerm | HasRange | HasAnyTerm) -> int:
    where = both(to_filter(test, {}), {"type": test.param.partition(".")[0]})
    return await reader.collections.resources.count_documents(
        where, session=reader.session, limit=COUNTED_TO, maxTimeMS=reader.milliseconds
    )
