"""batch and transaction (R4 RESTful API, "batch/transaction")."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import FhirError, invalid
from fhir_server.interactions.audited import bundle_record, refusal_record
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse, Resource
from fhir_server.interactions.entries import (
    READS,
    answer_entry,
    body_of,
    entries_of,
    entry_request,
    join_entries,
    phase_of,
    refusal_entry,
    shell,
)
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.transaction import transaction
from fhir_server.interactions.write import LARGE, require_valid
from fhir_server.storage.port import Transaction

CONCURRENT = 16
"""How many entries of a batch run at once."""


async def bundle(context: Context, request: FhirRequest) -> FhirResponse:
    """Run the Bundle that was posted to the base, as its type says."""
    is_large = len(request.body) >= LARGE
    resource = await asyncio.to_thread(parse, request.body) if is_large else parse(request.body)
    found = resource.get("resourceType")
    if found != "Bundle":
        raise invalid(f"only a Bundle is posted to the base URL, not {found!r}", "resourceType")
    match resource.get("type"):
        case "transaction":
            return await transaction(context, request, resource)
        case "batch":
            return await batch(context, request, resource)
        case other:
            raise invalid(
                f"a Bundle of type {other!r} can't be processed here: batch or transaction can; "
                "post it to /Bundle to store it",
                "Bundle.type",
            )


async def batch(context: Context, request: FhirRequest, resource: Resource) -> FhirResponse:
    """Each entry by itself, down the path of a request; the batch as a whole succeeds.

    Entries run in R4's order (deletes, creates, updates, reads), several at once. Where the batch
    has an Idempotency-Key, each entry has one that is made of it: in a repeat those that were
    committed are answered again, and the others run."""
    entries = entries_of(resource)
    require_valid(context, shell(resource))
    headers = await _claimed(context, request)
    answers: list[bytes] = [b""] * len(entries)
    phases: list[list[tuple[int, FhirRequest]]] = [[] for _ in range(READS + 1)]
    records: list[bytes] = []
    for index, entry in enumerate(entries):
        try:
            asked = _with_body(entry_request(context, entry, request), entry)
            if request.repeatable is not None:
                asked = replace(asked, repeatable=request.repeatable.entry(index))
        except FhirError as refusal:
            answers[index] = refusal_entry(refusal)
            records.append(refusal_record(context.audit, request, refusal))
            continue
        phases[phase_of(asked)].append((index, asked))
    for phase in phases:
        await _run_phase(context, phase, answers)
    await _journal(context, [*records, bundle_record(context, "batch")])
    body = join_entries({"resourceType": "Bundle", "type": "batch-response"}, answers)
    return FhirResponse(200, body, headers=headers)


async def _claimed(context: Context, request: FhirRequest) -> Mapping[str, str]:
    """Take the key of the batch, if it has one, before its entries take theirs: the same key
    with another batch is refused whole. The headers that tell a repeat."""
    if request.repeatable is None:
        return {}

    async def perform(_: Transaction) -> Done:
        return Done((FhirResponse(200),))

    return (await once_whole(context, request, Work(perform))).headers


def _with_body(asked: FhirRequest, entry: Resource) -> FhirRequest:
    return body_of(asked, entry["resource"]) if "resource" in entry else asked


async def _run_phase(
    context: Context, phase: list[tuple[int, FhirRequest]], answers: list[bytes]
) -> None:
    free = asyncio.Semaphore(CONCURRENT)

    async def run(index: int, asked: FhirRequest) -> None:
        async with free:
            try:
                response = await context.submit(context, asked)
            except FhirError as refusal:
                answers[index] = refusal_entry(refusal)
            else:
                answers[index] = answer_entry(context, response, asked)

    async with asyncio.TaskGroup() as tasks:
        for index, asked in phase:
            tasks.create_task(run(index, asked))


async def _journal(context: Context, records: list[bytes]) -> None:
    async def unit(transaction: Transaction) -> None:
        for record in records:
            await transaction.journal(record)

    await context.store.transaction(unit)
