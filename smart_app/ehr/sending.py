"""Sends a signed report to its record system: claim the Task, store what is not stored there yet,
say how it went. Nothing is sent twice: what is stored is noted on the Task at once, and a retry
asks by identifier before it creates."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from smart_app.auditing import CLIENTS, EVENTS, LIFECYCLE, OBSERVER, patient_entity
from smart_app.discovery import IssuerUnreachable
from smart_app.ehr import outbox
from smart_app.ehr.outgoing import Destination, address_of, document, outgoing, results_of
from smart_app.ehr.posting import RefusedThere, TryLater, post_once
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.issuers import Issuer
from smart_app.launch.foreign_scopes import WRITABLE, backend_scope
from smart_app.launch.scopes import allows
from smart_app.parts import Parts
from smart_app.pdf import CantPrint, report_pdf
from smart_app.presenters.patient import banner
from smart_app.presenters.report import report_view
from smart_app.problems import Problem
from smart_app.sections import Section
from smart_app.visit import token_of

log = logging.getLogger("medsage.app")
LAUNCH_OVER = "The permission of the launch has ended: open MedSAGE again from the chart"
NOT_REGISTERED = "The registration of the record system does not permit it any more"


@dataclass(frozen=True)
class Loaded:
    """The signed report with its results, and whom it is about."""

    report: Resource
    results: Sequence[Resource]
    patient: Resource


def sendable(issuer: Issuer | None, scope: str) -> tuple[str, ...]:
    """The types that the registration permits and the record system granted to create."""
    if issuer is None:
        return ()
    return tuple(t for t in WRITABLE if t in issuer.write_back and allows(scope, t, "c"))


async def attach(parts: Parts, task_id: str, grant: str) -> None:
    """Let a launch's tokens send the report of this Task."""
    seconds = parts.config.session_seconds
    await parts.sessions.store.put(f"sending:{task_id}", grant.encode(), seconds)


async def send_report(parts: Parts, task: Resource) -> None:
    """One try at one Task; how it went is on the Task. Failures of our own server are logged: the
    Task stays as it is and is tried again."""
    own = parts.in_chart(str(task["for"]["reference"]).removeprefix("Patient/"))
    try:
        claimed = await own.update(outbox.claimed(task, _now(parts)))
        await own.update(await _tried(parts, own, claimed))
    except FhirFailure as failure:
        # 409 and 412: somebody else is sending it.
        if failure.status not in {409, 412}:
            log.warning("report not sent: our server answered %s", failure.status)


async def _tried(parts: Parts, own: FhirClient, task: Resource) -> Resource:
    """The Task after this try."""
    progress = _Progress(parts, own, task)
    try:
        ehr, types = await _connection(parts, task)
        loaded = await _load(own, task)
        _check_patient(loaded.patient, outbox.job_of(task))
        await _send_all(progress, ehr, loaded, types)
        await own.create(_event(task, _now(parts)))
        return outbox.completed(progress.task, _now(parts))
    except TryLater as reason:
        return outbox.waiting(progress.task, str(reason), _now(parts))
    except RefusedThere as reason:
        return outbox.refused(progress.task, str(reason), _now(parts))


@dataclass
class _Progress:
    """The Task as it is now."""

    parts: Parts
    own: FhirClient
    task: Resource

    async def note(self, here: str, there: str) -> None:
        self.task = await self.own.update(outbox.noted(self.task, here, there, _now(self.parts)))


async def _connection(parts: Parts, task: Resource) -> tuple[FhirClient, tuple[str, ...]]:
    """The record system as whoever may send: the launch that signed, else the app itself."""
    job = outbox.job_of(task)
    issuer = parts.config.issuer(job.issuer)
    if issuer is None or issuer.is_own or not issuer.write_back:
        raise RefusedThere(NOT_REGISTERED)
    attached = await parts.sessions.store.get(f"sending:{task['id']}")
    grant = await parts.sessions.grant(attached.decode()) if attached else None
    if grant is not None and grant.fhir_base == issuer.fhir_base:
        try:
            token = await token_of(parts, grant.id)
        except Problem:
            token = ""
        if token:
            types = tuple(t for t in sendable(issuer, grant.scope) if t in job.types)
            return FhirClient(parts.http, issuer.fhir_base, _given(token)), _some(types)
    if not issuer.acts_alone:
        raise TryLater(LAUNCH_OVER)
    return await _alone(parts, issuer, job)


async def _alone(
    parts: Parts, issuer: Issuer, job: outbox.Job
) -> tuple[FhirClient, tuple[str, ...]]:
    try:
        scope = backend_scope(issuer, await parts.configuration(issuer))
    except IssuerUnreachable as error:
        raise TryLater(str(error)) from error
    client = parts.in_own_name(scope, at=issuer)
    return client, _some(tuple(t for t in WRITABLE if t in issuer.write_back and t in job.types))


def _some(types: tuple[str, ...]) -> tuple[str, ...]:
    if not types:
        raise RefusedThere(NOT_REGISTERED)
    return types


async def _load(own: FhirClient, task: Resource) -> Loaded:
    report = await own.read_reference(task["focus"]["reference"])
    results = await asyncio.gather(*(own.read_reference(r) for r in results_of(report)))
    return Loaded(report, results, await own.read_reference(task["for"]["reference"]))


def _check_patient(patient: Resource, job: outbox.Job) -> None:
    """A Task may be written by others than the app: it must not lead to another chart."""
    known = {(i.get("system"), i.get("value")) for i in patient.get("identifier", ())}
    if (job.issuer, job.patient) not in known:
        raise RefusedThere("The patient of the report is not that of the record system's chart")


async def _send_all(
    progress: _Progress, ehr: FhirClient, loaded: Loaded, types: Sequence[str]
) -> None:
    makers = _makers(progress.parts, loaded, types)
    job = outbox.job_of(progress.task)
    to = _destination(progress.parts, job, loaded)
    for here, make in makers.items():
        if here in job.sent:
            continue
        resource = await make(to)
        again = outbox.attempts(progress.task) > 1
        there = await post_once(ehr, resource, job.patient, again=again)
        await progress.note(here, there)
        to = to.with_sent({here: there})


Maker = Callable[[Destination], Awaitable[Resource]]


def _makers(parts: Parts, loaded: Loaded, types: Sequence[str]) -> Mapping[str, Maker]:
    """What is sent, in order: reference here → the resource, made once its references are known."""
    report = loaded.report
    here = f"DiagnosticReport/{report['id']}"

    def sent_as_it_is(resource: Resource) -> Maker:
        async def make(to: Destination) -> Resource:
            return outgoing(resource, to)

        return make

    async def as_document(to: Destination) -> Resource:
        return document(report, await _pdf(parts, loaded), to)

    made: dict[str, Maker] = {}
    if "Observation" in types:
        made |= {f"Observation/{each['id']}": sent_as_it_is(each) for each in loaded.results}
    if "DiagnosticReport" in types:
        made[here] = sent_as_it_is(report)
    if "DocumentReference" in types:
        made[f"{here}#pdf"] = as_document
    return made


async def _pdf(parts: Parts, loaded: Loaded) -> bytes:
    nothing: Section[Resource] = Section("empty")
    shown = banner(loaded.patient, nothing, nothing, today=parts.clock().date())
    view = report_view(loaded.report, loaded.results, ())
    try:
        return await asyncio.to_thread(report_pdf, shown, view)
    except CantPrint as problem:
        raise RefusedThere(f"No PDF can be made with these characters: {problem.characters}") from (
            problem
        )


def _destination(parts: Parts, job: outbox.Job, loaded: Loaded) -> Destination:
    report = loaded.report
    known = {report["subject"]["reference"]: f"Patient/{job.patient}"}
    if job.encounter and "encounter" in report:
        known[report["encounter"]["reference"]] = f"Encounter/{job.encounter}"
    if job.author:
        for signer in report.get("resultsInterpreter", ()):
            known[signer["reference"]] = job.author
    return Destination(parts.config.home.fhir_base, {**known, **job.sent})


def _event(task: Resource, when: str) -> Resource:
    """The AuditEvent of a report that was sent: by the app, for who signed it."""
    job = outbox.job_of(task)
    app = {"identifier": {"system": CLIENTS, "value": "medsage-app"}, **OBSERVER}
    patient = str(task["for"]["reference"]).removeprefix("Patient/")
    return {
        "resourceType": "AuditEvent",
        "type": {"system": LIFECYCLE, "code": "transmit"},
        "subtype": [{"system": EVENTS, "code": "report-sent"}],
        "action": "R",
        "recorded": when,
        "outcome": "0",
        "agent": [
            {"who": task["requester"], "requestor": True},
            {"who": app, "requestor": False},
        ],
        "source": {"observer": OBSERVER},
        "entity": [
            patient_entity(patient),
            {"what": task["focus"]},
            {"what": {"identifier": address_of(job.issuer, f"Patient/{job.patient}")}},
        ],
    }


def _given(token: str) -> Callable[[], Awaitable[str]]:
    async def give() -> str:
        return token

    return give


def _now(parts: Parts) -> str:
    return parts.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
