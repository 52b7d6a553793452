"""$undo: a committed transaction taken back, if nothing has changed since (an operation of this
server).

It is a transaction itself: what was created is deleted, what was updated or deleted gets its
former content, all as new versions, by a caller who may write them. So it can be undone too.
"""

from collections.abc import Iterator, Sequence

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import FhirError, Issue, forbidden, not_found
from fhir_server.interactions.audited import (
    patient_of_stored,
    patient_of_terms,
    read_record,
    write_record,
)
from fhir_server.interactions.commits import Commit, recall, remember
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.entries import answer_entry, join_entries
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.write import Submission, draft, put, tombstone
from fhir_server.operations.operation import Operation, OperationRequest, Parameter
from fhir_server.operations.own import definition_url
from fhir_server.search import include as including
from fhir_server.search.expression import Query
from fhir_server.search.parse import Include, require_all_ready
from fhir_server.storage.port import Draft, Key, Stored, Terms, Transaction

MOST_NAMED = 20
"""Most resources of one type that are named as referring to what was created."""

AT_ONCE = 40
"""How many created resources one search asks about."""

_ANY_REFERENCE = Include(
    source=None, parameter=None, target=None, is_reverse=True, is_iterated=False
)
_TELLS_OF_IT = frozenset({"AuditEvent"})
"""Types that refer to a resource because something was done with it."""


async def undo(context: Context, asked: OperationRequest) -> FhirResponse:
    """200 and a transaction-response; 404 when the transaction is not known (any more), 409 with
    everything that has changed since."""
    id: str = asked.only("transaction")
    require_all_ready(context.registry)
    own_id = context.new_id()

    async def perform(transaction: Transaction) -> Done:
        commit = await recall(transaction, id)
        if commit is None:
            raise not_found(f"a transaction {id} that could be undone")
        drafts = await _drafts(context, transaction, commit, id)
        for each in drafts:
            await put(transaction, each)
            await transaction.journal(await _record(context, transaction, each))
        written = [each.stored for each in drafts]
        await remember(context, transaction, own_id, written)
        await transaction.journal(read_record(context, asked.request, FhirResponse(200)))
        return Done(tuple(_answer_to(each) for each in written), own_id)

    def answer(done: Done) -> FhirResponse:
        head = {"resourceType": "Bundle", "id": done.id, "type": "transaction-response"}
        return FhirResponse(200, join_entries(head, (_entry(context, each) for each in done.parts)))

    return await once_whole(context, asked.request, Work(perform, answer, needs_bodies=False))


def _answer_to(stored: Stored) -> FhirResponse:
    return FhirResponse(204 if stored.is_deleted else 200, stored=stored)


async def _drafts(context: Context, unit: Transaction, commit: Commit, id: str) -> list[Draft]:
    """The versions that take it back, deletions first; FhirError 409 when something is in the
    way."""
    problems: list[Issue] = []
    restored: list[Draft] = []
    removed: list[Draft] = []
    for key, version in commit.writes:
        current = await unit.get(key)
        if current is None or _is_hidden(current):
            raise not_found(f"a transaction {id} that could be undone")
        if current.version != version:
            text = f"{key} is at version {current.version} now; version {version} was written"
            problems.append(Issue("error", "conflict", text))
            continue
        former = await unit.get(key, version - 1) if version > 1 else None
        if former is None and version > 1:
            # Without this it would be taken for created, and be deleted: it may be another's now.
            text = f"what {key} said before is there no more: version {version - 1} was erased"
            problems.append(Issue("error", "conflict", text))
            continue
        if former is not None and _is_hidden(former):
            raise forbidden(f"no permission to read version {version - 1} of {key}")
        if former is not None and not former.is_deleted:
            submission = Submission(key, parse(former.body), former.body, "PUT")
            restored.append(draft(context, submission, current))
        elif not current.is_deleted:
            removed.append(tombstone(context, current))
    if not problems:
        created = [each.stored.key for each in removed]
        written = {key for key, _ in commit.writes}
        problems = await _referring(context, unit, created, (written, commit))
    if problems:
        raise FhirError(409, tuple(problems))
    return [*removed, *restored]


def _is_hidden(stored: Stored) -> bool:
    """What may be written but not read comes without its body."""
    return not stored.body and not stored.is_deleted


async def _referring(
    context: Context,
    unit: Transaction,
    created: Sequence[Key],
    known: tuple[set[Key], Commit],
) -> list[Issue]:
    """A problem for each resource that was written since and refers to what was created."""
    written, commit = known
    found: list[Stored] = []
    for query in _reverse_queries(context, created, MOST_NAMED + len(written)):
        if query.type not in _TELLS_OF_IT and context.access.permits(query.type, "s"):
            found.extend((await unit.find(query)).matches)
    return [
        Issue("error", "conflict", f"{each.key} refers to what was created; it was written since")
        for each in found
        if each.key not in written and each.updated >= commit.moment
    ]


def _reverse_queries(context: Context, created: Sequence[Key], limit: int) -> Iterator[Query]:
    for first in range(0, len(created), AT_ONCE):
        starts = [including.Start(*key, Terms()) for key in created[first : first + AT_ONCE]]
        yield from including.reverse(_ANY_REFERENCE, starts, context.registry, limit)


async def _record(context: Context, unit: Transaction, made: Draft) -> bytes:
    """The audit record of one of the writes."""
    stored = made.stored
    if not stored.is_deleted:
        patient = patient_of_terms(stored.key, made.terms)
        return write_record(context, stored, "update", 200, patient)
    before = await unit.get(stored.key, stored.version - 1)
    patient = patient_of_stored(context, before) if before else None
    return write_record(context, stored, "delete", 204, patient)


def _entry(context: Context, response: FhirResponse) -> bytes:
    interaction = "delete" if response.status == 204 else "update"
    return answer_entry(context, response, FhirRequest(interaction))


UNDO = Operation(
    code="undo",
    definition=definition_url("undo"),
    levels=frozenset({"system"}),
    parameters=(Parameter("transaction", "id", least=1),),
    affects_state=True,
    run=undo,
)
