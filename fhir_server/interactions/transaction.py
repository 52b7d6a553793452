"""transaction (R4 RESTful API, "Transaction Processing Rules"): all of it or nothing.

It is prepared whole: access, conditions, criteria and references of every entry are answered
from the store plus the transaction's own drafts, less what it deletes; then all is written in
one unit with the audit records. A transaction that only creates asks the store nothing, so it
is prepared before the unit; any other is prepared inside it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from fhir_server.fhir.outcome import FhirError
from fhir_server.interactions.audited import bundle_record
from fhir_server.interactions.commits import remember
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.entries import answer_entry, at_entry, join_entries, phase_of
from fhir_server.interactions.outcomes import Outcome
from fhir_server.interactions.plan import NOTHING_ASKED, ask, asks_nothing, plan
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.snapshot import as_seen_by, read_entry
from fhir_server.interactions.steps import Step, steps_of
from fhir_server.interactions.subscribing import require_reachable
from fhir_server.interactions.write import LARGE, put
from fhir_server.storage.port import Transaction


async def transaction(context: Context, request: FhirRequest, bundle: Resource) -> FhirResponse:
    """200 and a transaction-response with an entry for each; or one refusal with the problems
    of all entries, and nothing written. The answer's id is what $undo asks for."""
    if len(request.body) >= LARGE:
        steps, ready = await asyncio.to_thread(_prepare, context, request, bundle)
    else:
        steps, ready = _prepare(context, request, bundle)
    await _require_reachable(context, steps)

    id = context.new_id()

    async def perform(open_unit: Transaction) -> Done:
        outcomes = ready
        if outcomes is None:
            outcomes = plan(context, steps, await ask(open_unit, steps))
        written = [made.stored for each in outcomes for made in each.drafts]
        await remember(context, open_unit, id, written)
        return Done(await _write(context, open_unit, outcomes), id)

    async def complete(open_unit: Transaction, done: Done) -> Done:
        return replace(done, parts=await _with_reads(context, open_unit, steps, done.parts))

    def answer(done: Done) -> FhirResponse:
        answered = [
            answer_entry(context, response, step.request)
            for step, response in zip(steps, done.parts, strict=True)
        ]
        head = {"resourceType": "Bundle", "id": done.id, "type": "transaction-response"}
        return FhirResponse(200, join_entries(head, answered))

    shows = request.prefer_return == "representation"
    return await once_whole(context, request, Work(perform, answer, complete, shows))


async def _require_reachable(context: Context, steps: Sequence[Step]) -> None:
    for step in steps:
        try:
            await require_reachable(context, step.resource or {})
        except FhirError as refusal:
            raise FhirError(refusal.status, tuple(at_entry(refusal, step.index))) from None


def _prepare(
    context: Context, request: FhirRequest, bundle: Resource
) -> tuple[list[Step], Sequence[Outcome] | None]:
    steps = steps_of(context, request, bundle)
    return steps, plan(context, steps, NOTHING_ASKED) if asks_nothing(steps) else None


async def _write(
    context: Context, open_unit: Transaction, outcomes: Sequence[Outcome]
) -> tuple[FhirResponse, ...]:
    """Write in R4's order; the answers in that of the entries."""
    for outcome in sorted(outcomes, key=lambda each: phase_of(each.step.request)):
        if outcome.kept is not None:
            await open_unit.keep(outcome.kept)
        for made in outcome.drafts:
            await put(open_unit, made)
        for record in outcome.records:
            await open_unit.journal(record)
    await open_unit.journal(bundle_record(context, "transaction"))
    ordered = sorted(outcomes, key=lambda each: each.step.index)
    return tuple(outcome.response for outcome in ordered)


async def _with_reads(
    context: Context, open_unit: Transaction, steps: Sequence[Step], written: Sequence[FhirResponse]
) -> tuple[FhirResponse, ...]:
    """The answers to all entries, the reads from the same snapshot."""
    seen = as_seen_by(context, open_unit)
    writes = iter(written)
    return tuple(
        [next(writes) if step.is_write else await read_entry(seen, step) for step in steps]
    )
