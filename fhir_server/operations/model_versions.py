"""$model-propose, $model-approve, $model-decline and $model-retire: what changes where a version of
an AI model stands (operations of this server, ADR 0021).

Each is one unit: the Device, that of the version which it replaces, a Provenance that names the
people, and the audit records. Of two who decide at once, one finds that the other was first.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    DECISION,
    DEVICE_TYPES,
    GOVERNING,
    Person,
    Proposal,
    Standing,
    State,
    Version,
    approved,
    declined,
    key_of,
    proposed,
    require_verdict,
    retired,
    standing_of,
    with_standing,
)
from fhir_server.fhir.outcome import (
    bad_parameter,
    business_rule,
    conflict,
    forbidden,
    not_found,
    precondition_failed,
)
from fhir_server.fhir.recalls import recalls_of
from fhir_server.interactions.audited import read_record, write_record
from fhir_server.interactions.context import Context, FhirResponse, Resource
from fhir_server.interactions.keys import key_of as asked_key
from fhir_server.interactions.repeats import Done, Work, once_whole
from fhir_server.interactions.write import Submission, draft, put, require_valid
from fhir_server.operations.operation import Operation, OperationRequest, Parameter
from fhir_server.operations.own import definition_url
from fhir_server.search.conditional import parse_condition
from fhir_server.search.plan import Scope
from fhir_server.storage.port import Key, Stored, Terms, Transaction

MOST_VERSIONS = 500
"""Most AI systems that are looked through for the active version."""

_PARTICIPANTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


@dataclass(frozen=True)
class _Server:
    """Stamps what the server writes itself."""

    clock: Callable[[], datetime]
    extract: Callable[[Resource], Terms]
    tenant: str | None = None
    writer: None = None


@dataclass(frozen=True)
class _Version:
    """A registered version as stored."""

    stored: Stored
    device: Resource
    standing: Standing

    @property
    def reference(self) -> str:
        return str(self.stored.key)

    @property
    def named(self) -> Version:
        return Version(self.reference, key_of(self.device))


@dataclass
class _Step:
    """One step in the making: what was asked, of which version, in which unit."""

    context: Context
    asked: OperationRequest
    unit: Transaction
    person: Person
    version: _Version
    written: list[Stored] = field(default_factory=list)

    async def active(self) -> _Version | None:
        """The version of this condition that is active now; nobody else can change that before
        this unit has ended."""
        return await self._in_state(State.ACTIVE)

    async def require_only_candidate(self, to: State) -> None:
        """FhirError 409 when the step makes a candidate and the condition has another."""
        other = await self._in_state(State.CANDIDATE) if to is State.CANDIDATE else None
        if other is not None and other.reference != self.version.reference:
            raise conflict(f"{other.reference} is the candidate of this condition; retire it first")

    async def _in_state(self, state: State) -> _Version | None:
        condition = self.version.standing.condition
        await self.unit.reserve(f"model version of {condition}")
        scope = Scope(self.context.registry, self.context.clock(), self.context.base_url)
        asked = [("type", f"{DEVICE_TYPES}|{AI_DEVICE}")]
        query = parse_condition(scope, "Device", asked, limit=MOST_VERSIONS)
        for stored in (await self.unit.find(query)).matches:
            found = _version(stored)
            if found and (found.standing.condition, found.standing.state) == (condition, state):
                return found
        return None

    async def require_verdict(self, reference: str | None, active: _Version | None) -> None:
        """FhirError 422 unless the comparison that is referred to finds this version better."""
        if reference is None:
            return
        type_, _, id_ = reference.partition("/")
        stored = None
        if type_ == "MeasureReport":
            stored = await self.unit.get(Key(type_, id_))
        if stored is None or not stored.body:
            raise business_rule(f"the comparison {reference} can't be read")
        against = active.named if active else None
        require_verdict(parse(stored.body), self.version.named, against)

    async def write(self, version: _Version, standing: Standing) -> Stored:
        """The version with another standing."""
        device = with_standing(version.device, standing)
        require_valid(self.context, device)
        submission = Submission(version.stored.key, device, encode(device), "PUT")
        server = _Server(self.context.clock, self.context.extract)
        made = draft(server, submission, version.stored)
        await put(self.unit, made)
        await self._journal(made.stored, "update", 200)
        return made.stored

    async def trace(self, what: str, agents: Sequence[tuple[str, Person]], *used: str) -> None:
        """The Provenance of the step: of the Devices that were written, by whom, and why."""
        provenance: Resource = {
            "resourceType": "Provenance",
            "meta": {"tag": [DECISION]},
            "target": [{"reference": str(each.key)} for each in self.written],
            "recorded": instant(self.context.clock()),
            "reason": [{"text": what}],
            "activity": _coded("http://terminology.hl7.org/CodeSystem/v3-DataOperation", "UPDATE"),
            "agent": [
                {"type": _coded(_PARTICIPANTS, role), "who": {"reference": person.reference}}
                for role, person in agents
            ],
        }
        if used:
            provenance["entity"] = [{"role": "source", "what": {"reference": u}} for u in used]
        require_valid(self.context, provenance)
        key = Key("Provenance", self.context.new_id())
        # By the server itself, since no caller may write one; it belongs to the caller's tenant.
        server = _Server(self.context.clock, self.context.extract, self.context.tenant)
        made = draft(server, Submission(key, provenance, encode(provenance), "POST"), current=None)
        await put(self.unit, made)
        await self._journal(made.stored, "create", 201)

    async def _journal(self, stored: Stored, interaction: str, status: int) -> None:
        await self.unit.journal(write_record(self.context, stored, interaction, status, None))


Decide = Callable[[_Step], Awaitable[None]]


def _step(decide: Decide) -> Callable[[Context, OperationRequest], Awaitable[FhirResponse]]:
    """The operation that takes the step in one unit and answers with the Device."""

    async def run(context: Context, asked: OperationRequest) -> FhirResponse:
        person = _person(context)
        key = asked_key(asked.request)

        async def perform(unit: Transaction) -> Done:
            stored = await unit.get(key)
            version = _version(stored) if stored and stored.body else None
            if version is None:
                raise not_found(f"a registered model version {key}")
            step = _Step(context, asked, unit, person, version)
            await decide(step)
            done = step.written[0]
            await unit.journal(read_record(context, asked.request, FhirResponse(200, stored=done)))
            return Done((FhirResponse(200, done.body, done),))

        return await once_whole(context, asked.request, Work(perform))

    return run


async def _propose(step: _Step) -> None:
    _require_usable(step.version)
    asked, active = step.asked, await step.active()
    verdict = asked.only("verdict")
    proposal = Proposal(
        to=_state(asked.only("to")),
        by=step.person,
        at=instant(step.context.clock()),
        reason=asked.only("reason"),
        share=asked.only("share") or 0,
        verdict=verdict.get("reference") if verdict else None,
        against=active.reference if active else None,
    )
    standing = proposed(step.version.standing, proposal)
    await step.require_only_candidate(proposal.to)
    await step.require_verdict(proposal.verdict, active)
    step.written.append(await step.write(step.version, standing))
    what = f"Proposed: {proposal.to}, share {proposal.share} %. {proposal.reason}"
    await step.trace(what, [("author", step.person)], *_used(proposal))


async def _approve(step: _Step) -> None:
    """The proposal that the caller has read (`version`), and none that came since."""
    _require_read(step)
    _require_usable(step.version)
    before, active = step.version.standing, await step.active()
    standing = approved(before, step.person, active.reference if active else None)
    proposal = before.proposal
    assert proposal is not None
    await step.require_verdict(proposal.verdict, active)
    await step.require_only_candidate(proposal.to)
    step.written.append(await step.write(step.version, standing))
    if standing.state is State.ACTIVE and active is not None:
        step.written.append(await step.write(active, retired(active.standing)))
    what = f"{before.state} to {standing.state}, share {standing.share} %. {proposal.reason}"
    people = [("author", proposal.by), ("verifier", step.person)]
    await step.trace(what, people, *_used(proposal))


async def _decline(step: _Step) -> None:
    _require_read(step)
    step.written.append(await step.write(step.version, declined(step.version.standing)))
    await step.trace(f"Declined. {step.asked.only('reason')}", [("author", step.person)])


async def _retire(step: _Step) -> None:
    before = step.version.standing
    step.written.append(await step.write(step.version, retired(before)))
    what = f"{before.state} to {State.RETIRED}. {step.asked.only('reason')}"
    await step.trace(what, [("author", step.person)])


def _require_read(step: _Step) -> None:
    read, now = step.asked.only("version"), step.version.stored.version
    if read != str(now):
        raise precondition_failed(f"{step.version.reference} is at version {now}, not {read}")


def _require_usable(version: _Version) -> None:
    """FhirError 422 for a version that was recalled for good, or put out of use by other means
    than retiring it."""
    if any(recall.is_for_good for recall in recalls_of(version.device)):
        raise business_rule(f"{version.reference} was recalled: it can only be retired")
    status = version.device.get("status", "active")
    if version.standing.state is not State.RETIRED and status != "active":
        raise business_rule(f"{version.reference} is {status}: it can only be retired")


def _version(stored: Stored) -> _Version | None:
    device = parse(stored.body)
    standing = standing_of(device)
    return None if standing is None else _Version(stored, device, standing)


def _person(context: Context) -> Person:
    """Who decides; FhirError 403 for everybody without the role, and where nobody is known."""
    principal = context.access.principal
    if not principal.roles & GOVERNING:
        raise forbidden(f"Model versions are for the roles {', '.join(sorted(GOVERNING))}")
    if principal.fhir_user is None:
        raise forbidden("Who decides on a model version must be known as a person (fhirUser)")
    return Person(principal.subject, principal.fhir_user)


def _state(code: str) -> State:
    try:
        return State(code)
    except ValueError:
        raise bad_parameter(f"to: {code!r} is none of {', '.join(State)}") from None


def _used(proposal: Proposal) -> tuple[str, ...]:
    return (proposal.verdict,) if proposal.verdict else ()


def _coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def _operation(code: str, decide: Decide, *parameters: Parameter) -> Operation:
    return Operation(
        code=code,
        definition=definition_url(code),
        levels=frozenset({"instance"}),
        run=_step(decide),
        types=frozenset({"Device"}),
        parameters=parameters,
        actions=("r", "u"),
        affects_state=True,
    )


_REASON = Parameter("reason", "string", least=1)
_READ = Parameter("version", "id", least=1)
PROPOSE = _operation(
    "model-propose",
    _propose,
    Parameter("to", "code", least=1),
    _REASON,
    Parameter("share", "integer"),
    Parameter("verdict", "Reference"),
)
APPROVE = _operation("model-approve", _approve, _READ)
DECLINE = _operation("model-decline", _decline, _READ, _REASON)
RETIRE = _operation("model-retire", _retire, _REASON)
