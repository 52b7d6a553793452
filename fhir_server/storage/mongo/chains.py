"""Chains and reverse chains, answered by bounded queries before the search itself.

`Observation?subject:Patient.name=x` first asks for the ids of the patients; the search then
has one `$in` over its own terms. What would need more than MOST_LINKED ids is refused as too
costly, never cut short.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fhir_server.fhir.outcome import FhirError, too_costly
from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    LinkedFrom,
    LinksTo,
    Not,
)
from fhir_server.search.terms import next_after
from fhir_server.storage.mongo.compile import NEVER, Chain, term_range, to_filter
from fhir_server.storage.mongo.connect import Collections, Document, Session
from fhir_server.storage.mongo.records import term

MOST_LINKED = 10_000
SEARCH_MILLISECONDS = 30_000


@dataclass(frozen=True, slots=True)
class Reader:
    """Where to read: the collections, and the transaction's session if there is one."""

    collections: Collections
    session: Session | None = None


async def condition(reader: Reader, type_: str, expression: Expression) -> Document:
    """The filter of the current resources of `type_` that match, chains already answered."""
    links: dict[Chain, Document] = {}
    for chain in _chains(expression):
        if chain not in links:
            links[chain] = await _answer(reader, type_, chain)
    return both(to_filter(expression, links), {"type": type_})


def both(*filters: Document) -> Document:
    """What passes all the filters. The first is the most selective: MongoDB chooses among the
    indexes by trial, but engines like it may take the first that serves."""
    tests = [each for one in filters for each in one.get("$and", [one]) if each]
    return {"$and": tests} if len(tests) > 1 else tests[0] if tests else {}


def _chains(expression: Expression) -> Iterator[Chain]:
    """The chains of this level; what is inside of them is asked of other resources."""
    match expression:
        case LinksTo() | LinkedFrom():
            yield expression
        case AllOf(tests) | AnyOf(tests):
            for test in tests:
                yield from _chains(test)
        case Not(test):
            yield from _chains(test)
        case _:
            return


async def _answer(reader: Reader, type_: str, chain: Chain) -> Document:
    if isinstance(chain, LinksTo):
        targets = await _targets(reader, chain)
        return {"terms": {"$in": targets}} if targets else NEVER
    return {"_id": {"$in": await _referred(reader, type_, chain)}}


async def _targets(reader: Reader, chain: LinksTo) -> list[str]:
    """The reference terms of the resources that pass the chain's test."""
    where = await condition(reader, chain.type, chain.test)
    cursor = reader.collections.resources.find(
        where,
        {"_id": 1},
        session=reader.session,
        limit=MOST_LINKED + 1,
        batch_size=MOST_LINKED + 1,
        max_time_ms=SEARCH_MILLISECONDS,
    )
    found = [term(chain.param, document["_id"]) async for document in cursor]
    if len(found) > MOST_LINKED:
        raise _too_many(chain)
    return found


async def _referred(reader: Reader, type_: str, chain: LinkedFrom) -> list[str]:
    """The ids, of `type_`, that the resources which pass the chain's test refer to."""
    bounds = term_range(chain.param, f"{type_}/", next_after(f"{type_}/"))
    where = await condition(reader, chain.type, chain.test)
    cursor = await reader.collections.resources.aggregate(
        [
            {"$match": both(where, {"terms": {"$elemMatch": bounds}})},
            {"$project": {"terms": 1}},
            {"$unwind": "$terms"},
            {"$match": {"terms": bounds}},
            {"$group": {"_id": "$terms"}},
            {"$limit": MOST_LINKED + 1},
        ],
        session=reader.session,
        batchSize=MOST_LINKED + 1,
        maxTimeMS=SEARCH_MILLISECONDS,
    )
    start = len(term(chain.param, ""))
    found = [document["_id"][start:] async for document in cursor]
    if len(found) > MOST_LINKED:
        raise _too_many(chain)
    return found


def _too_many(chain: Chain) -> FhirError:
    return too_costly(
        f"{chain.param}: more than {MOST_LINKED} {chain.type} resources are linked that way;"
        " add criteria to the chain"
    )
