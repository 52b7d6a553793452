"""What the entries of a transaction that go by criteria are about (R4 RESTful API, "Conditional
update", "Conditional delete", "Transaction Processing Rules": identities may not overlap, those
found by criteria included)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fhir_server.fhir.outcome import FhirError, not_found, precondition_failed
from fhir_server.interactions.conditional_delete import require_few
from fhir_server.interactions.conditional_update import require_target
from fhir_server.interactions.context import Context
from fhir_server.interactions.steps import Problems, Step, written_twice
from fhir_server.storage.port import Key, Stored

Targets = Mapping[int, Sequence[Stored]]
"""What the criteria in an entry's URL match, by the entry's place."""


def targets_of(
    context: Context, steps: Sequence[Step], targets: Targets, problems: Problems
) -> list[Step]:
    """The steps with the keys that their criteria lead to; notes criteria that match too many or
    nothing, and every resource that two entries would write."""
    settled: list[Step] = []
    for step in steps:
        try:
            settled.append(_settled(context, step, targets.get(step.index, ())))
        except FhirError as refusal:
            problems.add(refusal, step.index)
            settled.append(step)
    _note_overlaps(settled, targets, problems)
    return settled


def _settled(context: Context, step: Step, matches: Sequence[Stored]) -> Step:
    if not step.is_by_criteria:
        return step
    interaction = step.request.interaction
    if interaction == "delete":
        require_few(context, matches)
        return step
    if len(matches) > 1:
        raise precondition_failed("several resources match the criteria", "multiple-matches")
    if interaction == "patch":
        if not matches:
            raise not_found(f"a {step.request.type} that matches the criteria")
        return replace(step, key=matches[0].key)
    match = matches[0] if matches else None
    given = None if step.resource is None else step.resource.get("id")
    found = require_target(match, step.request.type or "", given)
    return replace(step, key=found or step.key)


def _note_overlaps(steps: Sequence[Step], targets: Targets, problems: Problems) -> None:
    seen: set[Key] = set()
    unmatched: set[str] = set()
    # Those with an id of their own were compared before: what is noted here is found by criteria.
    for step in sorted(steps, key=lambda each: each.is_by_criteria):
        keys = [step.key] if step.key is not None else []
        if step.request.interaction == "delete" and step.is_by_criteria:
            keys = [match.key for match in targets.get(step.index, ())]
        for key in keys:
            if step.is_by_criteria and key in seen:
                note_overlaps(step, key, problems)
            seen.add(key)
        if step.is_by_criteria and step.request.interaction == "update" and step.condition:
            if not targets.get(step.index) and step.condition.name in unmatched:
                note_overlaps(step, step.key, problems)
            unmatched.add(step.condition.name)


def note_overlaps(step: Step, key: Key | None, problems: Problems) -> None:
    """Note that another entry writes what this one would, once for each entry."""
    if not any(index == step.index for index in problems.overlapping):
        problems.overlapping.append(step.index)
        problems.add(written_twice(key or Key(step.request.type or "", "?")), step.index)
