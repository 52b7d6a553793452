"""What a transaction is going to write: its steps, with the store's answers applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fhir_server.fhir.outcome import FhirError, precondition_failed
from fhir_server.interactions.context import Context
from fhir_server.interactions.links import links_of, narrative, root_of
from fhir_server.interactions.outcomes import Outcome, found_outcome, outcome_of
from fhir_server.interactions.patch import patched, require_patchable
from fhir_server.interactions.steps import (
    Condition,
    Problems,
    Step,
    at_link,
    leads_nowhere,
    urls_of,
)
from fhir_server.interactions.targets import Targets, note_overlaps, targets_of
from fhir_server.search.evaluate import evaluate
from fhir_server.storage.port import Key, Stored, Terms, Transaction


@dataclass(frozen=True)
class Answers:
    """What the store said inside the unit: the current versions of what is updated, patched or
    deleted, what the criteria in URLs match, by entry, and, by condition, the matches that this
    transaction leaves as they are."""

    current: Mapping[Key, Stored | None] = field(default_factory=dict)
    targets: Targets = field(default_factory=dict)
    matches: Mapping[str, Sequence[Stored]] = field(default_factory=dict)


NOTHING_ASKED = Answers()


def asks_nothing(steps: Sequence[Step]) -> bool:
    """Whether no write depends on what is stored."""
    return all(
        not step.is_write or (step.request.interaction == "create" and not _conditions(step))
        for step in steps
    )


async def ask(unit: Transaction, steps: Sequence[Step]) -> Answers:
    """Everything that the plan needs to know, reserved against others who ask the same."""
    # In one order for everyone: two transactions can't wait for each other.
    creating = [step for step in steps if step.request.interaction in ("create", "update")]
    for name in sorted({step.condition.name for step in creating if step.condition}):
        await unit.reserve(name)
    targets = {
        step.index: (await unit.find(step.condition.query)).matches
        for step in steps
        if step.is_by_criteria and step.condition is not None
    }
    rewritten = {step.key for step in steps if step.key and step.request.interaction != "create"}
    rewritten |= {match.key for matches in targets.values() for match in matches}
    current = {key: await unit.get(key) for key in sorted(rewritten)}
    matches = {}
    for condition in {each.name: each for step in steps for each in _conditions(step)}.values():
        query = replace(condition.query, limit=condition.query.limit + len(rewritten))
        found = (await unit.find(query)).matches
        matches[condition.name] = [each for each in found if each.key not in rewritten]
    return Answers(current, targets, matches)


def _conditions(step: Step) -> list[Condition]:
    """What decides whether the step creates and where its references lead."""
    references = [condition for _, condition in step.references]
    is_create = step.request.interaction == "create"
    return [step.condition, *references] if step.condition and is_create else references


def plan(context: Context, steps: Sequence[Step], answers: Answers) -> list[Outcome]:
    """The outcome of each write, or one refusal with the problems of all. May be called again
    with other answers."""
    problems = Problems([])
    steps = targets_of(context, steps, answers.targets, problems)
    steps = [_materialized(context, step, steps, answers, problems) for step in steps]
    found = _conditional_creates(context, steps, answers, problems)
    writes = [step for step in steps if step.is_write and step.index not in found]
    _note_matches(_Written(context, writes), problems)
    identities = {
        step.full_url: str(found.get(step.index, step.key))
        for step in steps
        if step.full_url and step.resource is not None
    }
    _resolve(_Written(context, writes), answers, identities, problems)
    # What does not even resolve makes no sense to judge further.
    problems.raise_if_any()
    made: list[Outcome] = []
    for step in writes:
        try:
            deleted = answers.targets.get(step.index, ())
            made.append(outcome_of(context, step, answers.current, deleted))
        except FhirError as refusal:
            problems.add(refusal, step.index)
    problems.raise_if_any()
    present = {
        each.response.stored.key: each.response.stored for each in made if each.response.stored
    }
    present |= {each.key: each for matches in answers.matches.values() for each in matches}
    by_index = {step.index: step for step in steps}
    matched = [
        found_outcome(context, by_index[index], present[key]) for index, key in found.items()
    ]
    return made + matched


def _materialized(
    context: Context, step: Step, steps: Sequence[Step], answers: Answers, problems: Problems
) -> Step:
    """A patch as the resource that it makes, with its links; any other step as it is."""
    if step.patch is None or step.key is None:
        return step
    try:
        current = require_patchable(step.request, step.key, answers.current.get(step.key))
        resource = patched(context, step.patch, current)
    except FhirError as refusal:
        problems.add(refusal, step.index)
        return step
    links = links_of(resource, urls_of(steps), root_of(step.full_url))
    for link in links:
        # What was there before the patch is no link of this Bundle's.
        if link.kind == "unknown" and link.text.encode() not in current.body:
            problems.add(at_link(leads_nowhere(link), resource, link), step.index)
    return replace(step, resource=resource, links=tuple(links))


def _note_matches(written: "_Written", problems: Problems) -> None:
    """An update by criteria that match what another entry writes would update that: the
    identities overlap."""
    for step in written.steps:
        if step.request.interaction != "update" or not step.is_by_criteria or not step.condition:
            continue
        others = [each for each in written.matching(step.condition) if each.index != step.index]
        if others:
            note_overlaps(step, others[0].key, problems)


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
    updates = [step for step in steps if step.request.interaction in ("update", "patch")]
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
