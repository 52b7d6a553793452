"""A finished analysis → the seed's answer: its own fields, recommendations and FHIR links."""

from collections.abc import Iterable, Sequence
from typing import Any

from models.ai_systems import CONFIDENCE
from models.findings import RECOMMENDATION
from models.smear_report import ONE_CELL, SMEAR
from models.symptom_report import SYMPTOMS
from models.wording import NO_OPINION

Resource = dict[str, Any]

_IMAGE_CODES = {SMEAR["code"], ONE_CELL["code"]}


def answer(
    task: Resource, report: Resource, *, observations: Sequence[Resource], base_url: str
) -> Resource:
    """`diagnosis` is the result in words, of images first, even when it is none;
    `confidence_score` the calibrated probability of a single-cell answer, else null;
    `image_analysis_result` null when there was no image."""
    image = next((o for o in observations if _code(o) in _IMAGE_CODES), None)
    symptoms = next((o for o in observations if _code(o) == SYMPTOMS["code"]), None)
    states = [
        f"{o['valueCodeableConcept']['text']}."
        for o in (image, symptoms)
        if o is not None and "valueCodeableConcept" in o
    ]
    if _is_without_opinion(image, report):
        states.insert(0, f"Images: {NO_OPINION}")
    return {
        "diagnosis": " ".join(states),
        "diagnosis_id": report["id"],
        "confidence_score": _confidence(image),
        "image_analysis_result": _image_result(image, report),
        "timestamp": report["issued"],
        "status": task["status"],
        "report_status": report["status"],
        "urgency": None
        if symptoms is None
        else symptoms["valueCodeableConcept"]["coding"][0]["code"],
        "conclusion": report["conclusion"],
        "recommendations": _recommendations(observations),
        "links": {
            **_links(task, base_url),
            "report": f"{base_url}/DiagnosticReport/{report['id']}",
            "provenance": f"{base_url}/Provenance?target=DiagnosticReport/{report['id']}",
        },
    }


def pending_answer(task: Resource, base_url: str) -> Resource:
    """The same fields while the Task is still open; the links say where to look."""
    return {
        "diagnosis": None,
        "diagnosis_id": None,
        "confidence_score": None,
        "image_analysis_result": None,
        "timestamp": task["meta"]["lastUpdated"],
        "status": task["status"],
        "recommendations": [],
        "links": _links(task, base_url),
    }


def _image_result(image: Resource | None, report: Resource) -> str | None:
    """None without an image; an image that no approved version could read got no opinion."""
    if image is not None:
        return " ".join(_notes(image))
    return NO_OPINION if report.get("media") else None


def _is_without_opinion(image: Resource | None, report: Resource) -> bool:
    """Whether images came of which nothing is said: all refused, or read by no approved version."""
    if image is None:
        return bool(report.get("media"))
    return "valueCodeableConcept" not in image


def _links(task: Resource, base_url: str) -> Resource:
    return {
        "task": f"{base_url}/Task/{task['id']}",
        "patient": f"{base_url}/{task['for']['reference']}",
    }


def _code(observation: Resource) -> str:
    return str(observation["code"]["coding"][0]["code"])


def _confidence(image: Resource | None) -> object:
    extensions = () if image is None else image.get("extension", ())
    return next((e["valueDecimal"] for e in extensions if e["url"] == CONFIDENCE), None)


def _notes(observation: Resource) -> Iterable[str]:
    return (note["text"] for note in observation.get("note", ()))


def _recommendations(observations: Iterable[Resource]) -> list[str]:
    lines = [
        component["valueString"]
        for observation in observations
        for component in observation.get("component", ())
        if component["code"]["coding"][0]["code"] == RECOMMENDATION[0]
    ]
    return list(dict.fromkeys(lines))
