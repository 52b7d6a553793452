"""$dry-run: what a transaction would change, without a change (an operation of this server).

The real transaction runs in a unit that is undone. Entries at fault are told with their problems
and replaced by harmless ones, so that the problems of the others show too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.outcome import FhirError, Issue, unsupported
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.transaction import transaction
from fhir_server.operations.foreseen import Trial, foreseen_entry, outcome_part
from fhir_server.operations.operation import Operation, OperationRequest, Parameter
from fhir_server.operations.own import definition_url
from fhir_server.operations.rehearsal import Rehearsal

ROUNDS = 5
"""How often the rest is tried again without the entries at fault."""

_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")
_HARMLESS = {"resourceType": "Basic", "code": {"text": "in place of an entry at fault"}}


async def dry_run(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and Parameters: whether it would be committed, and for each entry what would happen."""
    bundle: Resource = asked.only("bundle")
    if bundle.get("type") != "transaction":
        raise unsupported(f"$dry-run of a Bundle of type {bundle.get('type')!r}; a transaction can")
    trial = await _tried(context, asked.request, bundle)
    entries = bundle.get("entry")
    count = len(entries) if isinstance(entries, list) else 0
    parts: list[Resource] = [
        {"name": "outcome", "valueCode": "would-fail" if trial.problems else "would-commit"},
        {"name": "status", "valueInteger": trial.status},
    ]
    if trial.problems.get(None):
        parts.append(outcome_part(trial.problems[None]))
    found = [await foreseen_entry(context, trial, index) for index in range(count)]
    parts.extend({"name": "entry", "part": each} for each in found)
    return FhirResponse(200, encode({"resourceType": "Parameters", "parameter": parts}))


async def _tried(context: Context, request: FhirRequest, bundle: Resource) -> Trial:
    """The transaction, run until all problems are known."""
    problems: dict[int | None, list[Issue]] = {}
    status = 200
    for _ in range(ROUNDS):
        rehearsal = Rehearsal(context.store)
        body = encode(_without(bundle, problems))
        inner = replace(
            request, interaction="transaction", operation=None, body=body, query=(), repeatable=None
        )
        try:
            response = await transaction(rehearsal.instead(context), inner, parse(body))
        except FhirError as refusal:
            found = _by_entry(refusal.issues)
            status = status if problems else refusal.status
            new = {index: issues for index, issues in found.items() if index not in problems}
            problems |= new
            if not new or None in new:
                return Trial(bundle, status, problems)
            continue
        answered = parse(response.body).get("entry", [])
        return Trial(bundle, status, problems, answered, rehearsal.writes)
    return Trial(bundle, status, problems)


def _by_entry(issues: Iterable[Issue]) -> dict[int | None, list[Issue]]:
    found: dict[int | None, list[Issue]] = {}
    for issue in issues:
        places = [_ENTRY.match(each) for each in issue.expression]
        index = next((int(place[1]) for place in places if place), None)
        found.setdefault(index, []).append(issue)
    return found


def _without(bundle: Resource, problems: Mapping[int | None, Sequence[Issue]]) -> Resource:
    """The Bundle with something harmless in place of the entries at fault; links to them still
    lead somewhere."""
    if not problems:
        return bundle
    entries = [
        _placeholder(entry) if index in problems else entry
        for index, entry in enumerate(bundle.get("entry", []))
    ]
    return {**bundle, "entry": entries}


def _placeholder(entry: Any) -> Resource:
    url = entry.get("fullUrl") if isinstance(entry, dict) else None
    harmless = {"resource": _HARMLESS, "request": {"method": "POST", "url": "Basic"}}
    return {"fullUrl": url, **harmless} if isinstance(url, str) else harmless


DRY_RUN = Operation(
    code="dry-run",
    definition=definition_url("dry-run"),
    levels=frozenset({"system"}),
    parameters=(Parameter("bundle", "Bundle", least=1),),
    rehearses=True,
    run=dry_run,
)
