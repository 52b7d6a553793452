"""Observation/$lastn (R4 Observation $lastn): the newest observations of each code.

Codes are the same when system and code are; an observation with several codings makes them one,
and what is one with them (docs/spec-readings.md, "$lastn"). So no group is known before all
observations that match have been looked at; of each, only the newest are kept meanwhile.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from fhir_server.fhir.dates import microseconds, time_range
from fhir_server.fhir.narrow import narrowing_of
from fhir_server.fhir.outcome import bad_parameter, error, too_costly
from fhir_server.interactions.codes import with_codes
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.included import included
from fhir_server.interactions.searchset import Form, Found, searchset
from fhir_server.operations.operation import CORE, Operation, OperationRequest, Pairs, Parameter
from fhir_server.search.parse import RESULT_CODES
from fhir_server.search.plan import Scope, plan_search
from fhir_server.storage.port import Stored

MOST_LOOKED_AT = 100_000
"""Most observations that may match; a subject with more needs another criterion."""

MOST_OF_EACH = 1000
"""Largest `max`."""

BATCH = 500
SLACK = 20
"""How many observations of a group may wait beyond twice those that are kept."""

SUBJECTS = frozenset({"patient", "subject"})
CODES = frozenset(
    {
        "category", "code", "combo-code", "component-code", "code-value-concept",
        "code-value-date", "code-value-quantity", "code-value-string",
        "combo-code-value-concept", "combo-code-value-quantity",
        "component-code-value-concept", "component-code-value-quantity",
    }
)  # fmt: skip
"""R4: a category, or a parameter with a code in its expression, is needed."""
_USEFUL = frozenset({"_elements", "_summary", "_include", "_revinclude"})
_NO_CRITERIA = frozenset({"missing", "not", "not-in"})

When = tuple[int, int, int]
"""Whether there is an effective time, then how late it ends and begins; without one, how late
the observation was stored."""
Newest = list[tuple[When, Stored]]


class Groups:
    """Observations by code: for each group of equal codes the newest `most`, and what is as
    late as the last of these."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._leader: dict[Hashable, Hashable] = {}
        self._newest: dict[Hashable, Newest] = {}

    def add(self, names: Sequence[Hashable], when: When, stored: Stored) -> None:
        """Add an observation that goes by these names, which are one from now on."""
        leader = self._found(names[0])
        newest = self._newest.setdefault(leader, [])
        for name in names[1:]:
            other = self._found(name)
            if other != leader:
                self._leader[other] = leader
                newest.extend(self._newest.pop(other, ()))
        newest.append((when, stored))
        if len(newest) > 2 * self._most + SLACK:
            self._newest[leader] = self._cut(newest)

    def newest(self) -> list[Stored]:
        """What is left of all groups, newest first."""
        kept = [each for newest in self._newest.values() for each in self._cut(newest)]
        kept.sort(key=lambda each: (each[0], each[1].key), reverse=True)
        return [stored for _, stored in kept]

    def _found(self, name: Hashable) -> Hashable:
        self._leader.setdefault(name, name)
        while self._leader[name] != name:
            name = self._leader[name] = self._leader[self._leader[name]]
        return name

    def _cut(self, newest: Newest) -> Newest:
        ordered = sorted(newest, key=lambda each: each[0], reverse=True)
        if len(ordered) <= self._most:
            return ordered
        last = ordered[self._most - 1][0]
        return [each for each in ordered if each[0] >= last]


async def lastn(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and a searchset, newest first; empty when nothing matches."""
    _require_criteria(asked.search)
    is_lenient = asked.request.handling == "lenient"
    scope = Scope(context.registry, context.clock(), context.base_url)
    ask = partial(plan_search, type_="Observation", pairs=asked.search, is_lenient=is_lenient)
    plan = await with_codes(context.store, scope, ask)
    groups = Groups(_most(asked))
    query = replace(plan.query, limit=BATCH)
    looked_at = 0
    while True:
        page = await context.store.find(query)
        for stored in page.matches:
            resource = orjson.loads(stored.body)
            groups.add(_names(resource), _when(resource, stored), stored)
        looked_at += len(page.matches)
        if page.next is None:
            break
        if looked_at >= MOST_LOOKED_AT:
            raise too_costly(
                f"more than {MOST_LOOKED_AT} observations match; name a code or a date"
            )
        query = replace(query, after=page.next)
    newest = groups.newest()
    reached, notes = await included(context, plan.options.includes, newest)
    pairs = [*(("max", str(each)) for each in asked.all("max")), *plan.applied]
    form = Form("Observation/$lastn", pairs, narrowing_of(asked.search, ("Observation",)))
    found = Found(newest, reached, len(newest), notes=(*plan.ignored, *notes))
    return FhirResponse(200, searchset(context, form, found).body)


def _most(asked: OperationRequest) -> int:
    most: int = asked.only("max") or 1
    if most > MOST_OF_EACH:
        raise too_costly(f"max: {most} of each code; {MOST_OF_EACH} is the most, or search by code")
    return most


def _require_criteria(pairs: Pairs) -> None:
    """R4: a subject, and a category or code; and nothing that orders or pages what is grouped."""
    heads = [name.partition(".")[0].partition(":") for name, _ in pairs]
    named = {code for code, _, modifier in heads if modifier not in _NO_CRITERIA}
    if not named & SUBJECTS:
        raise error(400, "required", "$lastn needs a subject: patient or subject")
    if not named & CODES:
        raise error(
            400, "required", f"$lastn needs a category or a code: one of {', '.join(sorted(CODES))}"
        )
    for code in named & RESULT_CODES - _USEFUL:
        raise bad_parameter(f"{code} has no meaning for $lastn; max says how many of each code")


def _names(resource: dict[str, Any]) -> list[Hashable]:
    """What the code of an Observation goes by: its codings, or its text where it has none."""
    code = resource.get("code", {})
    codings = [
        (each.get("system", ""), each["code"]) for each in code.get("coding", ()) if "code" in each
    ]
    if codings:
        return list(dict.fromkeys(codings))
    return [code.get("text") or orjson.dumps(code, option=orjson.OPT_SORT_KEYS)]


def _when(resource: dict[str, Any], stored: Stored) -> When:
    times = list(_effective(resource))
    if not times:
        return 0, microseconds(stored.updated), 0
    ends, begins = zip(*times, strict=True)
    return 1, max(ends), max(begins)


def _effective(resource: dict[str, Any]) -> Iterable[tuple[int, int]]:
    """The ends and beginnings of when it was: a Period that goes on counts by its start."""
    timing = resource.get("effectiveTiming", {})
    period = resource.get("effectivePeriod") or timing.get("repeat", {}).get("boundsPeriod") or {}
    texts = [resource.get("effectiveDateTime"), resource.get("effectiveInstant")]
    texts += [*timing.get("event", ()), period.get("end") or period.get("start")]
    for text in texts:
        if text is not None:
            low, high = time_range(text)
            yield high, low


LASTN = Operation(
    code="lastn",
    definition=f"{CORE}Observation-lastn",
    levels=frozenset({"type"}),
    types=frozenset({"Observation"}),
    parameters=(Parameter("max", "positiveInt"),),
    actions=("s",),
    takes_search=True,
    run=lastn,
)
