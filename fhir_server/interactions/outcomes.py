"""What becomes of each write of a transaction: the drafts, the audit records and the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_server.fhir.codec import encode
from fhir_server.interactions.audited import patient_of_stored, patient_of_terms, write_record
from fhir_server.interactions.conditional_delete import deleted_answer, record_of_none
from fhir_server.interactions.conditional_update import refuse_unmatched
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.following import status_of_update
from fhir_server.interactions.same import is_same
from fhir_server.interactions.steps import Step
from fhir_server.interactions.versions import require_match
from fhir_server.interactions.write import Submission, draft, owned, tombstone
from fhir_server.storage.port import Draft, Key, Stored

Current = Mapping[Key, Stored | None]


@dataclass(frozen=True)
class Outcome:
    """What becomes of one write: the drafts to put, the audit records and the answer. `kept` is
    a version that stays because the entry says the same."""

    step: Step
    drafts: tuple[Draft, ...]
    records: tuple[bytes, ...]
    response: FhirResponse
    kept: Stored | None = None


def outcome_of(
    context: Context, step: Step, current: Current, matches: Sequence[Stored]
) -> Outcome:
    """The outcome of a write; `matches` are those of the criteria in its URL. Raises FhirError
    for a condition that is not met."""
    if step.request.interaction == "delete":
        return _deletions(context, step, current, matches)
    if step.key is None:
        raise ValueError(f"entry {step.index} writes nothing")
    if step.request.interaction == "create":
        return _written(context, step, step.key, None)
    before = current.get(step.key)
    if step.is_by_criteria and not matches:
        given = step.resource is not None and "id" in step.resource
        refuse_unmatched(context, step.request, step.key, before, is_given=given)
    elif step.patch is None:
        status_of_update(context, step.request, step.key, before)
    return _written(context, step, step.key, before)


def _written(context: Context, step: Step, key: Key, current: Stored | None) -> Outcome:
    interaction, resource = step.request.interaction, step.resource or {}
    is_new = interaction == "create" or (step.is_by_criteria and "id" not in resource)
    method = "POST" if is_new and current is None else "PUT"
    submission = owned(context, Submission(key, resource, encode(resource), method))
    if current is not None and is_same(current, submission.body):
        patient = patient_of_stored(context, current)
        record = write_record(context, current, interaction, 200, patient)
        return Outcome(step, (), (record,), FhirResponse(200, current.body, current), current)
    made = draft(context, submission, current)
    status = 201 if current is None or current.is_deleted else 200
    record = write_record(
        context, made.stored, interaction, status, patient_of_terms(key, made.terms)
    )
    response = FhirResponse(status, made.stored.body, made.stored, is_created=status == 201)
    return Outcome(step, (made,), (record,), response)


def _deletions(
    context: Context, step: Step, current: Current, matches: Sequence[Stored]
) -> Outcome:
    if step.key is None:
        return _deletions_by_criteria(context, step, matches)
    before = current.get(step.key)
    require_match(step.request.if_match, before)
    if before is not None and not before.is_deleted:
        made = tombstone(context, before)
        record = write_record(
            context, made.stored, "delete", 204, patient_of_stored(context, before)
        )
        return Outcome(step, (made,), (record,), FhirResponse(204, stored=made.stored))
    record = context.audit.entry(
        interaction="delete",
        outcome="success",
        status=204,
        key=step.key,
        patient=step.key.id if step.key.type == "Patient" else None,
    )
    return Outcome(step, (), (record,), FhirResponse(204, stored=before))


def _deletions_by_criteria(context: Context, step: Step, matches: Sequence[Stored]) -> Outcome:
    if step.request.if_match is not None:
        require_match(step.request.if_match, matches[0] if len(matches) == 1 else None)
    drafts = [tombstone(context, match) for match in matches]
    records = [
        write_record(context, made.stored, "delete", 204, patient_of_stored(context, match))
        for made, match in zip(drafts, matches, strict=True)
    ]
    if not drafts:
        records = [record_of_none(context, step.request)]
    answer = deleted_answer([made.stored for made in drafts])
    return Outcome(step, tuple(drafts), tuple(records), answer)


def found_outcome(context: Context, step: Step, stored: Stored) -> Outcome:
    """The outcome of a conditional create whose resource is there."""
    patient = patient_of_stored(context, stored)
    record = write_record(context, stored, "create", 200, patient)
    return Outcome(step, (), (record,), FhirResponse(200, stored.body, stored))
