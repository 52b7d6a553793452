"""Random searches over random resources: the evaluator, the second oracle and every store must
answer the same.

`prove` draws small collections, writes each over the one before it (so that updates and
deletions are tried as well), and asks each store for random searches, page by page. The first
difference is reduced to a small example and raised.
"""

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from bench.oracle.searches import Library
from bench.oracle.tests_of_values import Codes
from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Query, SortKey, Terms
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Scope, plan_search
from fhir_server.search.registry import Registry
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Transaction

ROOT = Path(__file__).parents[1]
BASE = "http://fhir.example/fhir"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
UPDATED = (NOW, datetime(2013, 1, 14, 12, tzinfo=UTC), datetime(2013, 12, 31, 23, tzinfo=UTC))
SEARCHES_EACH = 12
"""Searches asked of one collection before it is replaced."""

Resource = dict[str, Any]
_MOST_PAGES = 100


class Disagreement(AssertionError):
    """A store answered otherwise than the evaluator; the text says which, and to what."""


@dataclass
class Proof:
    """What was compared so far. `judged` of the searches were written as a client writes them,
    so that the oracle could answer them; the others are raw expressions."""

    seed: int
    searches: int = 0
    judged: int = 0
    matches: int = 0
    collections: int = 0
    seconds: float = 0.0
    stores: list[str] = field(default_factory=list)


class Shelf:
    """The terms of a collection by reference: what the evaluator answers from."""

    def __init__(self, extract: Extractor, resources: Sequence[Resource]) -> None:
        self.terms = {f"{each['resourceType']}/{each['id']}": extract(each) for each in resources}

    def resource(self, reference: str) -> Terms | None:
        """See `evaluate.Follow`."""
        return self.terms.get(reference)

    def resources(self, type_: str) -> list[Terms]:
        """See `evaluate.Follow`."""
        return [terms for name, terms in self.terms.items() if name.startswith(type_ + "/")]

    def answer(self, query: Query) -> list[str]:
        """The ids that match, in the query's order."""
        found = [
            name.partition("/")[2]
            for name, terms in self.terms.items()
            if name.startswith(query.type + "/") and evaluate(query.where, terms, self)
        ]
        found.sort()
        for key in reversed(query.sort):
            self._order(found, query.type, key)
        return found

    def _order(self, ids: list[str], type_: str, key: SortKey) -> None:
        bounds = {id_: self.terms[f"{type_}/{id_}"].sort.get(key.param) for id_ in ids}
        present = [id_ for id_ in ids if bounds[id_] is not None]
        missing = [id_ for id_ in ids if bounds[id_] is None]
        side = 1 if key.is_descending else 0
        # A stable sort that is reversed keeps equal ones in order.
        present.sort(key=lambda id_: (bounds[id_] or ("", ""))[side], reverse=key.is_descending)
        ids[:] = [*present, *missing]


class CodesAtHand:
    """A CodeResolver from the value sets and code systems that random searches name, and from
    the resources that are part of each other."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def members(self, value_set: str) -> frozenset[tuple[str, str]]:
        """See `CodeResolver.members`."""
        return frozenset(self._library.codes.value_sets[value_set])

    def below(self, system: str, code: str) -> frozenset[str]:
        """See `CodeResolver.below`."""
        codes = self._library.codes
        known = {code, *codes.parents.get(system, {})}
        return frozenset(each for each in known if code in codes.above(system, each))

    def above(self, system: str, code: str) -> frozenset[str]:
        """See `CodeResolver.above`."""
        return frozenset(self._library.codes.above(system, code))

    def parts(self, type_: str, id_: str) -> frozenset[str]:
        """See `CodeResolver.parts`."""
        whole = f"{type_}/{id_}"
        names = [each for each in self._library.resources if each.startswith(type_ + "/")]
        found = [each for each in names if whole in self._library.wholes(each)]
        return frozenset({id_, *(each.partition("/")[2] for each in found)})

    def wholes(self, type_: str, id_: str) -> frozenset[str]:
        """See `CodeResolver.wholes`."""
        found = self._library.wholes(f"{type_}/{id_}")
        return frozenset(each.partition("/")[2] for each in found)


class Proving:
    """The stores under proof, and which version each resource has in them."""

    def __init__(self, stores: Mapping[str, ResourceStore], proof: Proof) -> None:
        self._stores = stores
        self._proof = proof
        self._registry = Registry()
        self._extract = Extractor(self._registry, BASE)
        self._make = _generators()
        self._versions: dict[Key, int] = {}
        self._living: set[Key] = set()
        proof.stores = list(stores)

    async def example(self, random: Random) -> None:
        """Make a collection and searches on it, and compare all answers."""
        resources = [_dated(random, each) for each in self._make.random_collection(random)]
        shelf = await self._write(resources)
        self._proof.collections += 1
        known = list(shelf.terms.values())
        library = self._library(resources)
        scope = Scope(self._registry, NOW, BASE, CodesAtHand(library))
        for number in range(SEARCHES_EACH):
            case = self._written(random, scope, library) if number % 3 else self._raw(random, known)
            expected = shelf.answer(case.query)
            if await self._difference(case, shelf, library):
                raise Disagreement(await self._smallest(resources, case))
            self._proof.searches += 1
            self._proof.judged += case.pairs is not None
            self._proof.matches += len(expected)

    def _written(self, random: Random, scope: Scope, library: Library) -> "Case":
        type_, pairs = self._make.random_search(random, library)
        return Case(plan_search(scope, type_, pairs).query, pairs)

    def _library(self, resources: Sequence[Resource]) -> Library:
        known = {f"{each['resourceType']}/{each['id']}": each for each in resources}
        return Library(known, NOW, BASE, Codes(self._make.VALUE_SETS, self._make.PARENTS))

    def _raw(self, random: Random, known: Sequence[Terms]) -> "Case":
        return Case(self._make.random_query(random, known))

    async def _smallest(self, resources: Sequence[Resource], case: "Case") -> str:
        """What is said of the fewest of these resources that still show a difference."""
        left = list(resources)
        for each in resources:
            fewer = [other for other in left if other is not each]
            shelf = await self._write(fewer)
            if await self._difference(case, shelf, self._library(fewer)):
                left = fewer
        shelf = await self._write(left)
        difference = await self._difference(case, shelf, self._library(left))
        shown = encode(left).decode()
        return f"{difference}\nsearch: {case.pairs}\nquery: {case.query}\nresources: {shown}"

    async def _write(self, resources: Sequence[Resource]) -> Shelf:
        """Replace what the stores hold by these resources."""
        shelf = Shelf(self._extract, resources)
        wanted = {Key(each["resourceType"], each["id"]): each for each in resources}
        drafts = []
        for key in [*wanted, *sorted(self._living - wanted.keys())]:
            self._versions[key] = version = self._versions.get(key, 0) + 1
            if key in wanted:
                body = encode(wanted[key])
                drafts.append(Draft(Stored(key, version, NOW, body), shelf.terms[str(key)]))
            else:
                drafts.append(Draft(Stored(key, version, NOW, b"", "DELETE")))
        self._living = set(wanted)

        async def unit(transaction: Transaction) -> None:
            for draft in drafts:
                await transaction.put(draft, draft.stored.version - 1)

        for store in self._stores.values():
            await store.transaction(unit)
        return shelf

    async def _difference(self, case: "Case", shelf: Shelf, library: Library) -> str | None:
        """How an answer differs from the evaluator's, None when all agree."""
        query, expected = case.query, shelf.answer(case.query)
        if case.pairs is not None:
            found = library.answer(query.type, case.pairs)
            if found != expected:
                return f"the oracle finds {found}, the evaluator {expected}"
        for name, store in self._stores.items():
            found = await _pages(store, query)
            if found != expected:
                return f"{name} finds {found}, the evaluator {expected}"
            counted = await store.count(query)
            if counted != len(expected):
                return f"{name} counts {counted}, the evaluator {len(expected)}"
        return None


@dataclass(frozen=True)
class Case:
    """A query, and what it was planned from where it was written as a client writes it."""

    query: Query
    pairs: Sequence[tuple[str, str]] | None = None


async def prove(stores: Mapping[str, ResourceStore], *, count: int, start: int = 0) -> Proof:
    """Compare at least `count` searches on stores that are empty; collection number n is made
    from the seed `start` + n. Raises Disagreement with a small example."""
    proof = Proof(start)
    proving = Proving(stores, proof)
    began = time.monotonic()
    while proof.searches < count:
        await proving.example(Random(start + proof.collections))
    proof.seconds = round(time.monotonic() - began, 1)
    return proof


async def _pages(store: ResourceStore, query: Query) -> list[str]:
    """All ids in order, page by page."""
    found: list[str] = []
    after = query.after
    for _ in range(_MOST_PAGES):
        page = await store.find(Query(query.type, query.where, query.sort, query.limit, after))
        found.extend(each.key.id for each in page.matches)
        after = page.next
        if after is None:
            return found
    raise Disagreement(f"the pages never end: {query}")


def _dated(random: Random, resource: Resource) -> Resource:
    """The resource as the server keeps it: with its version and time, as it reads from JSON."""
    updated = random.choice(UPDATED)
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": instant(updated)}
    return parse(encode({**resource, "meta": meta}))


def _generators() -> Any:
    """The generators, which lie with the tests: a proof is run from a checkout."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.agreement.strategies")
