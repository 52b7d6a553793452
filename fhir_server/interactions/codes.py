"""Plans that need value sets, code systems or hierarchies: loaded as far as they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import too_costly
from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, Query, all_of, any_of
from fhir_server.search.hierarchy import PART_OF
from fhir_server.search.plan import Scope
from fhir_server.search.readiness import require_standard
from fhir_server.storage.port import Key, ResourceStore
from fhir_server.terminology.library import Library, NotLoaded, Wanted

MOST_LOADED = 200
"""Most value sets, code systems and hierarchies that one search may need."""

MOST_CANDIDATES = 50
"""Most resources of one canonical among which the newest version is looked for."""

MOST_PARTS = 10_000
"""Most resources of one hierarchy."""

MOST_STEPS = 50
"""Deepest hierarchy of resources."""

T = TypeVar("T")
Resource = dict[str, Any]


async def with_codes(store: ResourceStore, scope: Scope, plan: Callable[[Scope], T]) -> T:
    """What `plan` makes of the scope, with the codes of the store's visible resources known.

    Whenever it asks for one that is not loaded, that is loaded and the plan begun anew.
    """
    library = Library(scope.own_url)
    knowing = replace(scope, codes=library)
    for _ in range(MOST_LOADED):
        try:
            return plan(knowing)
        except NotLoaded as missing:
            library.add(missing.wanted, await _load(store, scope, missing.wanted))
    raise too_costly(f"the search needs more than {MOST_LOADED} value sets and code systems")


async def _load(store: ResourceStore, scope: Scope, wanted: Wanted) -> Sequence[Any]:
    if wanted.by != "id":
        require_standard(scope.registry)
    match wanted.by:
        case "canonical":
            return await _named(store, wanted)
        case "id":
            stored = await store.get(Key(wanted.type, wanted.name))
            return [] if stored is None or stored.is_deleted else [parse(stored.body)]
        case "parts":
            return await _parts(store, wanted)
        case "wholes":
            return await _wholes(store, scope.own_url, wanted)
        case _:
            raise ValueError(f"not a way to ask: {wanted.by}")


async def _named(store: ResourceStore, wanted: Wanted) -> list[Resource]:
    """The resources with the canonical, in force before retired, newest version first."""
    url, _, version = wanted.name.partition("|")
    tests: list[Expression] = [HasTerm(terms.key(wanted.type, "url"), terms.bounded(url))]
    if version:
        name = terms.joined(version, "")
        tests.append(HasTerm(terms.key(wanted.type, "version"), name))
    page = await store.find(Query(wanted.type, all_of(tests), limit=MOST_CANDIDATES))
    found = [parse(stored.body) for stored in page.matches]
    found.sort(key=_precedence, reverse=True)
    return found


def _precedence(resource: Resource) -> tuple[bool, list[tuple[int, str]], str]:
    version = str(resource.get("version", ""))
    numbers = [
        (int(part), "") if part.isascii() and part.isdigit() else (-1, part)
        for part in version.split(".")
    ]
    return resource.get("status") != "retired", numbers, resource["meta"]["lastUpdated"]


async def _parts(store: ResourceStore, wanted: Wanted) -> list[str]:
    """The ids of all that is part of the resource, level by level."""
    key = terms.key(wanted.type, PART_OF[wanted.type])
    known, level = {wanted.name}, [wanted.name]
    for _ in range(MOST_STEPS):
        if not level:
            return sorted(known)
        named = any_of(HasTerm(key, f"{wanted.type}/{id_}") for id_ in level)
        room = MOST_PARTS + 1 - len(known)
        page = await store.find(Query(wanted.type, named, limit=room))
        level = [each.key.id for each in page.matches if each.key.id not in known]
        known.update(level)
        if len(known) > MOST_PARTS:
            break
    raise too_costly(f"more than {MOST_PARTS} {wanted.type} resources are part of {wanted.name}")


async def _wholes(store: ResourceStore, own_url: str, wanted: Wanted) -> list[str]:
    """The ids of all that the resource is part of."""
    known, level = {wanted.name}, [wanted.name]
    while level:
        if len(known) > MOST_STEPS:
            raise too_costly(f"{wanted.name} is part of more than {MOST_STEPS} others")
        found = await store.get_many([Key(wanted.type, id_) for id_ in level])
        named = [
            _owners(parse(stored.body), f"{wanted.type}/", own_url)
            for stored in found.values()
            if not stored.is_deleted
        ]
        level = [id_ for ids in named for id_ in ids if id_ not in known]
        known.update(level)
    return sorted(known)


def _owners(resource: Resource, prefix: str, own_url: str) -> list[str]:
    """The ids of what the resource says it is part of; `prefix` is their type and a slash."""
    given = resource.get("partOf") or []
    named = [
        each.get("reference", "").removeprefix(own_url)
        for each in (given if isinstance(given, list) else [given])
    ]
    return [each.split("/")[1] for each in named if each.startswith(prefix)]
