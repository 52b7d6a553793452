"""Searches for contained resources (R4 Search, "Searching Contained Resources"): as a search on
every type that can contain some, answered with the containers or with what they contain."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.outcome import unsupported
from fhir_server.interactions.context import Context, Resource
from fhir_server.search.contained import NOT_CONTAINERS, containers, contains
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Query, any_of
from fhir_server.search.plan import Plan
from fhir_server.storage.port import Key, Stored


def plans_inside(context: Context, plan: Plan) -> list[Plan]:
    """The plans for a search that looks inside resources: one for each type of container that
    the caller may search. FhirError 400 for what can't be asked of contained resources."""
    options, asked = plan.options, plan.query
    if options.sort or options.includes:
        raise unsupported(f"_contained={options.contained} with _sort, _include or _revinclude")
    if not options.is_container_sent and (options.wants_total or options.is_count_only):
        raise unsupported("_containedType=contained with a total: containers are counted alone")
    beside = options.contained == "both"
    found = [asked] if beside and asked.type in NOT_CONTAINERS else []
    for container in containers():
        if context.access.permits(container, "s"):
            test = contains(container, asked.type, asked.where)
            if beside and container == asked.type:
                test = any_of([asked.where, test])
            found.append(Query(container, test, limit=asked.limit))
    return [replace(plan, query=query) for query in found]


def alone(context: Context, asked: Plan, matches: Sequence[Stored]) -> list[Stored]:
    """What the matches contain that was asked for, each by the key `Type/id#id`; a match that was
    asked for itself stays as it is."""
    return [each for match in matches for each in _asked_for(context, asked, match)]


def _asked_for(context: Context, asked: Plan, match: Stored) -> Iterator[Stored]:
    resource = parse(match.body)
    if asked.options.contained == "both" and _passes(context, asked.query, resource):
        yield match
    for each in resource.get("contained", ()):
        if _passes(context, asked.query, each):
            key = Key(match.key.type, f"{match.key.id}#{each.get('id', '')}")
            yield replace(match, key=key, body=encode(each))


def _passes(context: Context, query: Query, resource: Resource) -> bool:
    is_one = resource["resourceType"] == query.type
    return is_one and evaluate(query.where, context.extract(resource))
