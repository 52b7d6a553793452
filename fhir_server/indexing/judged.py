"""What is demanded of SearchParameters that are written: an active one must take effect, and none
that did may lose it by another's change."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import FhirError, Issue
from fhir_server.indexing.state import put_mark
from fhir_server.search.custom import in_effect
from fhir_server.search.expression import Query
from fhir_server.search.registry import Registry
from fhir_server.storage.port import Page, Transaction

TYPE = "SearchParameter"
_PAGE = 200


async def all_definitions(find: Callable[[Query], Awaitable[Page]]) -> list[dict[str, Any]]:
    """Every SearchParameter of the store, whatever its status."""
    query: Query | None = Query(TYPE, limit=_PAGE)
    found: list[dict[str, Any]] = []
    while query is not None:
        page = await find(query)
        found.extend(parse(stored.body) for stored in page.matches)
        query = Query(TYPE, limit=_PAGE, after=page.next) if page.next else None
    return found


async def judge(transaction: Transaction, written: Collection[str], before: Registry) -> None:
    """FhirError 422 with all problems when a SearchParameter that this unit has written (their
    ids) is active and can't take effect, or takes effect from another that had it in `before`.
    Every process is let know by the same commit."""
    await put_mark(transaction)
    resources = await all_definitions(transaction.find)
    found = in_effect(resources, before.with_custom(()), last=frozenset(written))
    issues: list[Issue] = []
    for resource, problems in found.refused:
        if resource["id"] in written:
            issues.extend(problems)
        elif resource["url"] in before.custom:
            # Its url is in the CapabilityStatement; its id may not be the caller's to see.
            name = resource["url"]
            issues.extend(
                Issue("error", "business-rule", f"{name} would stop: {each.diagnostics}")
                for each in problems
            )
    if issues:
        raise FhirError(422, tuple(issues))
