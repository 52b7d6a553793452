"""What a transaction is going to write: its steps, with the store's answers applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fhir_server.fhir.codec import encode
from fhir_server.fhir.outcome import FhirError, precondition_failed
from fhir_server.interactions.audited import patient_of_stored, patient_of_terms, write_record
from fhir_server.interactions.context import Context, FhirResponse
from fhir_server.interactions.links import narrative
from fhir_server.interactions.steps import Condition, Problems, Step, at_link
from fhir_server.interactions.update import status_of_update
from fhir_server.interactions.versions import require_match
from fhir_server.interactions.write import Submission, draft, tombstone
from fhir_server.search.evaluate import evaluate
from fhir_server.storage.port import Draft, Key, Stored, Terms, Transaction


@dataclass(frozen=True)
class Answers:
    """What the store said inside the unit: the current versions of what is updated or deleted,
    and, by condition, the matches that this transaction leaves as they are."""

    current: Mapping[Key, Stored | None] = field(default_factory=dict)
    matches: Mapping[str, Sequence[Stored]] = field(default_factory=dict)


NOTHING_ASKED = Answers()


@dataclass(frozen=True)
class Outcome:
    """What becomes of one write: the draft to put (None: nothing changes), the audit record and
    the answer."""

    step: Step
    draft: Draft | None
    record: bytes
    response: FhirResponse


def asks_nothing(steps: Sequence[Step]) -> bool:
    """Whether no write depends on what is stored."""
    return all(
        step.key is None or (step.request.interaction == "create" and not _conditions(step))
        for step in steps
    )


async def ask(unit: Transaction, steps: Sequence[Step]) -> Answers:
    """Everything that the plan needs to know, reserved against others who ask the same."""
    # In one order for everyone: two transactions can't wait for each other.
    for name in sorted({step.condition.name for step in steps if step.condition}):
        await unit.reserve(name)
    rewritten = {step.key for step in steps if step.key and step.request.id is not None}
    current = {key: await unit.get(key) for key in sorted(rewritten)}
    matches = {}
    for condition in {each.name: each for step in steps for each in _conditions(step)}.values():
        query = replace(condition.query, limit=condition.query.limit + len(rewritten))
        found = (await unit.find(query)).matches
        matches[condition.name] = [each for each in found if each.key not in rewritten]
    return Answers(current, matches)


def _conditions(step: Step) -> list[Condition]:
    references = [condition for _, condition in step.references]
    return [step.condition, *references] if step.condition else references


def plan(context: Context, steps: Sequence[Step], answers: Answers) -> list[Outcome]:
    """The outcome of each write, or one refusal with the problems of all. May be called again
    with other answers."""
    problems = Problems([])
    found = _conditional_creates(context, steps, answers, problems)
    writes = [step for step in steps if step.key is not None and step.index not in found]
    identities = {
        step.full_url: str(found.get(step.index, step.key))
        for step in steps
        if step.full_url and step.resource is not None
    }
    _resolve(_Written(context, writes), answers, identities, problems)
    made: list[Outcome] = []
    for step in writes:
        try:
            made.append(_outcome(context, step, answers))
        except FhirError as refusal:
            problems.add(refusal, step.index)
    problems.raise_if_any()
    present = {
        each.response.stored.key: each.response.stored for each in made if each.response.stored
    }
    present |= {each.key: each for matches in answers.matches.values() for each in matches}
    by_index = {step.index: step for step in steps}
    matched = [_found(context, by_index[index], present[key]) for index, key in found.items()]
    return made + matched


class _Written:
    """The resources that the transaction writes, as a search would find them."""

    def __init__(self, context: Context, writes: Sequence[Step]) -> None:
        self._context = context
        self.steps = writes
        self._terms: dict[int, Terms] = {}

    def matching(self, condition: Condition) -> list[Step]:
        return [
            step
            for step in self.steps
            if step.resource is not None
            and step.key is not None
            and step.key.type == condition.query.type
            and evaluate(condition.query.where, self._terms_of(step, step.key))
        ]

    def _terms_of(self, step: Step, key: Key) -> Terms:
        if step.index not in self._terms:
            resource = {**(step.resource or {}), "id": key.id}
            self._terms[step.index] = self._context.extract(resource)
        return self._terms[step.index]


def _conditional_creates(
    context: Context, steps: Sequence[Step], answers: Answers, problems: Problems
) -> dict[int, Key]:
    """The entries with ifNoneExist that find their resource, in the store or among what the
    transaction updates or has created before, by index."""
    found: dict[int, Key] = {}
    updates = [step for step in steps if step.request.interaction == "update"]
    creates: list[Step] = []
    for step in steps:
        if step.request.interaction != "create":
            continue
        keys = set()
        if step.condition is not None:
            keys = {each.key for each in answers.matches[step.condition.name]}
            written = _Written(context, [*updates, *creates])
            keys |= {each.key for each in written.matching(step.condition) if each.key}
        if len(keys) > 1:
            refusal = precondition_failed("ifNoneExist matches several", "multiple-matches")
            problems.add(refusal, step.index)
        if keys:
            found[step.index] = keys.pop()
        else:
            creates.append(step)
    return found


def _resolve(
    written: _Written, answers: Answers, identities: Mapping[str, str], problems: Problems
) -> None:
    """Point every link of what is written to the identity that it means."""
    for step in written.steps:
        for link in step.links:
            if link.kind == "entry":
                link.point_to(identities[link.target])
            elif link.kind == "narrative":
                link.point_to(narrative(link.text, identities))
        for link, condition in step.references:
            keys = {each.key for each in answers.matches[condition.name]}
            keys |= {each.key for each in written.matching(condition) if each.key}
            if len(keys) == 1:
                link.point_to(str(keys.pop()))
                continue
            text = f"{link.text} matches {'several resources' if keys else 'nothing'}"
            code = "multiple-matches" if keys else "not-found"
            refusal = at_link(precondition_failed(text, code), step.resource or {}, link)
            problems.add(refusal, step.index)


def _outcome(context: Context, step: Step, answers: Answers) -> Outcome:
    key, request = step.key, step.request
    if key is None:
        raise ValueError(f"entry {step.index} writes nothing")
    current = answers.current.get(key)
    if request.interaction == "delete":
        return _deletion(context, step, key, current)
    status = 201 if request.interaction == "create" else status_of_update(context, request, current)
    method = "POST" if request.interaction == "create" else "PUT"
    resource = step.resource or {}
    made = draft(context, Submission(key, resource, encode(resource), method), current)
    patient = patient_of_terms(key, made.terms)
    record = write_record(context, made.stored, request.interaction, status, patient)
    response = FhirResponse(status, made.stored.body, made.stored, is_created=status == 201)
    return Outcome(step, made, record, response)


def _deletion(context: Context, step: Step, key: Key, current: Stored | None) -> Outcome:
    require_match(step.request.if_match, current)
    if current is None or current.is_deleted:
        record = context.audit.entry(
            interaction="delete",
            outcome="success",
            status=204,
            key=key,
            patient=key.id if key.type == "Patient" else None,
        )
        return Outcome(step, None, record, FhirResponse(204, stored=current))
    made = tombstone(context, current)
    patient = patient_of_stored(context, current)
    record = write_record(context, made.stored, "delete", 204, patient)
    return Outcome(step, made, record, FhirResponse(204, stored=made.stored))


def _found(context: Context, step: Step, stored: Stored) -> Outcome:
    patient = patient_of_stored(context, stored)
    record = write_record(context, stored, "create", 200, patient)
    return Outcome(step, None, record, FhirResponse(200, stored.body, stored))
