"""What a page of matches leads to: `_include`, `_revinclude` and `:iterate` over the store (R4
Search, "Including other resources"). Each resource comes once; nothing is left out unsaid."""

from collections.abc import Iterable, Sequence

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import Issue, too_costly
from fhir_server.interactions.context import Context
from fhir_server.search import include as including
from fhir_server.search.expression import Terms
from fhir_server.search.include import Start
from fhir_server.search.parse import Include
from fhir_server.storage.port import Key, Stored

MOST_INCLUDED = 5000
"""Most resources that one page may include."""

MOST_ROUNDS = 10
"""Longest way that `:iterate` follows."""


async def included(
    context: Context, includes: Sequence[Include], matches: Sequence[Stored]
) -> tuple[list[Stored], list[Issue]]:
    """What the includes lead to from the matches, each resource once and no match again, and
    what the caller has to be told: that `:iterate` leads on from where it stopped."""
    known = {stored.key for stored in matches}
    found: dict[Key, Stored] = {}
    start: Sequence[Stored] = matches
    for round_ in range(MOST_ROUNDS + 1):
        asked = [each for each in includes if round_ == 0 or each.is_iterated]
        if not asked or not start:
            break
        new = {
            stored.key: stored
            for stored in await _one_round(context, asked, start)
            if stored.key not in known
        }
        if new and round_ == MOST_ROUNDS:
            text = f":iterate was followed {MOST_ROUNDS} times; there is more to include"
            return list(found.values()), [Issue("warning", "incomplete", text)]
        known.update(new)
        found.update(new)
        if len(found) > MOST_INCLUDED:
            raise too_costly(
                f"more than {MOST_INCLUDED} resources to include; ask for a smaller _count"
            )
        start = list(new.values())
    return list(found.values()), []


async def _one_round(
    context: Context, includes: Iterable[Include], stored: Sequence[Stored]
) -> list[Stored]:
    includes = list(includes)
    are_terms_needed = any(map(including.needs_terms, includes))
    starts = [
        Start(*each.key, context.extract(parse(each.body)) if are_terms_needed else Terms())
        for each in stored
    ]
    forward = [each for each in includes if not each.is_reverse]
    found = await _forward(context, forward, starts) if forward else []
    limit = MOST_INCLUDED + 1
    for each in includes:
        if each.is_reverse:
            for query in including.reverse(each, starts, context.registry, limit):
                found.extend((await context.store.find(query)).matches)
    return found


async def _forward(
    context: Context, includes: Sequence[Include], starts: Sequence[Start]
) -> list[Stored]:
    keys: dict[Key, None] = {}
    canonicals: dict[including.Canonical, None] = {}
    for start in starts:
        for each in includes:
            references, named = including.forward(each, start, context.registry)
            keys.update((Key(*reference), None) for reference in references)
            canonicals.update(dict.fromkeys(named))
    reached = await context.store.get_many(list(keys)) if keys else {}
    found = [reached[key] for key in keys if key in reached and not reached[key].is_deleted]
    for query in including.named_by(canonicals, MOST_INCLUDED + 1):
        found.extend((await context.store.find(query)).matches)
    return found
