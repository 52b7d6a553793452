"""What the models found → the one transaction that ends a Task (decision 11).

Observations and a preliminary DiagnosticReport, the Device and model card of each system that
spoke (created once for each version), a Provenance for each, an AuditEvent, and the Task itself
under If-Match: of two workers that did the same Task, one transaction is refused whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.fhir.ai_labels import with_labels
from fhir_server.fhir.assessment import (
    FINDINGS,
    OUTPUT_REPORT,
    REPORT_OF_TASK,
    copied_chart_tags,
)
from fhir_server.fhir.codec import instant
from fhir_server.fhir.disclaimers import disclaimer
from fhir_server.fhir.outcome import Issue
from models import tasks
from models.ai_systems import (
    MODEL_CARDS,
    SYSTEM_VERSIONS,
    AiSystem,
    Trace,
    ai_device,
    ai_provenance,
    model_card,
    tagged,
)
from models.findings import finding
from models.held_report import held_observation, held_state
from models.malaria.reading import SmearPrediction
from models.monitoring.site import site_in, with_site
from models.result_event import REFUSAL, RESULT, result_event
from models.smear_media import Origin, drawing_binary, drawing_media, report_link
from models.smear_report import (
    refusal_issues,
    smear_finding,
    smear_lines,
    smear_observation,
    state_of,
)
from models.spoken import Spoken
from models.symptom_report import URGENCY, symptom_lines, symptom_observation
from models.symptoms.port import Analysis, Urgency
from models.wording import CAUTION, DISCORDANT

Resource = dict[str, Any]

REPORT_CODE = {
    "system": FINDINGS,
    "code": "malaria-assessment-ai",
    "display": "Malaria assessment, AI-assisted",
}


@dataclass(frozen=True)
class Submission:
    """A claimed Task and the references of its inputs, by part."""

    task: Resource
    images: Sequence[str] = ()
    vitals: Sequence[str] = ()
    answers: Sequence[str] = ()
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)
    languages: Sequence[str] = ()
    """In which the patient may be spoken to, the preferred first."""

    @property
    def patient(self) -> str:
        return str(self.task["for"]["reference"])


@dataclass(frozen=True)
class Results:
    """What the systems said, each with the system that said it; at least one is there."""

    smear: SmearPrediction | None = None
    smear_system: AiSystem | None = None
    analysis: Analysis | None = None
    analysis_system: AiSystem | None = None
    held: str | None = None
    """Why the images were not read, where the model is held at the site."""
    withheld: tuple[str, ...] = ()
    """A sentence for each part that was left out, and why."""
    arm: str | None = None
    """Of a comparison of two versions of the image model: A or B."""
    further: Sequence[Spoken] = ()
    """What further models said; they share a report with nothing else."""

    @property
    def is_empty(self) -> bool:
        """No part is left to report."""
        said = self.smear or self.analysis or self.further or self.held
        return not said

    @property
    def is_refused_only(self) -> bool:
        """Nothing but images, and none could be read: there is nothing to report."""
        if self.further:
            return all(each.is_refused for each in self.further)
        return self.analysis is None and self.smear is not None and self.smear.is_refused

    @property
    def refusals(self) -> tuple[Issue, ...]:
        """An issue for each input that was not read."""
        smear = refusal_issues(self.smear) if self.smear else ()
        return (*smear, *(issue for each in self.further for issue in each.refusals))


@dataclass
class _Transaction:
    """Entries in the making."""

    new_uuid: Callable[[], str]
    entries: list[Resource] = field(default_factory=list)

    def post(self, resource: Resource, unless: str | None = None) -> str:
        """Adds a create (conditional on `unless`) and gives its urn."""
        full_url = f"urn:uuid:{self.new_uuid()}"
        request = {"method": "POST", "url": resource["resourceType"]}
        if unless:
            request["ifNoneExist"] = unless
        self.entries.append({"fullUrl": full_url, "resource": resource, "request": request})
        return full_url

    def put(self, task: Resource, version: str) -> None:
        """Adds the Task's new state, refused when another has changed it since."""
        url = f"Task/{task['id']}"
        request = {"method": "PUT", "url": url, "ifMatch": f'W/"{version}"'}
        self.entries.append({"fullUrl": url, "resource": task, "request": request})

    def bundle(self) -> Resource:
        return {"resourceType": "Bundle", "type": "transaction", "entry": self.entries}


def result_transaction(
    submission: Submission, results: Results, *, now: datetime, new_uuid: Callable[[], str]
) -> Resource:
    """The transaction for finished analyses; the report's entry is the first DiagnosticReport."""
    unit = _Transaction(new_uuid)
    report_url = f"urn:uuid:{new_uuid()}"
    about = _about(submission.task, now)
    observations: list[str] = []
    links: list[Resource] = []
    if results.held is not None:
        owner = submission.task["owner"]["reference"]
        held = held_observation(results.held, about, images=submission.images, device=owner)
        observations.append(unit.post(_in_chart(held, submission.task)))
    for system, make, sources in _speakers(submission, results, about):
        card = unit.post(model_card(system), f"identifier={MODEL_CARDS}|{system.key}")
        device = unit.post(ai_device(system, card), f"identifier={SYSTEM_VERSIONS}|{system.key}")
        observation = unit.post(_in_chart(make(device), submission.task))
        observations.append(observation)
        drawn: list[str] = []
        if results.smear is not None and system is results.smear_system:
            drawn, links = _draw(unit, submission, results.smear, device=device, now=now)
        trace = Trace((report_url, observation, *drawn), device, card, sources)
        unit.post(_in_chart(ai_provenance(trace, instant(now)), submission.task))
    report = _in_chart(_report(submission, results, observations, now), submission.task)
    if links:
        report["media"] = [*report.get("media", ()), *links]
    request = {"method": "POST", "url": "DiagnosticReport"}
    unit.entries.append({"fullUrl": report_url, "resource": report, "request": request})
    unit.post(result_event(RESULT, submission.task, written=report_url, now=now))
    done = tasks.completed(
        submission.task, {OUTPUT_REPORT: [report_url]}, now=now, issues=results.refusals
    )
    unit.put(done, submission.task["meta"]["versionId"])
    return unit.bundle()


def _draw(
    unit: _Transaction,
    submission: Submission,
    smear: SmearPrediction,
    *,
    device: str,
    now: datetime,
) -> tuple[list[str], list[Resource]]:
    """Adds a Binary and a Media for each drawing: all their urns, and the report's links."""
    made: list[str] = []
    links: list[Resource] = []
    task = submission.task
    for drawing in smear.drawings:
        binary = unit.post(_in_chart(drawing_binary(drawing, task), task))
        origin = Origin(task, submission.images[drawing.image], device)
        media = drawing_media(drawing, binary, origin, prediction=smear, now=now)
        made += [unit.post(_in_chart(media, task)), binary]
        links.append(report_link(drawing, made[-2]))
    return made, links


def failure_transaction(
    task: Resource, issues: Sequence[Issue], *, now: datetime, new_uuid: Callable[[], str]
) -> Resource:
    """The transaction for a Task that ends without a finding."""
    unit = _Transaction(new_uuid)
    unit.post(result_event(REFUSAL, task, written=f"Task/{task['id']}", now=now))
    unit.put(tasks.failed(task, issues, now), task["meta"]["versionId"])
    return unit.bundle()


def _in_chart(resource: Resource, task: Resource) -> Resource:
    """The resource, tagged as the Task's is when that belongs to a copied chart; a result with
    the Task's site noted."""
    if resource["resourceType"] == "Observation":
        resource = with_site(resource, site_in(task))
    tags = copied_chart_tags(task)
    if not tags:
        return resource
    meta = resource.get("meta", {})
    return {**resource, "meta": {**meta, "tag": [*meta.get("tag", ()), *tags]}}


_Speaker = tuple[AiSystem, Callable[[str], Resource], Sequence[str]]


def _speakers(submission: Submission, results: Results, about: Resource) -> list[_Speaker]:
    """Each system that spoke: what it is, how its Observation is made, and what it read."""
    speakers: list[_Speaker] = []
    smear, analysis = results.smear, results.analysis
    if smear is not None and results.smear_system is not None:
        images = submission.images
        speakers.append(
            (
                results.smear_system,
                lambda device: in_arm(
                    smear_observation(smear, about, images=images, device=device), results.arm
                ),
                images,
            )
        )
    if analysis is not None and results.analysis_system is not None:
        read = (*submission.answers, *submission.vitals)
        speakers.append(
            (
                results.analysis_system,
                lambda device: symptom_observation(analysis, about, sources=read, device=device),
                read,
            )
        )
    return [*speakers, *(_further_speaker(each, about) for each in results.further)]


def _further_speaker(spoken: Spoken, about: Resource) -> _Speaker:
    return spoken.by.system, lambda device: spoken.observation(about, device), spoken.by.sources


def in_arm(observation: Resource, arm: str | None) -> Resource:
    """The Observation, with the arm of a comparison that it belongs to."""
    if arm is None:
        return observation
    component = {"code": finding("arm", "Arm of the comparison"), "valueString": arm}
    return {**observation, "component": [*observation.get("component", ()), component]}


def _report(
    submission: Submission, results: Results, observations: Sequence[str], now: datetime
) -> Resource:
    task = submission.task
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": REPORT_OF_TASK, "value": task["id"]}],
        "status": "preliminary",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}
        ],
        "code": _report_code(results),
        **_about(task, now),
        "issued": instant(now),
        "result": [{"reference": reference} for reference in observations],
        "conclusion": conclusion(results, submission.languages),
        "conclusionCode": _conclusion_codes(results),
    }
    images = [*submission.images, *(i for each in results.further for i in each.by.sources)]
    if images:
        report["media"] = [{"link": {"reference": image}} for image in images]
    return with_labels(tagged(report))


def _report_code(results: Results) -> Resource:
    if results.further:
        return results.further[0].report
    return {"coding": [REPORT_CODE], "text": REPORT_CODE["display"]}


def conclusion(results: Results, languages: Sequence[str] = ()) -> str:
    """The draft conclusion, a paragraph for each system, and the caution; in the first of the
    `languages` that there are texts in too, when that is another."""
    paragraphs = [] if results.held is None else [f"Images: {results.held}"]
    paragraphs += results.withheld
    if results.smear is not None and results.smear_system is not None:
        name = f"{results.smear_system.name} {results.smear_system.version}"
        name += f", arm {results.arm}" if results.arm else ""
        paragraphs.append(f"Images (AI, {name}): " + " ".join(smear_lines(results.smear)))
    if results.analysis is not None:
        origin = results.analysis.origin
        paragraphs.append(
            f"Symptoms and vital signs (AI, {origin}): " + " ".join(symptom_lines(results.analysis))
        )
    for each in results.further:
        name = f"{each.by.system.name} {each.by.system.version}"
        paragraphs.append(f"{each.heading} (AI, {name}): " + " ".join(each.lines))
    if _is_discordant(results):
        paragraphs.append(DISCORDANT)
    cautions = dict.fromkeys((CAUTION, disclaimer(languages).caution))
    return "\n\n".join([*paragraphs, *cautions])


def _is_discordant(results: Results) -> bool:
    """The model found nothing in someone who has fever or a danger sign."""
    if results.smear is None or results.analysis is None:
        return False
    is_ill = results.analysis.urgency is Urgency.EMERGENCY or any(
        finding.code == "fever" for finding in results.analysis.findings
    )
    return is_ill and state_of(results.smear).code in ("none-found", "not-seen")


def _conclusion_codes(results: Results) -> list[Resource]:
    codes = []
    if results.held is not None:
        codes.append(finding(held_state().code, held_state().display))
    if results.smear is not None:
        codes.append(smear_finding(results.smear))
    if results.analysis is not None:
        codes.append(URGENCY[results.analysis.urgency])
    return [*codes, *(each.code for each in results.further)]


def _about(task: Resource, now: datetime) -> Resource:
    # The patient's state is that of the submission; when the AI spoke is `issued`.
    return about_task(task, task.get("authoredOn", instant(now)))


def about_task(task: Resource, effective: str) -> Resource:
    """Subject, encounter and time of what is said about a Task's patient."""
    about = {"subject": task["for"], "effectiveDateTime": effective}
    if "encounter" in task:
        about["encounter"] = task["encounter"]
    return about
