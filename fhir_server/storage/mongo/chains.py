"""Chains, reverse chains and distances, answered by bounded queries before the search itself.

`Observation?subject:Patient.name=x` first asks for the ids of the patients; the search then
has one `$in` over its own terms. What would need more than MOST_LINKED ids is refused as too
costly, never cut short.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fhir_server.fhir.outcome import FhirError, too_costly
from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    LinkedFrom,
    LinksTo,
    Not,
    Shares,
    Within,
)
from fhir_server.search.positions import is_within
from fhir_server.search.terms import next_after
from fhir_server.storage.budget import SEARCH_SECONDS
from fhir_server.storage.mongo.compile import NEVER, Asked, term_range, to_filter
from fhir_server.storage.mongo.connect import Collections, Document, Session
from fhir_server.storage.mongo.records import term
from fhir_server.storage.vault import Vault

MOST_LINKED = 10_000


@dataclass(frozen=True, slots=True)
class Reader:
    """Where to read: the collections, and the transaction's session if there is one; a search
    is given up after `seconds`; what is read is opened by the `vault`."""

    collections: Collections
    session: Session | None = None
    seconds: float = SEARCH_SECONDS
    vault: Vault = field(default_factory=Vault)

    @property
    def milliseconds(self) -> int:
        """The same for a command of the driver, which takes 0 for no limit."""
        return max(1, round(self.seconds * 1000))


async def condition(reader: Reader, type_: str, expression: Expression) -> Document:
    """The filter of the current resources of `type_` that match, chains already answered."""
    links: dict[Asked, Document] = {}
    for chain in chains_of(expression):
        if chain not in links:
            links[chain] = await _answer(reader, type_, chain)
    return both(to_filter(expression, links), {"type": type_})


def both(*filters: Document) -> Document:
    """What passes all the filters. The first is the most selective: MongoDB chooses among the
    indexes by trial, but engines like it may take the first that serves."""
    tests = [each for one in filters for each in one.get("$and", [one]) if each]
    return {"$and": tests} if len(tests) > 1 else tests[0] if tests else {}


def chains_of(expression: Expression) -> Iterator[Asked]:
    """The chains and distances of this level; what is inside of a chain is asked of other
    resources."""
    match expression:
        case LinksTo() | LinkedFrom() | Shares() | Within():
            yield expression
        case AllOf(tests) | AnyOf(tests):
            for test in tests:
                yield from chains_of(test)
        case Not(test):
            yield from chains_of(test)
        case _:
            return


async def _answer(reader: Reader, type_: str, asked: Asked) -> Document:
    match asked:
        case LinksTo():
            targets = await _targets(reader, asked)
            return {"terms": {"$in": targets}} if targets else NEVER
        case LinkedFrom():
            return {"_id": {"$in": await _referred(reader, type_, asked)}}
        case Shares(param, other_type, other, test):
            where = await condition(reader, other_type, test)
            shared = await _values(reader, other, where, [(None, None)])
            return _one_of(param, shared)
        case Within(param, cells, latitude, longitude, metres):
            around = await _values(reader, param, {"type": type_}, cells)
            near = [each for each in around if is_within(each, latitude, longitude, metres)]
            return _one_of(param, near)
        case _:
            raise TypeError(f"not asked by itself: {asked!r}")


def _one_of(param: str, values: list[str]) -> Document:
    return {"terms": {"$in": [term(param, value) for value in values]}} if values else NEVER


async def _targets(reader: Reader, chain: LinksTo) -> list[str]:
    """The reference terms of the resources that pass the chain's test."""
    where = await condition(reader, chain.type, chain.test)
    cursor = reader.collections.resources.find(
        where,
        {"_id": 1},
        session=reader.session,
        limit=MOST_LINKED + 1,
        batch_size=MOST_LINKED + 1,
        max_time_ms=reader.milliseconds,
    )
    found = [term(chain.param, document["_id"]) async for document in cursor]
    if len(found) > MOST_LINKED:
        raise _too_many(chain.param)
    return found


async def _referred(reader: Reader, type_: str, chain: LinkedFrom) -> list[str]:
    """The ids, of `type_`, that the resources which pass the chain's test refer to."""
    where = await condition(reader, chain.type, chain.test)
    own = [(f"{type_}/", next_after(f"{type_}/"))]
    return await _values(reader, chain.param, where, own)


async def _values(
    reader: Reader,
    param: str,
    where: Document,
    ranges: Sequence[tuple[str | None, str | None]],
) -> list[str]:
    """The different terms of a parameter, in any of the ranges, of the resources that pass."""
    bounds = [term_range(param, low, high) for low, high in ranges]
    some: Document = {"$or": [{"terms": {"$elemMatch": each}} for each in bounds]}
    among: Document = {"$or": [{"terms": each} for each in bounds]}
    if len(bounds) == 1:
        some, among = some["$or"][0], among["$or"][0]
    cursor = await reader.collections.resources.aggregate(
        [
            {"$match": both(where, some)},
            {"$project": {"terms": 1}},
            {"$unwind": "$terms"},
            {"$match": among},
            {"$group": {"_id": "$terms"}},
            {"$limit": MOST_LINKED + 1},
        ],
        session=reader.session,
        batchSize=MOST_LINKED + 1,
        maxTimeMS=reader.milliseconds,
    )
    start = len(term(param, ""))
    found = [document["_id"][start:] async for document in cursor]
    if len(found) > MOST_LINKED:
        raise _too_many(param)
    return found


def _too_many(param: str) -> FhirError:
    return too_costly(
        f"{param}: more than {MOST_LINKED} resources or values are linked that way;"
        " add criteria, to the chain if it is one"
    )
