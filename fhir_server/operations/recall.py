"""Device/[id]/$recall: a version of an AI system is recalled (an operation of this server).

The call records the recall on the Device, in one commit with its audit record. What the version
made is marked behind the requests by the analysis worker, which reads the recall there (ADR 0024).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.fhir.dates import time_range
from fhir_server.fhir.outcome import (
    bad_parameter,
    forbidden,
    gone,
    not_found,
    unprocessable,
)
from fhir_server.fhir.recalls import Recall, recalls_of, with_recall
from fhir_server.interactions.audited import read_record
from fhir_server.interactions.context import Context, FhirResponse, Resource
from fhir_server.interactions.keys import key_of
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.write import Submission, draft, put, require_valid
from fhir_server.operations.operation import Operation, OperationRequest, Parameter
from fhir_server.operations.own import definition_url
from fhir_server.search.expression import Query, all_of
from fhir_server.search.plan import Scope, criterion
from fhir_server.security.access import OPEN_ACCESS
from fhir_server.storage.port import Key, Terms, Transaction

RECALLING = frozenset({"admin", "governance"})
"""The roles that may recall."""
AI_TYPE = "Artificial-Intelligence"
_PAGE = 200


@dataclass(frozen=True)
class _Server:
    """Who stamps the Device: the server itself, for recalls are its own to write."""

    clock: Callable[[], datetime]
    extract: Callable[[Resource], Terms]
    tenant: None = None
    writer: None = None


async def recall(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and where the recall stands: asked for again with the same reason and period, the same
    one. A dry run counts what would be marked and changes nothing."""
    _require_role(context)
    context = _for_operator(context, asked.only("operator"))
    wanted = _wanted(context, asked)
    if asked.only("dryRun"):
        return await _dry_run(context, asked, wanted)
    key = key_of(asked.request)

    async def perform(transaction: Transaction) -> Done:
        stored = await transaction.get(key)
        device = _ai_device(key, stored)
        found = next((each for each in recalls_of(device) if each.is_same(wanted)), None)
        if found is None and stored is not None:
            found = wanted
            changed = with_recall(device, wanted)
            require_valid(context, changed)
            server = _Server(context.clock, context.extract)
            made = draft(server, Submission(key, changed, encode(changed), "PUT"), stored)
            await put(transaction, made)
        answer = _answer(key, found or wanted)
        await transaction.journal(read_record(context, asked.request, answer))
        return Done((answer,))

    return await once_whole(context, asked.request, Work(perform))


def _require_role(context: Context) -> None:
    """403 for everybody but those roles and services."""
    access = context.access
    who = access.principal
    is_service = not who.roles and who.acts_for_itself
    if access is not OPEN_ACCESS and not who.roles & RECALLING and not is_service:
        roles = ", ".join(sorted(RECALLING))
        raise forbidden(f"$recall is for the roles {roles}, and for services")


def _for_operator(context: Context, operator: str | None) -> Context:
    """With an audit trail that names the operator; 403 for a person who calls for another."""
    if operator is None:
        return context
    access = context.access
    if access is not OPEN_ACCESS and not access.principal.acts_for_itself:
        raise forbidden("operator is said by services: people recall in their own name")
    return replace(context, audit=replace(context.audit, operator=operator))


def _wanted(context: Context, asked: OperationRequest) -> Recall:
    start, end = asked.only("from"), asked.only("to")
    if start is not None and end is not None and time_range(start).low > time_range(end).low:
        raise bad_parameter("from lies after to")
    who = context.access.principal
    return Recall(
        id=context.new_id(),
        reason=" ".join(asked.only("reason").split()),
        requested=instant(context.clock()),
        by=who.fhir_user or who.subject,
        start=start,
        end=end,
        operator=asked.only("operator"),
    )


def _ai_device(key: Key, stored: Any) -> Resource:
    """The Device; FhirError 404, 410, or 422 when it is no version of an AI system."""
    if stored is None or not (stored.body or stored.is_deleted):
        raise not_found(key)
    if stored.is_deleted:
        raise gone(key)
    device = parse(stored.body)
    codings = device.get("type", {}).get("coding", ())
    if not any(each.get("code") == AI_TYPE for each in codings):
        raise unprocessable(f"{key} is no version of an AI system (Device.type {AI_TYPE})")
    return device


@dataclass(frozen=True)
class _Count:
    reports: int = 0
    signed: int = 0


async def _dry_run(context: Context, asked: OperationRequest, wanted: Recall) -> FhirResponse:
    """How many reports the caller sees that the version touched. One who may not see all reports
    would be told too few, so they are refused."""
    for type in ("Provenance", "DiagnosticReport"):
        context.access.require(type, "s")
    key = key_of(asked.request)
    _ai_device(key, await context.store.get(key))
    counted = await _counted(context, key, wanted)
    response = _answer(key, replace(wanted, reports=counted.reports, signed=counted.signed), True)
    await context.store.note(read_record(context, asked.request, response))
    return response


async def _counted(context: Context, device: Key, wanted: Recall) -> _Count:
    scope = Scope(context.registry, context.clock(), context.base_url)
    tests = [criterion(scope, "Provenance", "agent", str(device))]
    if wanted.start is not None:
        tests.append(criterion(scope, "Provenance", "recorded", f"ge{wanted.start}"))
    if wanted.end is not None:
        tests.append(criterion(scope, "Provenance", "recorded", f"le{wanted.end}"))
    seen: set[str] = set()
    signed = 0
    query: Query | None = Query("Provenance", all_of(tests), limit=_PAGE)
    while query is not None:
        page = await context.store.find(query)
        targets = {id for each in page.matches for id in _reports(parse(each.body))} - seen
        found = await context.store.get_many(
            [Key("DiagnosticReport", id) for id in sorted(targets)]
        )
        live = {each.key.id: parse(each.body) for each in found.values() if not each.is_deleted}
        seen |= live.keys()
        signed += sum(each["status"] != "preliminary" for each in live.values())
        query = None if page.next is None else replace(query, after=page.next)
    return _Count(len(seen), signed)


def _reports(provenance: Resource) -> list[str]:
    references = [each.get("reference", "") for each in provenance["target"]]
    prefix = "DiagnosticReport/"
    return [each[len(prefix) :].split("/")[0] for each in references if each.startswith(prefix)]


def _answer(key: Key, recall: Recall, is_dry_run: bool = False) -> FhirResponse:
    parts: list[Resource] = [
        {"name": "device", "valueReference": {"reference": str(key)}},
        {"name": "status", "valueCode": "dry-run" if is_dry_run else recall.status},
        {"name": "reports", "valueInteger": recall.reports},
        {"name": "signed", "valueInteger": recall.signed},
    ]
    if not is_dry_run:
        parts.insert(0, {"name": "recall", "valueId": recall.id})
        parts.append({"name": "tasks", "valueInteger": recall.tasks})
    return FhirResponse(200, encode({"resourceType": "Parameters", "parameter": parts}))


RECALL = Operation(
    code="recall",
    definition=definition_url("recall"),
    levels=frozenset({"instance"}),
    types=frozenset({"Device"}),
    parameters=(
        Parameter("reason", "string", least=1),
        Parameter("from", "instant"),
        Parameter("to", "instant"),
        Parameter("dryRun", "boolean"),
        Parameter("operator", "string"),
    ),
    actions=("r", "u"),
    affects_state=True,
    run=recall,
)
