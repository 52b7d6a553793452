"""A Task's inputs, read over FHIR and judged: whose they are, and whether there is anything."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from fhir_server.fhir.assessment import (
    FURTHER_MODELS,
    INPUT_FURTHER,
    INPUT_IMAGE,
    INPUT_SYMPTOMS,
    INPUT_VITAL,
    parts,
)
from fhir_server.fhir.disclaimers import languages_of
from fhir_server.fhir.outcome import Issue
from models.fhir_client import FhirClient, FhirFailure
from models.malaria.reading import SmearImage
from models.report import Submission
from models.symptoms.chart import read_facts
from models.symptoms.facts import SymptomFacts

Resource = dict[str, Any]

_TYPES = {INPUT_IMAGE: "Media", INPUT_VITAL: "Observation", INPUT_SYMPTOMS: "QuestionnaireResponse"}
_MEDIA = "Media"
MAX_INPUTS = 100


class UnusableTask(Exception):
    """The Task asks for something that can't be done; `issues` say why."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__(issues[0].diagnostics)
        self.issues = issues


@dataclass(frozen=True)
class Inputs:
    """What the models are given. `facts` is None when the Task has images alone; `further` are
    the images for other models than the malaria model, by the model's name."""

    submission: Submission
    images: tuple[SmearImage, ...]
    facts: SymptomFacts | None
    further: Mapping[str, tuple[SmearImage, ...]] = field(default_factory=dict)


async def read_inputs(fhir: FhirClient, task: Resource, today: date) -> Inputs:
    """Reads everything that the Task names. Raises UnusableTask when it makes no sense: no
    patient, nothing to analyse, an input that is missing, entered in error, of another type or
    another patient."""
    patient_reference = task.get("for", {}).get("reference")
    if not isinstance(patient_reference, str) or not patient_reference.startswith("Patient/"):
        raise _unusable("required", "The Task names no patient", "Task.for")
    entries = task.get("input", ())
    if len(entries) > MAX_INPUTS:
        raise _unusable("too-costly", f"The Task has more than {MAX_INPUTS} inputs", "Task.input")
    found = {part: parts(entries, part) for part in _TYPES}
    named = _further(entries)
    if not any((*found.values(), named)):
        raise _unusable("required", "The Task has no image, vital sign or symptom", "Task.input")
    patient = await _read(fhir, patient_reference)
    resources = {
        part: [await _input(fhir, reference, part, patient_reference) for reference in references]
        for part, references in found.items()
    }
    submission = Submission(
        task,
        found[INPUT_IMAGE],
        found[INPUT_VITAL],
        found[INPUT_SYMPTOMS],
        further=named,
        languages=languages_of(patient),
    )
    images = [await _image(fhir, media, patient_reference) for media in resources[INPUT_IMAGE]]
    observations, answers = resources[INPUT_VITAL], resources[INPUT_SYMPTOMS]
    has_facts = bool(observations or answers)
    facts = read_facts(patient, observations, answers, today) if has_facts else None
    further = {
        model: tuple([await _further_image(fhir, each, patient_reference) for each in references])
        for model, references in named.items()
    }
    return Inputs(submission, tuple(images), facts, further)


def _further(entries: Sequence[Resource]) -> dict[str, list[str]]:
    """The references of images for further models, by the model that the input's type names."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        codings = entry["type"].get("coding", ())
        models = [c.get("code") for c in codings if c.get("system") == FURTHER_MODELS]
        references = parts([entry], INPUT_FURTHER)
        if references and len(models) != 1:
            text = f"{references[0]} is for a further model, and its type names none or several"
            raise _unusable("required", text, "Task.input.type")
        for reference in references:
            found.setdefault(str(models[0]), []).append(reference)
    return found


async def _further_image(fhir: FhirClient, reference: str, patient: str) -> SmearImage:
    return await _image(fhir, await _input(fhir, reference, INPUT_FURTHER, patient), patient)


async def _input(fhir: FhirClient, reference: str, part: str, patient: str) -> Resource:
    """One input, checked to be of the part's type, about the Task's patient, and to stand."""
    expected = _TYPES.get(part, _MEDIA)
    if reference.split("/")[0] != expected:
        raise _unusable("invalid", f"{reference} is no {expected}", "Task.input")
    resource = await _read(fhir, reference)
    _same_patient(resource.get("subject", {}).get("reference"), patient, reference)
    if resource.get("status") == "entered-in-error":
        raise _unusable("business-rule", f"{reference} was entered in error", "Task.input")
    return resource


async def _image(fhir: FhirClient, media: Resource, patient: str) -> SmearImage:
    content = media.get("content", {})
    data, url = content.get("data"), content.get("url")
    if data is None:
        if not isinstance(url, str) or not url.removeprefix(f"{fhir.base_url}/").startswith(
            "Binary/"
        ):
            raise _unusable("invalid", f"Media/{media['id']} has no image here", "Task.input")
        binary = await _read(fhir, url.removeprefix(f"{fhir.base_url}/"))
        context = binary.get("securityContext", {}).get("reference", patient)
        _same_patient(context, patient, url)
        data = binary.get("data", "")
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise _unusable("value", f"Media/{media['id']} is no base64", "Task.input") from wrong
    return SmearImage(decoded, content.get("contentType"), content.get("title"))


def _same_patient(subject: object, patient: str, reference: str) -> None:
    if subject != patient:
        text = f"{reference} is not about the patient of the Task"
        raise _unusable("business-rule", text, "Task.input")


async def _read(fhir: FhirClient, reference: str) -> Resource:
    """A resource; one that is gone or unknown makes the Task unusable, other failures pass."""
    try:
        return await fhir.read(reference)
    except FhirFailure as failure:
        if failure.status in (404, 410):
            raise _unusable("not-found", f"{reference} can't be found", "Task.input") from failure
        raise


def _unusable(code: str, text: str, expression: str) -> UnusableTask:
    return UnusableTask(Issue("error", code, text, (expression,)))
